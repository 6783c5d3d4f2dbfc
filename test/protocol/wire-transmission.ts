/** What a server answers to each request, right and wrong, over a real socket and to the byte. */

import t from 'tap'
import type { Test } from 'tap'
import { NBD_CMD, NBD_CMD_FLAG, NBD_ERROR } from '../../protocol/constants.ts'
import { encodeRequest } from '../../protocol/client/encoder.ts'
import type { RequestFields } from '../../protocol/client/encoder.ts'
import { MemoryDevice, TestExport, TestExports } from '../fixtures/memory-export.ts'
import { RawClient, startServer } from '../fixtures/nbd-server.ts'

const { READ, WRITE, DISC, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS, RESIZE } = NBD_CMD
const { FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO, PAYLOAD_LEN } = NBD_CMD_FLAG
const { EPERM, EINVAL, ENOSPC } = NBD_ERROR
const MiB = 1024 * 1024
const size = 128 * MiB

const device = new MemoryDevice(size)
const exports = new TestExports(
  new TestExport(device, size, { name: 'disk' }),
  new TestExport(device, size, { name: 'snap', readOnly: true }),
)

async function clients(t: Test) {
  const { port } = await startServer(t, { exports })
  return (name = 'disk') => RawClient.go(t, { port }, name)
}

let cookie = 0x0123_4567_89ab

/** Sends the request, and checks that the reply is exactly that header with those data, and the stream in step after it. */
async function expectReply(
  t: Test,
  client: RawClient,
  fields: Omit<RequestFields, 'cookie'>,
  payload: Buffer | null,
  expected: { error?: number; data?: Buffer },
  why: string,
): Promise<void> {
  cookie++
  client.send(encodeRequest({ ...fields, cookie }), ...(payload === null ? [] : [payload]))
  const { error = 0, data = Buffer.alloc(0) } = expected
  const header = await client.receive(16)
  const hexes = [error.toString(16).padStart(8, '0'), cookie.toString(16).padStart(16, '0')]
  t.equal(header.toString('hex'), '67446698' + hexes.join(''), why)
  if (data.length > 0) t.ok((await client.receive(data.length)).equals(data), `${why}: data`)
}

