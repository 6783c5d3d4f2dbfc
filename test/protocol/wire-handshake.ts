/** What a server answers to each option, right and wrong, over a real socket and to the byte. */

import t from 'tap'
import type { Test } from 'tap'
import { NBD_FLAG, NBD_OPT, NBD_REP } from '../../protocol/constants.ts'
import { encodeClientFlags, encodeInfoRequest, encodeOption } from '../../protocol/client/encoder.ts'
import { MemoryDevice, TestExport, TestExports } from '../fixtures/memory-export.ts'
import { RawClient, startServer } from '../fixtures/nbd-server.ts'

const { EXPORT_NAME, ABORT, LIST, PEEK_EXPORT, STARTTLS, INFO, GO, STRUCTURED_REPLY } = NBD_OPT
const { LIST_META_CONTEXT, SET_META_CONTEXT, EXTENDED_HEADERS } = NBD_OPT
const { ACK, SERVER, ERR_UNSUP, ERR_INVALID, ERR_UNKNOWN, ERR_TOO_BIG } = NBD_REP
const EMPTY = Buffer.alloc(0)

const { HAS_FLAGS, SEND_FLUSH, SEND_FUA, SEND_TRIM, SEND_WRITE_ZEROES, CAN_MULTI_CONN, READ_ONLY } = NBD_FLAG
const flagsOfDisk = HAS_FLAGS | SEND_FLUSH | SEND_FUA | SEND_TRIM | SEND_WRITE_ZEROES | CAN_MULTI_CONN
const flagsOfSnapshot = HAS_FLAGS | READ_ONLY | SEND_FLUSH | SEND_FUA | CAN_MULTI_CONN

const size = 5 * 2 ** 32 + 4096
const exports = new TestExports(
  new TestExport(new MemoryDevice(0), size, { name: 'disk', description: 'a disk' }),
  new TestExport(new MemoryDevice(0), 4096, { name: 'disk@snäp', readOnly: true, preferredBlockBytes: 65536 }),
)

async function server(t: Test) {
  // No time limit: what is not disconnected for its own reason hangs, and fails.
  const { port } = await startServer(t, { exports, handshakeMillisMax: 1_000_000 })
  return async (flags = 3) => {
    const client = await RawClient.connect(t, { port })
    client.send(encodeClientFlags(flags))
    return client
  }
}

function hexOfSize(bytes: number): string {
  return BigInt(bytes).toString(16).padStart(16, '0')
}

t.test('the greeting', async (t) => {
  const { port } = await startServer(t, { exports })
  const client = await RawClient.connect(t, { port })
  t.equal(client.greeting.toString('hex'), '4e42444d41474943' + '49484156454f5054' + '0003')
})

t.test('client flags', async (t) => {
  const connect = await server(t)
  for (const flags of [0, 1, 2, 3]) {
    const client = await connect(flags)
    client.send(encodeOption(ABORT, EMPTY))
    t.equal((await client.reply()).type, ACK, `flags ${flags}`)
  }
  for (const flags of [4, 7, 0x80000003, 0xffffffff]) {
    const client = await connect(flags)
    client.send(encodeOption(ABORT, EMPTY))
    t.equal((await client.rest()).length, 0, `flags ${flags} are not known: disconnected`)
  }
})

t.test('EXPORT_NAME', async (t) => {
  const connect = await server(t)
  for (const name of ['disk', '']) {
    const bare = await connect(3)
    bare.send(encodeOption(EXPORT_NAME, Buffer.from(name)))
    t.equal((await bare.receive(10)).toString('hex'), hexOfSize(size) + flagsOfDisk.toString(16).padStart(4, '0'))
    const zeroes = await connect(1)
    zeroes.send(encodeOption(EXPORT_NAME, Buffer.from(name)))
    t.equal((await zeroes.receive(134)).toString('hex').slice(20), '00'.repeat(124))
    for (const client of [bare, zeroes]) {
      // Transmission has begun: DISC ends it without another byte.
      client.send(Buffer.from('25609513' + '00000002' + '00'.repeat(20), 'hex'))
      t.equal((await client.rest()).length, 0)
    }
  }
  for (const [name, why] of [
    [Buffer.from('nope'), 'unknown'],
    [Buffer.from('di\0sk'), 'NUL'],
    [Buffer.of(0xff, 0xfe), 'not UTF-8'],
    [Buffer.alloc(4097, 'n'), 'too long'],
    [Buffer.alloc(300_000, 'n'), 'far too long'],
  ] as const) {
    const client = await connect()
    client.send(encodeOption(EXPORT_NAME, name))
    t.equal((await client.rest()).length, 0, `${why}: disconnected`)
  }
})

