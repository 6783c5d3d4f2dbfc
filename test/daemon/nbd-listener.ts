/** The listener: where it listens, whom it lets in and for how long, what it tells, and how it stops. */

import { join } from 'node:path'
import t from 'tap'
import { ListeningSocket } from '../../daemon/listening-socket.ts'
import { NbdListener } from '../../daemon/nbd-listener.ts'
import type { NbdClient, NbdListenerEvents } from '../../daemon/nbd-listener.ts'
import { connectNbd } from '../../protocol/client/connect.ts'
import { NBD_CMD, NBD_OPT, NBD_REP } from '../../protocol/constants.ts'
import { encodeClientFlags, encodeInfoRequest, encodeOption, encodeRequest } from '../../protocol/client/encoder.ts'
import type { BlockDevice } from '../../protocol/export.ts'
import { LateDevice } from '../fixtures/late-device.ts'
import { MemoryDevice, TestExport, TestExports } from '../fixtures/memory-export.ts'
import { RawClient, startServer } from '../fixtures/nbd-server.ts'

const MiB = 1024 * 1024
const size = 64 * MiB

/** What the listener tells, as lines, and a promise for the next line that matches. */
function events() {
  const lines: string[] = []
  const waiting: { pattern: RegExp; resolve: () => void }[] = []
  const tell = (line: string) => {
    lines.push(line)
    for (const { pattern, resolve } of waiting) if (pattern.test(line)) resolve()
  }
  const told = (pattern: RegExp) => {
    if (lines.some((line) => pattern.test(line))) return Promise.resolve()
    return new Promise<void>((resolve) => waiting.push({ pattern, resolve }))
  }
  const all: NbdListenerEvents = {
    attached: ({ exportName }) => tell(`attached ${exportName}`),
    detached: ({ exportName }) => tell(`detached ${exportName}`),
    refused: (_client, exportName, reason) => tell(`refused ${exportName}: ${reason}`),
    violated: (_client, reason) => tell(`violated: ${reason}`),
    failed: (_client, { command }, error) => tell(`failed ${command}: ${error.message}`),
    error: (error) => tell(`error ${error.message}`),
  }
  return { events: all, lines, told }
}

function exportsOf(device: BlockDevice = new MemoryDevice(size)) {
  const target = new TestExport(device, size)
  return { target, exports: new TestExports(target) }
}

/** Resolves when no socket is left. */
async function gone(listener: NbdListener): Promise<void> {
  while ([...listener.clients()].length > 0) await new Promise((resolve) => setTimeout(resolve, 5))
}

const onlyClient = (listener: NbdListener): NbdClient => [...listener.clients()][0]!

t.test('over TCP: who is there, and what he did', async (t) => {
  const { events: told, lines } = events()
  const { exports } = exportsOf()
  const { listener, port } = await startServer(t, { exports, events: told })
  const client = await connectNbd({ host: '127.0.0.1', port })
  await client.list()
  t.match(onlyClient(listener), {
    id: 1,
    exportName: null,
    listener: `127.0.0.1:${port}`,
    address: /^127\.0\.0\.1:\d+$/,
  })
  await client.go('')
  await client.write(0, Buffer.alloc(1000))
  await client.read(0, 10)
  const counters = { requests: 2, errors: 0, bytesRead: 10, bytesWritten: 1000 }
  t.match(onlyClient(listener), { exportName: 'disk', since: Date, counters })
  await client.disconnect()
  t.strictSame(lines, ['attached disk', 'detached disk'])
  const second = await connectNbd({ host: '127.0.0.1', port })
  await second.list()
  t.match([...listener.clients()].at(-1), { id: 2 })
  await second.abort()
})

t.test('over a unix socket', async (t) => {
  const path = join(t.testdir(), 'nbd.sock')
  const listener = new NbdListener(exportsOf())
  const socket = await ListeningSocket.unix(path)
  socket.serve((client) => listener.accept(client, socket))
  const client = await connectNbd({ path })
  await client.go('')
  t.equal((await client.read(0, 4096)).length, 4096)
  t.match(onlyClient(listener), { address: 'unix', listener: path })
  socket.close()
  await listener.stop()
  await client.closed
})

t.test('no more connections than agreed, and a place is free again when one is gone', async (t) => {
  const { events: told, lines } = events()
  const { port } = await startServer(t, { ...exportsOf(), events: told, connectionsMax: 2 })
  const first = await RawClient.connect(t, { port })
  const second = await connectNbd({ host: '127.0.0.1', port })
  await t.rejects(connectNbd({ host: '127.0.0.1', port }), { code: 'DISCONNECTED' })
  t.strictSame(lines, ['refused null: there are 2 connections already'])
  await second.abort()
  const third = await connectNbd({ host: '127.0.0.1', port })
  await third.go('')
  t.equal(first.socket.destroyed, false)
})

t.test('a client that does not choose in time is cut off, one that has chosen never is', async (t) => {
  const { events: told, told: until } = events()
  const { port } = await startServer(t, { ...exportsOf(), events: told, handshakeMillisMax: 1000 })
  const chosen = await connectNbd({ host: '127.0.0.1', port })
  await chosen.go('')
  const silent = await RawClient.connect(t, { port })
  const halting = await RawClient.connect(t, { port })
  halting.send(encodeClientFlags(3), encodeOption(NBD_OPT.LIST, Buffer.alloc(0)), Buffer.from('IHAVE'))
  await silent.rest()
  await halting.rest()
  await until(/violated: no export was chosen in time/)
  t.equal((await chosen.read(0, 512)).length, 512)
})

