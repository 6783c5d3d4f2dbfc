/** The same dialogue however it is cut, replies in batches, and what is told about it. */

import type { RequestReport } from '../../protocol/observer.ts'
import t from 'tap'
import { NBD_CMD, NBD_OPT } from '../../protocol/constants.ts'
import { encodeClientFlags, encodeInfoRequest, encodeOption, encodeRequest } from '../../protocol/client/encoder.ts'
import { Bench } from '../fixtures/bench-connection.ts'
import { LateDevice } from '../fixtures/late-device.ts'
import { MemoryDevice, TestExport, TestExports } from '../fixtures/memory-export.ts'

const { READ, WRITE, FLUSH, TRIM, DISC } = NBD_CMD

function memory() {
  const target = new TestExport(new MemoryDevice(65536), 65536, { description: 'text' })
  return { target, exports: new TestExports(target) }
}

t.test('the answers do not depend on how the stream was cut', async (t) => {
  const dialogue = Buffer.concat([
    encodeClientFlags(3),
    encodeOption(NBD_OPT.LIST, Buffer.alloc(0)),
    encodeOption(77, Buffer.from('unknown')),
    encodeOption(NBD_OPT.INFO, encodeInfoRequest('disk', [1, 2, 3])),
    encodeOption(NBD_OPT.GO, encodeInfoRequest('nope', [])),
    encodeOption(NBD_OPT.GO, encodeInfoRequest('', [3])),
    encodeRequest({ type: WRITE, cookie: 1, offset: 100, length: 11 }),
    Buffer.from('hello world'),
    encodeRequest({ type: WRITE, cookie: 2, offset: 65530, length: 11 }),
    Buffer.from('hello world'),
    encodeRequest({ type: READ, cookie: 3, offset: 98, length: 15 }),
    encodeRequest({ type: FLUSH, cookie: 4 }),
    encodeRequest({ type: TRIM, cookie: 5, offset: 102, length: 3 }),
    encodeRequest({ type: READ, cookie: 6, offset: 98, length: 15 }),
    encodeRequest({ type: 99, cookie: 7, length: 15 }),
    encodeRequest({ type: DISC, cookie: 8 }),
  ])
  const whole = new Bench(memory().exports)
  whole.push(dialogue)
  const expected = whole.sent.toString('hex')
  t.ok(whole.ended)
  t.match(expected, '67446698' + '0000001c' + '0000000000000002', 'ENOSPC')
  t.match(expected, Buffer.from('\0\0hello world\0\0').toString('hex'))
  t.match(expected, Buffer.from('\0\0he\0\0\0world\0\0').toString('hex').slice(0, 8))
  for (let cut = 1; cut < dialogue.length; cut++) {
    const bench = new Bench(memory().exports)
    bench.push(dialogue.subarray(0, cut))
    bench.push(dialogue.subarray(cut))
    t.equal(bench.sent.toString('hex'), expected, `cut at ${cut}`)
    t.ok(bench.ended)
  }
  const bytewise = new Bench(memory().exports)
  for (const byte of dialogue) bytewise.push(Buffer.of(byte))
  t.equal(bytewise.sent.toString('hex'), expected)
})

t.test('LIST leaves in one write', async (t) => {
  const exports = Array.from({ length: 500 }, (_, i) => new TestExport(new MemoryDevice(0), 0, { name: `disk${i}` }))
  const bench = new Bench(new TestExports(...exports))
  bench.forget()
  bench.push(encodeClientFlags(3), encodeOption(NBD_OPT.LIST, Buffer.alloc(0)))
  t.equal(bench.writes.length, 1)
})

t.test('requests that come together are answered together, in one piece', async (t) => {
  const bench = new Bench(memory().exports).go()
  const requests = Array.from({ length: 20 }, (_, i) =>
    encodeRequest({ type: READ, cookie: i, offset: i, length: 100 }),
  )
  bench.push(...requests)
  t.equal(bench.writes.length, 1)
  t.equal(bench.pieceCounts[0], 1)
  t.equal(bench.sent.length, 20 * 116)
})

t.test('late completions of one turn leave together', async (t) => {
  const device = new LateDevice(65536)
  const bench = new Bench(new TestExports(new TestExport(device, 65536))).go()
  for (let i = 0; i < 5; i++) bench.read(i, i * 512, 512)
  for (const io of [...device.pending]) io.finish()
  t.equal(bench.writes.length, 0)
  t.equal(bench.flushAsked, 1)
  bench.settle()
  t.equal(bench.writes.length, 1)
  t.equal(bench.pieceCounts[0], 1)
})

