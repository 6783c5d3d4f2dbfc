import t from 'tap'
import { NBD_CMD, NBD_CMD_FLAG, NBD_ERROR, NBD_FLAG } from '../../protocol/constants.ts'
import { Door } from '../../protocol/door.ts'
import { MemoryDevice, TestExport } from '../fixtures/memory-export.ts'

const size = 1000 * 1024 ** 2
const device = new MemoryDevice(0)
const writable = new Door(new TestExport(device, size))
const readOnly = new Door(new TestExport(device, size, { readOnly: true }))

const { READ, WRITE, FLUSH, TRIM, WRITE_ZEROES, CACHE, BLOCK_STATUS, RESIZE } = NBD_CMD
const { FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO, PAYLOAD_LEN } = NBD_CMD_FLAG
const { EINVAL, ENOSPC, EPERM } = NBD_ERROR

function check(door: Door, type: number, { offset = 0, length = 0, flags = 0, wraps = false } = {}): number {
  return door.check({ type, flags, offset, length, wraps })
}

t.test('what is advertised', async (t) => {
  const both = NBD_FLAG.HAS_FLAGS | NBD_FLAG.SEND_FLUSH | NBD_FLAG.SEND_FUA | NBD_FLAG.CAN_MULTI_CONN
  t.equal(writable.transmissionFlags, both | NBD_FLAG.SEND_TRIM | NBD_FLAG.SEND_WRITE_ZEROES)
  t.equal(readOnly.transmissionFlags, both | NBD_FLAG.READ_ONLY)
})

t.test('what is advertised is allowed, with FUA on everything', async (t) => {
  for (const type of [READ, WRITE, TRIM, WRITE_ZEROES]) {
    t.equal(check(writable, type, { length: 4096 }), 0)
    t.equal(check(writable, type, { length: 4096, flags: FUA }), 0)
    t.equal(check(writable, type, { length: 0 }), 0, 'nothing')
  }
  t.equal(check(writable, FLUSH, { flags: FUA }), 0)
  t.equal(check(writable, WRITE_ZEROES, { length: 1, flags: FUA | NO_HOLE }), 0)
  t.equal(check(readOnly, READ, { length: 4096, flags: FUA }), 0)
  t.equal(check(readOnly, FLUSH), 0)
})

t.test('the end of the export', async (t) => {
  for (const [type, error] of [
    [READ, EINVAL],
    [WRITE, ENOSPC],
    [TRIM, EINVAL],
    [WRITE_ZEROES, ENOSPC],
  ] as const) {
    t.equal(check(writable, type, { offset: size - 1, length: 1 }), 0, 'the last byte')
    t.equal(check(writable, type, { offset: size, length: 0 }), 0, 'nothing at the end')
    t.equal(check(writable, type, { offset: size - 1, length: 2 }), error)
    t.equal(check(writable, type, { offset: size, length: 1 }), error)
    t.equal(check(writable, type, { offset: Infinity, length: 1 }), error)
    t.equal(check(writable, type, { offset: Infinity, length: 1, wraps: true }), EINVAL, 'past 2^64')
  }
})

t.test('read-only', async (t) => {
  for (const type of [WRITE, TRIM, WRITE_ZEROES]) {
    t.equal(check(readOnly, type, { length: 1 }), EPERM)
    t.equal(check(readOnly, type, { length: 0 }), EPERM)
    t.equal(check(readOnly, type, { offset: Infinity, length: 1 }), EPERM, 'also past the end')
  }
})

t.test('flags that do not belong there', async (t) => {
  for (const [type, flags] of [
    [READ, FUA],
    [WRITE, FUA],
    [FLUSH, FUA],
    [TRIM, FUA],
    [WRITE_ZEROES, FUA | NO_HOLE],
  ] as const) {
    for (let bit = 1; bit < 0x10000; bit <<= 1) {
      const length = type === FLUSH ? 0 : 1
      t.equal(check(writable, type, { length, flags: bit }), (bit & flags) === 0 ? EINVAL : 0, `${type} with ${bit}`)
    }
  }
  t.ok([DF, REQ_ONE, FAST_ZERO, PAYLOAD_LEN].every((flag) => check(writable, WRITE_ZEROES, { flags: flag }) === EINVAL))
})

t.test('commands that are not there', async (t) => {
  for (const type of [CACHE, BLOCK_STATUS, RESIZE, 9, 0x7fff, 0xffff])
    t.equal(check(writable, type, { length: 1 }), EINVAL)
})

t.test('FLUSH has no range', async (t) => {
  t.equal(check(writable, FLUSH, { offset: 1 }), EINVAL)
  t.equal(check(writable, FLUSH, { length: 1 }), EINVAL)
})

t.test('only payloads have a longest length', async (t) => {
  const long = 64 * 1024 ** 2 + 1
  t.equal(check(writable, READ, { length: long - 1 }), 0)
  t.equal(check(writable, READ, { length: long }), EINVAL)
  t.equal(check(writable, TRIM, { length: long }), 0)
  t.equal(check(writable, WRITE_ZEROES, { length: size }), 0)
  const huge = new Door(new TestExport(device, 2 ** 40))
  t.equal(check(huge, TRIM, { length: 0xffffffff }), 0)
  t.equal(check(huge, WRITE_ZEROES, { offset: 2 ** 33, length: 0xffffffff }), 0)
})
