/** The daemon started by a connection, on sockets that it did not make: `systemd-socket-activate` does what the units do. */

import t, { type Test } from 'tap'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { activatedSockets } from '../../daemon/activation.ts'
import type { DaemonStatus } from '../../daemon/control/wire.ts'
import { connectNbd } from '../../protocol/client/connect.ts'
import { controlRequest, temporaryDirectory, Thawd, thawdProgram } from '../fixtures/thawd.ts'
import { findCommand, needs } from '../fixtures/tools.ts'

interface Activated {
  readonly pid: number
  readonly lines: string[]
  readonly ended: Promise<number | null>
  stop(): Promise<number | null>
}

interface ActivateOptions {
  readonly directory: string
  readonly sockets: readonly (readonly [name: string, address: string])[]
  readonly words?: readonly string[]
}

/** Listens at those addresses and starts thawd when somebody connects, as the units would. */
async function activate(t: Test, { directory, sockets, words = [] }: ActivateOptions): Promise<Activated> {
  const child = spawn(
    findCommand('systemd-socket-activate') ?? '',
    [
      ...sockets.map(([, address]) => `--listen=${address}`),
      `--fdname=${sockets.map(([name]) => name).join(':')}`,
      `--setenv=STATE_DIRECTORY=${join(directory, 'data')}`,
      process.execPath,
      thawdProgram,
      ...words,
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  const lines: string[] = []
  const reader = createInterface(child.stderr)
  reader.on('line', (line) => lines.push(line))
  const ended = once(child, 'close').then(() => child.exitCode)
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  // It says so when it listens, one line for each socket.
  while (lines.filter((line) => line.startsWith('Listening on')).length < sockets.length) await once(reader, 'line')
  return {
    pid: child.pid ?? 0,
    lines,
    ended,
    stop: () => {
      child.kill('SIGTERM')
      return ended
    },
  }
}

async function makeStore(t: Test, directory: string): Promise<void> {
  const onlyWords = ['init', '--data', join(directory, 'data'), '--demo-disk', 'disk0=16MiB']
  t.strictSame(await new Thawd(t, { directory, onlyWords }).ended, { code: 0, signal: null })
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

t.test('NBD and control are spoken on the sockets of systemd', needs('systemd-socket-activate'), async (t) => {
  const directory = temporaryDirectory(t)
  await makeStore(t, directory)
  const nbd = join(directory, 'nbd.sock')
  const control = join(directory, 'control.sock')
  const port = await freePort()
  const thawd = await activate(t, {
    directory,
    sockets: [
      ['nbd', nbd],
      ['control', control],
      ['nbd-tcp', `127.0.0.1:${port}`],
    ],
  })
  // The first connection starts the daemon, and waits for it.
  const status = await controlRequest<DaemonStatus>(control, 'status')
  t.match(status, {
    pid: thawd.pid,
    dataDirectory: join(directory, 'data'),
    listeners: [
      { kind: 'unix', path: nbd },
      { kind: 'tcp', host: '127.0.0.1', port },
    ],
  })
  t.equal(status.listeners.length, 2, 'and not on the port that is the default otherwise')
  for (const place of [{ path: nbd }, { host: '127.0.0.1', port }]) {
    const client = await connectNbd(place)
    t.match(await client.go('disk0'), { size: 16 * 1024 ** 2 })
    await client.write(0, Buffer.from('x'))
    await client.disconnect()
  }
  t.equal(await thawd.stop(), 0)
  t.ok(existsSync(nbd), 'the sockets are not ours to remove')
  t.ok(existsSync(control))
})

t.test(
  'a client that comes first of all is kept until the store is open',
  needs('systemd-socket-activate'),
  async (t) => {
    const directory = temporaryDirectory(t)
    await makeStore(t, directory)
    const nbd = join(directory, 'nbd.sock')
    const sockets = [['nbd', nbd] as const, ['control', join(directory, 'control.sock')] as const]
    await activate(t, { directory, sockets })
    const client = await connectNbd({ path: nbd })
    t.match(await client.go(''), { name: 'disk0' })
    await client.disconnect()
  },
)

t.test('without a control socket of systemd there is one of our own', needs('systemd-socket-activate'), async (t) => {
  const directory = temporaryDirectory(t)
  await makeStore(t, directory)
  const nbd = join(directory, 'nbd.sock')
  const control = join(directory, 'control.sock')
  const thawd = await activate(t, { directory, sockets: [['nbd', nbd]], words: ['--control', control] })
  const client = await connectNbd({ path: nbd })
  await client.abort()
  t.match(await controlRequest(control, 'status'), { listeners: [{ path: nbd }] })
  t.equal(await thawd.stop(), 0)
  t.notOk(existsSync(control))
})

t.test('a socket with an unknown name, or open to others, is refused', needs('systemd-socket-activate'), async (t) => {
  const directory = temporaryDirectory(t)
  await makeStore(t, directory)
  const named = join(directory, 'a.sock')
  const unknown = await activate(t, { directory, sockets: [['web', named]] })
  await t.rejects(controlRequest(named, 'status'))
  t.equal(await unknown.ended, 2)
  t.match(unknown.lines.at(-1), /^thawd: systemd passed descriptor 3 with the name 'web'.*FileDescriptorName=/)

  const port = await freePort()
  const words = ['--control', join(directory, 'c')]
  const open = await activate(t, { directory, sockets: [['nbd', `0.0.0.0:${port}`]], words })
  await t.rejects(connectNbd({ host: '127.0.0.1', port }))
  t.equal(await open.ended, 2)
  t.match(open.lines.at(-1), /^thawd: the socket 0.0.0.0:[0-9]+ that systemd passed is refused: .*--insecure/)
})

t.test('variables meant for another process are not taken, and none is passed on', async (t) => {
  const environment: NodeJS.ProcessEnv = { LISTEN_PID: '1', LISTEN_FDS: '2', LISTEN_FDNAMES: 'nbd:control' }
  t.strictSame(activatedSockets(environment, 2), [])
  t.strictSame(environment, {})
  t.strictSame(activatedSockets({}, 2), [])
})