t.test('what comes while a write is under way waits for it', async (t) => {
  const bench = new Bench(memory().exports).go()
  bench.leavesAtOnce = false
  bench.read(1, 0, 10)
  bench.read(2, 0, 10)
  bench.read(3, 0, 10)
  t.equal(bench.writes.length, 1)
  bench.leave()
  t.equal(bench.writes.length, 2)
  t.equal(bench.sent.length, 3 * 26)
})

t.test('a failed READ sends a header and no data, and its neighbours are whole', async (t) => {
  const device = new LateDevice(65536)
  device.memory.bytes.fill('x')
  const failures: unknown[] = []
  const observer = { failed: (...told: unknown[]) => void failures.push(told) }
  const bench = new Bench(new TestExports(new TestExport(device, 65536)), { observer }).go()
  for (let i = 1; i <= 3; i++) bench.read(i, 0, 4)
  const error = Object.assign(new Error('gone'), { number: 28 })
  const [first, second, third] = [...device.pending]
  first!.finish()
  second!.finish(error)
  third!.finish()
  bench.settle()
  const reply = (error: number, cookie: number, data: string) =>
    `67446698${error.toString(16).padStart(8, '0')}${cookie.toString(16).padStart(16, '0')}${data}`
  t.equal(bench.sent.toString('hex'), reply(0, 1, '78787878') + reply(28, 2, '') + reply(0, 3, '78787878'))
  t.strictSame(failures, [[{ exportName: 'disk', command: 'READ', offset: 0, length: 4 }, error]])
})

t.test('an error without a number of its own is EIO', async (t) => {
  const device = new LateDevice(65536)
  const exports = new TestExports(new TestExport(device, 65536))
  exports.errorNumber = () => 0
  const bench = new Bench(exports).go()
  bench.read(1, 0, 4)
  device.pending[0]!.finish(new Error('what'))
  bench.settle()
  t.equal(bench.sent.readUInt32BE(4), 5)
})

t.test('a device that completes twice is a fault of ours', async (t) => {
  const device = new LateDevice(65536)
  const bench = new Bench(new TestExports(new TestExport(device, 65536))).go()
  bench.read(1, 0, 4)
  const [io] = device.pending
  io!.finish()
  t.throws(() => io!.finish(), TypeError)
})

t.test('flags reach the device', async (t) => {
  const device = new LateDevice(65536)
  const bench = new Bench(new TestExports(new TestExport(device, 65536))).go()
  bench.request({ type: WRITE, flags: 1, cookie: 1, length: 4 }, Buffer.from('abcd'))
  bench.request({ type: WRITE, flags: 0, cookie: 2, length: 4 }, Buffer.from('abcd'))
  bench.request({ type: TRIM, flags: 1, cookie: 3, length: 4 })
  bench.request({ type: NBD_CMD.WRITE_ZEROES, flags: 3, cookie: 4, length: 4 })
  bench.request({ type: NBD_CMD.WRITE_ZEROES, flags: 2, cookie: 5, length: 4 })
  bench.request({ type: NBD_CMD.WRITE_ZEROES, flags: 0, cookie: 6, length: 4 })
  bench.request({ type: FLUSH, flags: 1, cookie: 7 })
  t.strictSame(
    device.pending.map(({ what, fua, noHole }) => [what, fua, noHole]),
    [
      ['write', true, false],
      ['write', false, false],
      ['trim', true, false],
      ['writeZeroes', true, true],
      ['writeZeroes', false, true],
      ['writeZeroes', false, false],
      ['flush', false, false],
    ],
  )
})

t.test('a request of no length never reaches the device', async (t) => {
  const device = new LateDevice(65536)
  const bench = new Bench(new TestExports(new TestExport(device, 65536))).go()
  for (const type of [READ, WRITE, TRIM, NBD_CMD.WRITE_ZEROES]) bench.request({ type, cookie: type })
  t.equal(device.pending.length, 0)
  t.equal(bench.sent.length, 4 * 16)
})