t.test('ABORT', async (t) => {
  const connect = await server(t)
  for (const data of [EMPTY, Buffer.from('bye'), Buffer.alloc(300_000)]) {
    const client = await connect()
    client.send(encodeOption(ABORT, data), encodeOption(LIST, EMPTY))
    t.strictSame(await client.reply(), { option: ABORT, type: ACK, data: EMPTY })
    t.equal((await client.rest()).length, 0, 'and closed')
  }
})

t.test('LIST', async (t) => {
  const connect = await server(t)
  const client = await connect()
  client.send(encodeOption(LIST, EMPTY))
  const entry = (name: string, description: string) => {
    const bytes = Buffer.from(name)
    return {
      option: LIST,
      type: SERVER,
      data: Buffer.concat([Buffer.of(0, 0, 0, bytes.length), bytes, Buffer.from(description)]),
    }
  }
  t.strictSame(await client.reply(), entry('disk', 'a disk'))
  t.strictSame(await client.reply(), entry('disk@snäp', ''))
  t.strictSame(await client.reply(), { option: LIST, type: ACK, data: EMPTY })
  for (const data of [Buffer.of(0), Buffer.alloc(300_000)]) {
    client.send(encodeOption(LIST, data))
    t.match(await client.reply(), { option: LIST, type: ERR_INVALID })
  }
})

t.test('INFO and GO', async (t) => {
  const connect = await server(t)
  const client = await connect()
  const ask = async (option: number, name: string, types: number[]) => {
    client.send(encodeOption(option, encodeInfoRequest(name, types)))
    const lines: string[] = []
    for (;;) {
      const reply = await client.reply()
      t.equal(reply.option, option)
      if (reply.type !== NBD_REP.INFO) return [...lines, reply.type]
      lines.push(reply.data.toString('hex'))
    }
  }
  const disk = '0000' + hexOfSize(size) + flagsOfDisk.toString(16).padStart(4, '0')
  const name = '0001' + Buffer.from('disk').toString('hex')
  const description = '0002' + Buffer.from('a disk').toString('hex')
  const blockSize = '0003' + '00000001' + '00001000' + '02000000'
  const snapshot = '0000' + hexOfSize(4096) + flagsOfSnapshot.toString(16).padStart(4, '0')
  const snapshotName = '0001' + Buffer.from('disk@snäp').toString('hex')
  for (const option of [INFO, GO]) {
    // Refused ones leave everything as it was, so GO comes last.
    t.strictSame(await ask(option, 'nope', [3]), [ERR_UNKNOWN])
    t.strictSame(await ask(INFO, 'disk', []), [disk, ACK])
    t.strictSame(await ask(INFO, '', [1]), [disk, name, ACK], 'the default export has its own name')
    t.strictSame(await ask(INFO, 'disk@snäp', [1, 2, 3]), [
      snapshot,
      snapshotName,
      '0003' + '00000001' + '00010000' + '02000000',
      ACK,
    ])
    t.strictSame(await ask(INFO, 'disk', [77, 0, 3, 3, 0xffff]), [disk, blockSize, ACK], 'unknown and repeated')
    t.strictSame(await ask(option, 'disk', [3, 2, 1]), [disk, name, description, blockSize, ACK])
  }
  client.send(Buffer.from('25609513' + '00000003' + '00000000000000aa' + '00'.repeat(12), 'hex'))
  t.equal(
    (await client.receive(16)).toString('hex'),
    '67446698' + '00000000' + '00000000000000aa',
    'transmission, without zeroes before it',
  )
})