t.test('the table of requests', async (t) => {
  const connect = await clients(t)
  const disk = await connect('disk')
  const snap = await connect('snap')
  device.bytes.fill(0)
  device.bytes.write('0123456789', 4096)
  const at = (offset: number, length: number) => ({ data: Buffer.from(device.bytes.subarray(offset, offset + length)) })
  const end = 2n ** 64n

  /** Who, fields, payload bytes, answer. */
  const rows: [RawClient, Omit<RequestFields, 'cookie'>, number | null, { error?: number; data?: Buffer }, string][] = [
    // READ
    [disk, { type: READ, offset: 4096, length: 10 }, null, at(4096, 10), 'READ'],
    [disk, { type: READ, offset: 4097, length: 2 }, null, at(4097, 2), 'READ at an odd offset'],
    [disk, { type: READ, flags: FUA, offset: 4096, length: 512 }, null, at(4096, 512), 'READ with FUA'],
    [disk, { type: READ, offset: size - 1, length: 1 }, null, at(size - 1, 1), 'READ of the last byte'],
    [disk, { type: READ, offset: 0, length: 0 }, null, {}, 'READ of nothing'],
    [disk, { type: READ, offset: size, length: 0 }, null, {}, 'READ of nothing at the end'],
    [disk, { type: READ, offset: 1, length: 33 * MiB }, null, at(1, 33 * MiB), 'READ of 33 MiB'],
    [disk, { type: READ, offset: 0, length: 64 * MiB }, null, at(0, 64 * MiB), 'READ of 64 MiB'],
    [disk, { type: READ, offset: 0, length: 64 * MiB + 1 }, null, { error: EINVAL }, 'READ of more'],
    [disk, { type: READ, offset: 0, length: 0xffffffff }, null, { error: EINVAL }, 'READ of 4 GiB'],
    [disk, { type: READ, offset: size - 1, length: 2 }, null, { error: EINVAL }, 'READ past the end'],
    [disk, { type: READ, offset: size, length: 1 }, null, { error: EINVAL }, 'READ at the end'],
    [disk, { type: READ, offset: 2n ** 63n, length: 1 }, null, { error: EINVAL }, 'READ far past the end'],
    [disk, { type: READ, offset: end - 1n, length: 512 }, null, { error: EINVAL }, 'READ across 2^64'],
    [disk, { type: READ, flags: DF, offset: 0, length: 512 }, null, { error: EINVAL }, 'READ with DF, not negotiated'],
    [disk, { type: READ, flags: NO_HOLE, offset: 0, length: 512 }, null, { error: EINVAL }, 'READ with NO_HOLE'],
    [disk, { type: READ, flags: 0x8000, offset: 0, length: 512 }, null, { error: EINVAL }, 'READ with an unknown flag'],
    [snap, { type: READ, offset: 4096, length: 10 }, null, at(4096, 10), 'READ, read-only'],
    // WRITE
    [disk, { type: WRITE, offset: 8192, length: 512 }, 512, {}, 'WRITE'],
    [disk, { type: WRITE, flags: FUA, offset: 8191, length: 3 }, 3, {}, 'WRITE with FUA at an odd offset'],
    [disk, { type: WRITE, offset: 5, length: 0 }, 0, {}, 'WRITE of nothing'],
    [disk, { type: WRITE, offset: size - 1, length: 1 }, 1, {}, 'WRITE of the last byte'],
    [disk, { type: WRITE, offset: 3, length: 33 * MiB }, 33 * MiB, {}, 'WRITE of 33 MiB'],
    [disk, { type: WRITE, offset: 0, length: 64 * MiB }, 64 * MiB, {}, 'WRITE of 64 MiB'],
    [disk, { type: WRITE, offset: size - 1, length: 2 }, 2, { error: ENOSPC }, 'WRITE past the end'],
    [disk, { type: WRITE, offset: size, length: 33 * MiB }, 33 * MiB, { error: ENOSPC }, 'WRITE of 33 MiB at the end'],
    [disk, { type: WRITE, offset: 2n ** 63n, length: 512 }, 512, { error: ENOSPC }, 'WRITE far past the end'],
    [disk, { type: WRITE, offset: end - 1n, length: 512 }, 512, { error: EINVAL }, 'WRITE across 2^64'],
    [disk, { type: WRITE, flags: NO_HOLE, offset: 0, length: 512 }, 512, { error: EINVAL }, 'WRITE with NO_HOLE'],
    [disk, { type: WRITE, flags: PAYLOAD_LEN, length: 512 }, 512, { error: EINVAL }, 'WRITE with PAYLOAD_LEN'],
    [disk, { type: WRITE, flags: 0xfffe, length: 70_000 }, 70_000, { error: EINVAL }, 'WRITE with unknown flags'],
    [snap, { type: WRITE, offset: 0, length: 512 }, 512, { error: EPERM }, 'WRITE, read-only'],
    [snap, { type: WRITE, offset: 0, length: 33 * MiB }, 33 * MiB, { error: EPERM }, 'WRITE of 33 MiB, read-only'],
    [snap, { type: WRITE, offset: 0, length: 0 }, 0, { error: EPERM }, 'WRITE of nothing, read-only'],
    // FLUSH
    [disk, { type: FLUSH }, null, {}, 'FLUSH'],
    [disk, { type: FLUSH, flags: FUA }, null, {}, 'FLUSH with FUA'],
    [snap, { type: FLUSH }, null, {}, 'FLUSH, read-only'],
    [disk, { type: FLUSH, offset: 1 }, null, { error: EINVAL }, 'FLUSH with an offset'],
    [disk, { type: FLUSH, length: 1 }, null, { error: EINVAL }, 'FLUSH with a length'],
    [disk, { type: FLUSH, flags: NO_HOLE }, null, { error: EINVAL }, 'FLUSH with NO_HOLE'],
    // TRIM
    [disk, { type: TRIM, offset: 4098, length: 3 }, null, {}, 'TRIM'],
    [disk, { type: TRIM, flags: FUA, offset: 0, length: size }, null, {}, 'TRIM of everything, with FUA'],
    [disk, { type: TRIM, offset: 0, length: 0 }, null, {}, 'TRIM of nothing'],
    [disk, { type: TRIM, offset: size - 1, length: 2 }, null, { error: EINVAL }, 'TRIM past the end'],
    [disk, { type: TRIM, offset: 0, length: 0xffffffff }, null, { error: EINVAL }, 'TRIM of 4 GiB past the end'],
    [disk, { type: TRIM, offset: end - 1n, length: 512 }, null, { error: EINVAL }, 'TRIM across 2^64'],
    [disk, { type: TRIM, flags: FAST_ZERO, length: 512 }, null, { error: EINVAL }, 'TRIM with FAST_ZERO'],
    [snap, { type: TRIM, offset: 0, length: 512 }, null, { error: EPERM }, 'TRIM, read-only'],
    // WRITE_ZEROES
    [disk, { type: WRITE_ZEROES, offset: 4096, length: 10 }, null, {}, 'WRITE_ZEROES'],
    [disk, { type: WRITE_ZEROES, flags: FUA | NO_HOLE, length: 512 }, null, {}, 'WRITE_ZEROES with FUA and NO_HOLE'],
    [disk, { type: WRITE_ZEROES, length: 0 }, null, {}, 'WRITE_ZEROES of nothing'],
    [disk, { type: WRITE_ZEROES, offset: size - 1, length: 2 }, null, { error: ENOSPC }, 'WRITE_ZEROES past the end'],
    [disk, { type: WRITE_ZEROES, length: 0xffffffff }, null, { error: ENOSPC }, 'WRITE_ZEROES of 4 GiB'],
    [disk, { type: WRITE_ZEROES, offset: end - 1n, length: 2 }, null, { error: EINVAL }, 'WRITE_ZEROES across 2^64'],
    [disk, { type: WRITE_ZEROES, flags: FAST_ZERO, length: 2 }, null, { error: EINVAL }, 'FAST_ZERO, not advertised'],
    [disk, { type: WRITE_ZEROES, flags: REQ_ONE, length: 2 }, null, { error: EINVAL }, 'WRITE_ZEROES with REQ_ONE'],
    [snap, { type: WRITE_ZEROES, length: 512 }, null, { error: EPERM }, 'WRITE_ZEROES, read-only'],
    // What is not there. None of these has a payload, whatever its length.
    [disk, { type: CACHE, length: 4096 }, null, { error: EINVAL }, 'CACHE, not advertised'],
    [disk, { type: BLOCK_STATUS, length: 4096 }, null, { error: EINVAL }, 'BLOCK_STATUS without a context'],
    [disk, { type: RESIZE, offset: 4096 }, null, { error: EINVAL }, 'RESIZE'],
    [disk, { type: 9, length: 0xffffffff }, null, { error: EINVAL }, 'an unknown command'],
    [disk, { type: 0xffff, flags: 0xffff, length: 1 }, null, { error: EINVAL }, 'another unknown command'],
  ]
  for (const [client, fields, payloadBytes, expected, why] of rows) {
    const payload = payloadBytes === null ? null : Buffer.alloc(payloadBytes, 'w')
    await expectReply(t, client, fields, payload, expected, why)
  }
  await expectReply(t, disk, { type: READ, offset: 4096, length: 4 }, null, { data: Buffer.alloc(4) }, 'still in step')
  await expectReply(t, snap, { type: READ, offset: 4096, length: 4 }, null, { data: Buffer.alloc(4) }, 'still in step')
})