t.test('an export is held from GO until the last request is out of the device', async (t) => {
  const device = new LateDevice(65536)
  const target = new TestExport(device, 65536)
  const events: string[] = []
  const observer = {
    attached: (name: string) => void events.push(`attached ${name}`),
    detached: (name: string) => void events.push(`detached ${name}`),
  }
  const bench = new Bench(new TestExports(target), { observer })
  bench.push(encodeClientFlags(3), encodeOption(NBD_OPT.INFO, encodeInfoRequest('disk', [])))
  t.equal(target.holders.length, 0)
  bench.push(encodeOption(NBD_OPT.GO, encodeInfoRequest('disk', [])))
  t.strictSame(target.holders, [{ address: 'bench' }])
  bench.read(1, 0, 512)
  bench.connection.closed()
  t.equal(target.holders.length, 1)
  t.strictSame(events, ['attached disk'])
  device.pending[0]!.finish()
  t.equal(target.holders.length, 0)
  t.strictSame(events, ['attached disk', 'detached disk'])
})

t.test('DISC: what is in flight is answered, nothing after it is read', async (t) => {
  const device = new LateDevice(65536)
  const target = new TestExport(device, 65536)
  const bench = new Bench(new TestExports(target)).go()
  bench.read(1, 0, 4)
  const junk = encodeRequest({ type: DISC, flags: 0xffff, cookie: 2, offset: 2n ** 64n - 1n, length: 0xffffffff })
  bench.push(junk, encodeRequest({ type: READ, cookie: 3, length: 4 }), Buffer.alloc(100, 0xff))
  bench.push(Buffer.alloc(100, 0xff))
  t.equal(device.pending.length, 1)
  t.notOk(bench.ended)
  device.pending[0]!.finish()
  bench.settle()
  t.equal(bench.sent.length, 20)
  t.ok(bench.ended)
  t.equal(target.holders.length, 0)
})

t.test('a client that closes its side without DISC still gets its answers', async (t) => {
  const device = new LateDevice(65536)
  const bench = new Bench(new TestExports(new TestExport(device, 65536))).go()
  bench.read(1, 0, 4)
  bench.push(encodeRequest({ type: WRITE, cookie: 2, length: 10 }), Buffer.from('half'))
  bench.connection.ended()
  t.notOk(bench.ended)
  device.pending[0]!.finish()
  bench.settle()
  t.equal(bench.sent.length, 20)
  t.ok(bench.ended)
})

t.test('a slow request is reported once', async (t) => {
  let now = 0
  const device = new LateDevice(65536)
  const slow: unknown[] = []
  const observer = { slow: (...told: unknown[]) => void slow.push(told) }
  const bench = new Bench(new TestExports(new TestExport(device, 65536)), { observer, now: () => now }).go()
  bench.read(1, 512, 4)
  bench.write(2, 0, Buffer.alloc(8))
  now = 1000
  device.pending[0]!.finish()
  now = 1001
  device.pending[0]!.finish()
  t.strictSame(slow, [[{ exportName: 'disk', command: 'WRITE', offset: 0, length: 8 }, 1001]])
})

t.test('a request that hangs is reported while it does, once, and again when it ends', async (t) => {
  let now = 0
  const device = new LateDevice(65536)
  const told: unknown[] = []
  const observer = {
    slow: ({ offset }: RequestReport, millis: number) => void told.push(['slow', offset, millis]),
    hanging: ({ offset }: RequestReport, millis: number) => void told.push(['hanging', offset, millis]),
  }
  const bench = new Bench(new TestExports(new TestExport(device, 65536)), { observer, now: () => now }).go()
  const look = () => {
    bench.connection.reportHanging()
    return told.splice(0)
  }
  for (const offset of [0, 512, 1024]) bench.read(offset, offset, 4)
  now = 5000
  bench.read(4, 2048, 4)
  now = 10_000
  t.strictSame(look(), [])
  // The one in the middle, then the first: what is left is found from both ends.
  device.pending[1]!.finish()
  now = 10_001
  t.strictSame(look(), [
    ['slow', 512, 10_000],
    ['hanging', 0, 10_001],
    ['hanging', 1024, 10_001],
  ])
  device.pending[0]!.finish()
  now = 15_001
  t.strictSame(look(), [
    ['slow', 0, 10_001],
    ['hanging', 2048, 10_001],
  ])
  device.pending[1]!.finish()
  bench.read(5, 4096, 4)
  now = 25_002
  t.strictSame(look(), [
    ['slow', 2048, 10_001],
    ['hanging', 4096, 10_001],
  ])
})

t.test('counters', async (t) => {
  const bench = new Bench(memory().exports).go()
  bench.write(1, 0, Buffer.alloc(100))
  bench.write(2, 65536, Buffer.alloc(100))
  bench.read(3, 0, 10)
  bench.read(4, 65536, 10)
  t.strictSame(bench.connection.counters, { requests: 4, errors: 2, bytesRead: 10, bytesWritten: 100 })
})
