/** Our client against our server, and what it makes of a server that is not one. */

import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import { NbdClient } from '../../../protocol/client/client.ts'
import { connectNbd } from '../../../protocol/client/connect.ts'
import { NBD_CMD, NBD_FLAG, NBD_OPT } from '../../../protocol/constants.ts'
import { encodeGreeting, encodeInfoExport, encodeOptionReply } from '../../../protocol/handshake-encoder.ts'
import { writeSimpleReply } from '../../../protocol/simple-reply.ts'
import { MemoryDevice, TestExport, TestExports } from '../../fixtures/memory-export.ts'
import { startServer } from '../../fixtures/nbd-server.ts'
import { Random, printSeed } from '../../fixtures/random.ts'

const size = 4 * 1024 * 1024

async function connected(t: Test) {
  const device = new MemoryDevice(size)
  const disk = new TestExport(device, size, { description: 'a disk' })
  const snapshot = new TestExport(device, size, { name: 'disk@snap', readOnly: true })
  const { port } = await startServer(t, { exports: new TestExports(disk, snapshot) })
  const client = await connectNbd({ host: '127.0.0.1', port })
  t.teardown(() => client.destroy())
  return { client, device, disk, port }
}

t.test('options', async (t) => {
  const { client } = await connected(t)
  t.strictSame(await client.list(), [
    { name: 'disk', description: 'a disk' },
    { name: 'disk@snap', description: '' },
  ])
  const blockSize = { minimum: 1, preferred: 4096, payloadMaximum: 33554432 }
  t.match(await client.info(''), { name: 'disk', description: 'a disk', size, readOnly: false, blockSize })
  t.match(await client.info('disk@snap'), { name: 'disk@snap', description: null, size, readOnly: true })
  await t.rejects(client.go('nope'), { name: 'NbdError', code: 'ERR_UNKNOWN' })
  await t.rejects(client.option(NBD_OPT.STARTTLS, Buffer.alloc(0)), { code: 'ERR_UNSUP' })
  await client.abort()
  await t.rejects(client.list(), { code: 'DISCONNECTED' })
})

t.test('requests', async (t) => {
  const { client, device, disk } = await connected(t)
  const { transmissionFlags } = await client.go('disk')
  t.ok(transmissionFlags & NBD_FLAG.CAN_MULTI_CONN)
  await client.write(100, Buffer.from('hello world'), { fua: true })
  t.equal((await client.read(98, 15)).toString(), '\0\0hello world\0\0')
  await client.writeZeroes(101, 2, { noHole: true })
  await client.trim(104, 2)
  t.equal((await client.read(100, 11)).toString(), 'h\0\0l\0\0world')
  await client.flush()
  t.equal(device.flushes, 1)
  t.equal((await client.read(0, 0)).length, 0)
  await t.rejects(client.write(size, Buffer.from('x')), { code: 'ENOSPC' })
  await t.rejects(client.request({ type: NBD_CMD.READ, offset: 2n ** 64n - 1n, length: 9 }), { code: 'EINVAL' })
  await t.rejects(client.list(), TypeError)
  await client.disconnect()
  t.equal(disk.holders.length, 0)
  await t.rejects(client.read(0, 1), { code: 'DISCONNECTED' })
})

t.test('many at a time, against an array', async (t) => {
  const random = new Random(printSeed(t))
  const { client } = await connected(t)
  await client.go('')
  const model = Buffer.alloc(size)
  const waiting: Promise<unknown>[] = []
  // This device completes in order, so a READ sees all that was asked for before it.
  for (let i = 0; i < 3000; i++) {
    const length = 1 + random.below(random.pick([16, 5000, 300_000]))
    const offset = random.below(size - length)
    if (random.below(2) === 0) {
      const payload = Buffer.alloc(length, 1 + random.below(255))
      payload.copy(model, offset)
      waiting.push(client.write(offset, payload))
    } else {
      const expected = Buffer.from(model.subarray(offset, offset + length))
      waiting.push(client.read(offset, length).then((data) => data.equals(expected) || t.fail(`${offset} + ${length}`)))
    }
    if (waiting.length >= 64) await Promise.all(waiting.splice(0))
  }
  await Promise.all(waiting)
  t.ok((await client.read(0, size)).equals(model))
})

t.test('the server goes away: everybody who waits hears it', async (t) => {
  const { client, device } = await connected(t)
  await client.go('')
  device.read = () => {}
  const reads = [client.read(0, 10), client.read(10, 10)]
  client.destroy()
  for (const read of reads) await t.rejects(read, { code: 'DISCONNECTED' })
  await client.closed
})

t.test('nobody listens', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  await t.rejects(connectNbd({ host: '127.0.0.1', port }), { code: 'DISCONNECTED', cause: { code: 'ECONNREFUSED' } })
})

t.test('a server that makes no sense', async (t) => {
  const goAnswer = Buffer.concat([
    encodeOptionReply(NBD_OPT.GO, 3, encodeInfoExport(4096, 1)),
    encodeOptionReply(NBD_OPT.GO, 1, Buffer.alloc(0)),
  ])
  const reply = (cookie: number) => {
    const bytes = Buffer.alloc(16)
    writeSimpleReply(bytes, 0, 0, 0, cookie)
    return bytes
  }
  const data = Buffer.alloc(16)
  /** What the server says at first, to GO, and to two READs of 16 bytes. */
  for (const [greeting, toGo, toReads, why] of [
    [Buffer.from('HTTP/1.1 400 Bad Request'), null, null, 'no greeting'],
    [encodeGreeting(), encodeOptionReply(NBD_OPT.LIST, 1, Buffer.alloc(0)), null, 'a reply to nothing'],
    [encodeGreeting(), encodeOptionReply(NBD_OPT.GO, 1, Buffer.alloc(0)), null, 'no size'],
    [encodeGreeting(), goAnswer, Buffer.alloc(16, 'x'), 'no reply'],
    [encodeGreeting(), goAnswer, reply(77), 'a reply to no request'],
    [encodeGreeting(), goAnswer, Buffer.concat([reply(1), data, reply(1), data]), 'a second reply to a request'],
  ] as const) {
    let destroyed = false
    const client = new NbdClient({ write: () => {}, end: () => {}, destroy: () => (destroyed = true) })
    const talk = async () => {
      client.push(greeting)
      await client.ready
      const gone = client.go('')
      client.push(toGo!)
      await gone
      const reads = Promise.all([client.read(0, 16), client.read(0, 16)])
      client.push(toReads!)
      await reads
    }
    await t.rejects(talk(), { code: 'PROTOCOL' }, why)
    t.equal(destroyed, why !== 'no size', why)
  }
})
