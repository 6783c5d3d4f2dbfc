import t, { type Test } from 'tap'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { ListeningSocket } from '../../daemon/listening-socket.ts'
import { temporaryDirectory } from '../fixtures/thawd.ts'

const greet = (socket: Socket, { name }: ListeningSocket) => {
  socket.on('error', () => {})
  socket.end(name)
}

async function all(socket: Socket): Promise<string> {
  let text = ''
  for await (const data of socket) text += String(data)
  return text
}

/** A socket that a killed process left behind. */
function leaveDeadSocket(path: string): void {
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
  spawnSync(process.execPath, ['-e', script])
}

function closing(t: Test, socket: ListeningSocket): ListeningSocket {
  t.teardown(() => socket.close())
  return socket
}

t.test('a client that comes before the daemon is ready waits and is served', async (t) => {
  const listening = closing(t, await ListeningSocket.tcp({ host: '127.0.0.1', port: 0 }))
  const client = connect(listening.port ?? 0, '127.0.0.1')
  await once(client, 'connect')
  // One that gives up while it waits, with a reset, is nobody's error.
  const impatient = connect(listening.port ?? 0, '127.0.0.1')
  await once(impatient, 'connect')
  impatient.resetAndDestroy()
  await once(impatient, 'close')
  listening.serve(greet)
  t.equal(await all(client), `127.0.0.1:${listening.port}`)
  t.equal(await all(connect(listening.port ?? 0, '127.0.0.1')), listening.name, 'and so is a later one')
})

t.test('a unix socket is for owner and group from the first moment, and goes when it is closed', async (t) => {
  const path = join(temporaryDirectory(t), 'new', 'nbd.sock')
  const umask = process.umask(0)
  const listening = closing(t, await ListeningSocket.unix(path))
  process.umask(umask)
  t.equal(statSync(path).mode & 0o777, 0o660)
  listening.serve(greet)
  t.equal(await all(connect(path)), path)
  listening.close()
  t.notOk(existsSync(path))
})

t.test('a dead socket is replaced', async (t) => {
  const path = join(temporaryDirectory(t), 'nbd.sock')
  leaveDeadSocket(path)
  t.ok(existsSync(path))
  const listening = closing(t, await ListeningSocket.unix(path))
  listening.serve(greet)
  t.equal(await all(connect(path)), path)
})

t.test('a live socket, or a file, is left alone', async (t) => {
  const directory = temporaryDirectory(t)
  const path = join(directory, 'nbd.sock')
  const other = createServer((socket) => socket.on('error', () => {}).end('mine'))
  other.listen(path)
  await once(other, 'listening')
  t.teardown(() => other.close())
  await t.rejects(ListeningSocket.unix(path), { message: /nbd.sock is in use by a process that answers there/ })
  t.equal(await all(connect(path)), 'mine')

  writeFileSync(join(directory, 'file'), 'x')
  await t.rejects(ListeningSocket.unix(join(directory, 'file')), { message: /is there and is not a socket/ })
  t.equal(statSync(join(directory, 'file')).size, 1)
})

t.test('what cannot be listened at is said in one line', async (t) => {
  const taken = closing(t, await ListeningSocket.tcp({ host: '127.0.0.1', port: 0 }))
  await t.rejects(ListeningSocket.tcp({ host: '127.0.0.1', port: taken.port ?? 0 }), {
    message: `127.0.0.1:${taken.port} is in use by another process (ss -ltnp shows which); stop it or --listen elsewhere`,
  })
  await t.rejects(ListeningSocket.tcp({ host: '192.0.2.1', port: 0 }), {
    message: /192.0.2.1:0 is no address of this machine/,
  })
})

t.test('one missing directory is made, two are a mistake', async (t) => {
  const path = join(temporaryDirectory(t), 'a', 'b', 's')
  await t.rejects(ListeningSocket.unix(path), { message: /cannot be made \(ENOENT\); check the directory/ })
  await t.rejects(ListeningSocket.unix('/proc/nowhere/s'), { message: /cannot be made \(ENOENT\)/ })
})

t.test(
  'a directory that may not be written is said in one line',
  { skip: process.geteuid?.() === 0 && 'root may' },
  async (t) => {
    const directory = join(temporaryDirectory(t), 'closed')
    mkdirSync(directory)
    chmodSync(directory, 0o500)
    await t.rejects(ListeningSocket.unix(join(directory, 's')), {
      message: /cannot be made \(EACCES\); check the directory/,
    })
  },
)
