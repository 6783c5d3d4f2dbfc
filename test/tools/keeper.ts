import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { NBD_CMD } from '../../protocol/constants.ts'
import { connectNbd } from '../../protocol/client/connect.ts'
import { encodeRequest } from '../../protocol/client/encoder.ts'
import { KeeperProcess } from '../fixtures/keeper-process.ts'
import { MemoryDevice } from '../fixtures/memory-export.ts'
import { MortalServer } from '../fixtures/mortal-server.ts'
import { RawClient } from '../fixtures/nbd-server.ts'

const size = 1 << 20

t.test('the keeper ends with its client, and lets the disk go', async (t) => {
  await using server = new MortalServer(new MemoryDevice(size), size)
  await server.start()
  await using keeper = await KeeperProcess.start(server.port, 'disk')
  const client = await connectNbd({ host: '127.0.0.1', port: keeper.port })
  t.equal((await client.go('disk')).size, size)
  await client.write(0, Buffer.alloc(512, 7))
  t.equal((await client.read(0, 1))[0], 7)
  t.equal(server.exported!.holders.length, 1)
  await client.disconnect()
  t.equal(await keeper.ended, 0)
  while (server.exported!.holders.length > 0) await new Promise((resolve) => setImmediate(resolve))
})

t.test('it passes on what the server says no to', async (t) => {
  await using server = new MortalServer(new MemoryDevice(size), size)
  await server.start()
  await using keeper = await KeeperProcess.start(server.port, 'disk')
  const client = await connectNbd({ host: '127.0.0.1', port: keeper.port })
  await client.go('disk')
  await t.rejects(client.read(size, 512), { code: 'EINVAL' })
  await t.rejects(client.write(size - 1, Buffer.alloc(2)), { code: 'ENOSPC' })
  await client.disconnect()
})

for (const away of ['refuses connections', 'accepts them and says nothing'] as const) {
  t.test(`a client that leaves while the server ${away} takes the keeper and its requests with it`, async (t) => {
    const memory = new MemoryDevice(size)
    await using server = new MortalServer(memory, size)
    await server.start()
    await using keeper = await KeeperProcess.start(server.port, 'disk')
    const client = await RawClient.go(t, { port: keeper.port }, 'disk')
    server.crash()
    const mute = createServer(() => {})
    if (away !== 'refuses connections') {
      const met = new Promise((resolve) => mute.once('connection', resolve))
      await new Promise<void>((resolve) => mute.listen(server.port, '127.0.0.1', resolve))
      t.equal((mute.address() as AddressInfo).port, server.port)
      await met
    }
    const request = { offset: 0, length: 512, cookie: 1 }
    client.send(encodeRequest({ ...request, type: NBD_CMD.WRITE }), Buffer.alloc(512, 9))
    // As the kernel does when a device is let go: goodbye, and its end of the socket is shut.
    client.send(encodeRequest({ ...request, type: NBD_CMD.DISC, length: 0, cookie: 2 }))
    client.socket.end()
    t.equal(await keeper.ended, 0)
    mute.close()
    t.ok(memory.bytes.equals(Buffer.alloc(size)))
  })
}

t.test('a disk that is not there is said at once', async (t) => {
  await using server = new MortalServer(new MemoryDevice(size), size)
  await server.start()
  await t.rejects(KeeperProcess.start(server.port, 'other'), /did not start: 1/)
})