t.test('what goes wrong is told', async (t) => {
  const device = new MemoryDevice(size)
  device.read = (_offset, _into, completion) => completion.complete(new Error('bad sector'))
  const { events: told, lines, told: until } = events()
  const { port } = await startServer(t, { ...exportsOf(device), events: told })
  const client = await connectNbd({ host: '127.0.0.1', port })
  await t.rejects(client.go('nope'), { code: 'ERR_UNKNOWN' })
  await client.go('')
  await t.rejects(client.read(0, 512), { code: 'EIO' })
  const raw = await RawClient.go(t, { port })
  raw.send(Buffer.alloc(28))
  await raw.rest()
  await until(/violated/)
  t.strictSame(lines.slice(0, 5), [
    'refused nope: There is no export "nope".',
    'attached disk',
    'failed READ: bad sector',
    'attached disk',
    'violated: a request has the wrong magic number',
  ])
})

t.test('clients that vanish in the middle leave nothing behind', async (t) => {
  const device = new LateDevice(size)
  const { events: told, lines, told: until } = events()
  const { target, exports } = exportsOf(device)
  const { listener, port } = await startServer(t, { exports, events: told })
  const raw = await RawClient.go(t, { port })
  for (let cookie = 0; cookie < 10; cookie++) raw.send(encodeRequest({ type: NBD_CMD.READ, cookie, length: MiB }))
  await device.arrived(10)
  raw.socket.resetAndDestroy()
  await gone(listener)
  t.equal(target.holders.length, 1, 'the device still has its requests')
  while (device.pending.length > 0) device.pending[0]!.finish()
  await until(/detached/)
  t.equal(target.holders.length, 0)
  t.strictSame(lines, ['attached disk', 'detached disk'])
})

t.test('a client that never reads is read no further, and others do not notice', async (t) => {
  const device = new MemoryDevice(size)
  const { listener, port } = await startServer(t, exportsOf(device))
  const greedy = await RawClient.go(t, { port })
  greedy.socket.pause()
  const requests = Buffer.alloc(64 * MiB, encodeRequest({ type: NBD_CMD.READ, cookie: 1, length: MiB }))
  greedy.send(requests)
  const other = await connectNbd({ host: '127.0.0.1', port })
  await other.go('')
  const { counters } = onlyClient(listener)
  while (counters.requests < 32) await other.read(0, 16)
  // As long as the other one is served a thousand times, the server had every chance to read on.
  let before = -1
  for (let round = 0; round < 20 && before !== counters.requests; round++) {
    before = counters.requests
    for (let i = 0; i < 50; i++) t.equal((await other.read(i, 16)).length, 16)
  }
  t.equal(counters.requests, before, 'it has come to rest')
  // 32 MiB in flight, and what the kernel took into the buffers of both sockets.
  t.ok(counters.requests >= 32 && counters.requests < 100, `${counters.requests} requests of 1 MiB`)
  t.ok(greedy.socket.writableLength > 0, 'its other requests are still with it')
})

t.test('stop: what the device has is answered, then everything is closed', async (t) => {
  const device = new LateDevice(size)
  const { target, exports } = exportsOf(device)
  const { listener, port } = await startServer(t, { exports })
  const busy = await connectNbd({ host: '127.0.0.1', port })
  await busy.go('')
  const idle = await connectNbd({ host: '127.0.0.1', port })
  await idle.go('')
  const negotiating = await RawClient.connect(t, { port })
  negotiating.send(encodeClientFlags(3))
  const read = busy.read(0, 512)
  await device.arrived(1)
  const stopped = listener.stop()
  t.equal(listener.stop(), stopped)
  await t.rejects(connectNbd({ host: '127.0.0.1', port }), { code: 'DISCONNECTED' })
  negotiating.send(encodeOption(NBD_OPT.GO, encodeInfoRequest('', [])))
  t.equal((await negotiating.reply()).type, NBD_REP.ERR_SHUTDOWN)
  await idle.closed
  await t.rejects(busy.read(0, 512), { code: 'ESHUTDOWN' })
  device.pending[0]!.finish()
  t.equal((await read).length, 512)
  await busy.closed
  await stopped
  t.equal(target.holders.length, 0)
  t.equal([...listener.clients()].length, 0)
  t.equal((await negotiating.rest()).length, 0)
})

t.test('stop: nobody can hold it open', async (t) => {
  const device = new LateDevice(size)
  const { listener, port } = await startServer(t, exportsOf(device))
  const silent = await RawClient.connect(t, { port })
  const stuck = await RawClient.go(t, { port })
  stuck.send(encodeRequest({ type: NBD_CMD.READ, cookie: 1, length: 512 }))
  await device.arrived(1)
  await listener.stop(50)
  t.equal((await silent.rest()).length, 0)
  t.equal((await stuck.rest()).length, 0)
  device.pending[0]!.finish()
})

t.test('a peer that does not close its side after the end is not waited for for ever', async (t) => {
  const { listener, port } = await startServer(t, exportsOf())
  const raw = await RawClient.go(t, { port })
  raw.send(encodeRequest({ type: NBD_CMD.DISC, cookie: 1 }))
  t.equal((await raw.rest()).length, 0)
  await gone(listener)
  t.notOk(raw.socket.writableEnded)
})