t.test('INFO and GO, malformed: refused, and the connection goes on', async (t) => {
  const connect = await server(t)
  const client = await connect()
  const good = encodeInfoRequest('disk', [3])
  const lying = (change: (bytes: Buffer) => void) => {
    const bytes = Buffer.from(good)
    change(bytes)
    return bytes
  }
  for (const option of [INFO, GO]) {
    for (const [data, type] of [
      [EMPTY, ERR_INVALID],
      [good.subarray(0, 5), ERR_INVALID],
      [good.subarray(0, -1), ERR_INVALID],
      [Buffer.concat([good, Buffer.of(0)]), ERR_INVALID],
      [lying((bytes) => bytes.writeUInt32BE(0xffffffff, 0)), ERR_INVALID],
      [lying((bytes) => bytes.writeUInt32BE(5, 0)), ERR_INVALID],
      [lying((bytes) => bytes.writeUInt16BE(0xffff, 8)), ERR_INVALID],
      [encodeInfoRequest('di\0sk', []), ERR_INVALID],
      [encodeInfoRequest('n'.repeat(4097), []), ERR_INVALID],
      [encodeInfoRequest('n'.repeat(4096), []), ERR_UNKNOWN],
      [Buffer.alloc(300_000), ERR_TOO_BIG],
    ] as const) {
      client.send(encodeOption(option, data))
      const reply = await client.reply()
      t.match(reply, { option, type })
      t.equal(reply.data.at(-1), 0x20, 'the text ends in a byte to spare')
      t.ok(reply.data.length <= 900)
    }
  }
  client.send(encodeOption(LIST, EMPTY))
  t.match(await client.reply(), { option: LIST, type: SERVER })
})

t.test('without a default export the empty name is unknown', async (t) => {
  const none = new TestExports(exports.exports[0]!)
  none.find = () => undefined
  const { port } = await startServer(t, { exports: none })
  const client = await RawClient.connect(t, { port })
  client.send(encodeClientFlags(3), encodeOption(GO, encodeInfoRequest('', [])))
  t.match(await client.reply(), { type: ERR_UNKNOWN, data: /default/ })
})

t.test('options that are not spoken', async (t) => {
  const connect = await server(t)
  const client = await connect()
  for (const option of [
    0,
    PEEK_EXPORT,
    STARTTLS,
    STRUCTURED_REPLY,
    LIST_META_CONTEXT,
    SET_META_CONTEXT,
    EXTENDED_HEADERS,
    12,
    0xffffffff,
  ]) {
    client.send(encodeOption(option, EMPTY), encodeOption(option, Buffer.from('some data')))
    t.match(await client.reply(), { option, type: ERR_UNSUP })
    t.match(await client.reply(), { option, type: ERR_UNSUP })
  }
  client.send(encodeOption(77, Buffer.alloc(1_000_000)), encodeOption(LIST, EMPTY))
  t.match(await client.reply(), { option: 77, type: ERR_UNSUP }, 'skipped in step')
  t.match(await client.reply(), { option: LIST, type: SERVER })
})

t.test('what ends the connection', async (t) => {
  const connect = await server(t)
  const header = (change: (bytes: Buffer) => void) => {
    const bytes = encodeOption(LIST, EMPTY)
    change(bytes)
    return bytes
  }
  for (const [bytes, why] of [
    [header((bytes) => bytes.writeUInt8(0, 0)), 'a wrong magic number'],
    [header((bytes) => bytes.writeUInt32BE(0xffffffff, 12)), 'a length of 4 GiB'],
    [header((bytes) => bytes.writeUInt32BE(32 * 1024 ** 2 + 1, 12)), 'a length over 32 MiB'],
    [Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'), 'another protocol'],
  ] as const) {
    const client = await connect()
    client.send(bytes)
    t.equal((await client.rest()).length, 0, why)
  }
})

t.test('the number of options', async (t) => {
  const connect = await server(t)
  const count = async (first: Buffer[]) => {
    const client = await connect()
    const unknown = encodeOption(77, EMPTY)
    client.send(...first, ...Array.from({ length: 100 }, () => unknown))
    let replies = 0
    const answered = await client.rest()
    for (let at = 0; at < answered.length; at += 20 + answered.readUInt32BE(at + 16)) {
      if (answered.readUInt32BE(at + 8) === 77) replies++
    }
    return replies
  }
  t.equal(await count([]), 32)
  t.equal(await count([encodeOption(LIST, EMPTY)]), 31 + 2 * 2, 'more where there is more to ask about')
  t.equal(await count([encodeOption(LIST, EMPTY), encodeOption(LIST, EMPTY)]), 30 + 2 * 2, 'once')
})