t.test('what a WRITE wrote is what a READ reads, and nothing beside it', async (t) => {
  const connect = await clients(t)
  const client = await connect()
  device.bytes.fill('.')
  await expectReply(t, client, { type: WRITE, offset: 100, length: 5 }, Buffer.from('hello'), {}, 'WRITE')
  await expectReply(t, client, { type: READ, offset: 98, length: 9 }, null, { data: Buffer.from('..hello..') }, 'READ')
  await expectReply(t, client, { type: WRITE_ZEROES, offset: 101, length: 3 }, null, {}, 'WRITE_ZEROES')
  await expectReply(
    t,
    client,
    { type: READ, offset: 98, length: 9 },
    null,
    { data: Buffer.from('..h\0\0\0o..') },
    'READ',
  )
})

t.test('refused WRITEs leave the device alone', async (t) => {
  const connect = await clients(t)
  const disk = await connect('disk')
  const snap = await connect('snap')
  device.bytes.fill('.')
  const payload = Buffer.alloc(100_000, 'w')
  await expectReply(t, snap, { type: WRITE, length: 100_000 }, payload, { error: EPERM }, 'read-only')
  await expectReply(t, disk, { type: WRITE, flags: 2, length: 100_000 }, payload, { error: EINVAL }, 'flag')
  await expectReply(t, disk, { type: WRITE, offset: size - 50_000, length: 100_000 }, payload, { error: ENOSPC }, 'end')
  t.equal(device.bytes.indexOf('w'), -1)
})

t.test('what ends the connection', async (t) => {
  const connect = await clients(t)
  const wrongMagic = encodeRequest({ type: READ, cookie: 1, length: 512 })
  wrongMagic.writeUInt32BE(0x25609514, 0)
  for (const [bytes, why] of [
    [wrongMagic, 'a wrong magic number'],
    [encodeRequest({ type: WRITE, cookie: 1, length: 0xfffffe00 }), 'a WRITE of 4 GiB, the header alone'],
    [encodeRequest({ type: WRITE, cookie: 1, length: 64 * MiB + 1 }), 'a WRITE of over 64 MiB'],
    [encodeRequest({ type: DISC, cookie: 1 }), 'DISC'],
    [encodeRequest({ type: DISC, cookie: 1, flags: 0xffff, offset: 2n ** 64n - 1n, length: 7 }), 'DISC with junk'],
  ] as const) {
    const client = await connect()
    client.send(bytes)
    t.equal((await client.rest()).length, 0, why)
  }
  const both = await connect()
  both.send(encodeRequest({ type: READ, cookie: 1, length: 512 }), encodeRequest({ type: DISC, cookie: 2 }))
  t.equal((await both.rest()).length, 528, 'what was asked before DISC is answered')
  const half = await connect()
  half.socket.end(encodeRequest({ type: READ, cookie: 1, length: 512 }))
  t.equal((await half.rest()).length, 528, 'and before a FIN')
})
