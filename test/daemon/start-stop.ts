import t from 'tap'
import { spawnSync } from 'node:child_process'
import { closeSync, existsSync, fstatSync, openSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { connectNbd } from '../../protocol/client/connect.ts'
import type { DaemonStatus } from '../../daemon/control/wire.ts'
import { temporaryDirectory, Thawd, thawdProgram } from '../fixtures/thawd.ts'

const first = ['--init', '--demo-disk', 'disk0=64MiB']

t.test('a first start makes the store and its disk, and says where everything is', async (t) => {
  const directory = temporaryDirectory(t)
  const thawd = await new Thawd(t, { directory, words: first }).ready()
  const port = await thawd.port()
  t.match(thawd.lines, [
    /notice listening for NBD  listener=127\.0\.0\.1:[0-9]+$/,
    / store opened  data=.*\/data disks=1 snapshots=0$/,
    / listening for control  control=.*\/control\.sock$/,
    / ready  version=[0-9.]+ pid=[0-9]+ millis=[0-9]+$/,
  ])
  const control = `--control ${thawd.controlPath}`
  await thawd.greeting(/ copy\n$/)
  t.equal(
    thawd.output,
    [
      '',
      `  data     ${thawd.dataDirectory}`,
      `  NBD      127.0.0.1:${port}`,
      `  control  ${thawd.controlPath}`,
      '',
      `  ${process.geteuid?.() === 0 ? '' : 'sudo '}thaw ${control} attach disk0`,
      `  thaw ${control} snapshot create disk0@first`,
      `  thaw ${control} restore disk0@first copy`,
      '',
    ].join('\n'),
  )
  t.match(await thawd.control<DaemonStatus>('status'), {
    pid: thawd.pid,
    dataDirectory: thawd.dataDirectory,
    disks: [{ name: 'disk0', sizeBytes: 64 * 1024 ** 2, isDefault: true }],
    listeners: [{ kind: 'tcp', host: '127.0.0.1', port, tls: 'off' }],
    clients: [],
  })
  t.equal(statSync(thawd.controlPath).mode & 0o777, 0o660)
  // 16 threads for I/O, beside those of Node itself: what the start through thawd.cjs is for.
  t.ok(readdirSync(`/proc/${thawd.pid}/task`).length > 16)
})

t.test('the empty export name is the demo disk, and clients are known while they are attached', async (t) => {
  const directory = temporaryDirectory(t)
  const thawd = await new Thawd(t, {
    directory,
    words: [...first, '--listen-unix', join(directory, 'nbd.sock')],
  }).ready()
  const overTcp = await thawd.nbd()
  t.match(await overTcp.go(''), { name: 'disk0', size: 64 * 1024 ** 2 })
  const overUnix = await connectNbd({ path: join(directory, 'nbd.sock') })
  await overUnix.go('disk0')
  t.match(await thawd.control('clients'), {
    clients: [
      { id: 1, export: 'disk0', listener: `127.0.0.1:${await thawd.port()}`, readOnly: false },
      { id: 2, export: 'disk0', listener: join(directory, 'nbd.sock'), address: 'unix' },
    ],
  })
  await t.rejects(thawd.control('disk.delete', { name: 'disk0' }), { code: 'DISK_IN_USE' })
  await overTcp.disconnect()
  await overUnix.disconnect()
  await thawd.line(/client attached  client=127\.0\.0\.1:[0-9]+ export=disk0 id=1/)
  await thawd.line(/client detached  client=unix export=disk0 id=2/)
  t.match(await thawd.control('clients'), { clients: [] })
})

t.test('what was written is there after a stop and a start, and nobody has to say --init again', async (t) => {
  const directory = temporaryDirectory(t)
  const unix = join(directory, 'nbd.sock')
  const before = await new Thawd(t, { directory, words: [...first, '--listen-unix', unix] }).ready()
  const writer = await before.nbd()
  await writer.go('disk0')
  const data = Buffer.alloc(100_000, 'thaw ')
  await writer.write(12_345, data)
  t.strictSame(await before.stop(), { code: 0, signal: null })
  await writer.closed
  t.match(before.lines.slice(-2), [/client detached/, /stopped/])
  t.notOk(existsSync(before.controlPath))
  t.notOk(existsSync(unix))

  const after = await new Thawd(t, { directory }).ready()
  const reader = await after.nbd()
  await reader.go('disk0')
  t.same(await reader.read(12_345, data.length), data)
  await reader.disconnect()
  t.strictSame(await after.stop(), { code: 0, signal: null })
})

t.test('the demo disk belongs to the making of the store: deleted, it stays so', async (t) => {
  const directory = temporaryDirectory(t)
  const before = await new Thawd(t, { directory, words: first }).ready()
  await before.control('disk.delete', { name: 'disk0' })
  await before.stop()
  const after = await new Thawd(t, { directory, words: first }).ready()
  t.match(await after.control('disk.list'), { disks: [] })
  await after.greeting(/thaw .* disk create disk0 10GiB\n/)
})

t.test('a stop closes connections with nothing under way at once', async (t) => {
  const directory = temporaryDirectory(t)
  const thawd = await new Thawd(t, { directory, words: first }).ready()
  const idle = await thawd.nbd()
  await idle.go('disk0')
  const negotiating = await thawd.nbd()
  const silent = connect(await thawd.port(), '127.0.0.1')
  silent.on('error', () => {})
  const started = performance.now()
  t.strictSame(await thawd.stop(), { code: 0, signal: null })
  t.ok(performance.now() - started < 5000)
  await idle.closed
  await negotiating.closed
})

t.test('a second signal ends it at once; the same one twice in a moment is one', async (t) => {
  const directory = temporaryDirectory(t)
  const thawd = await new Thawd(t, { directory, words: first }).ready()
  const client = await thawd.nbd()
  await client.go('disk0')
  await client.write(0, Buffer.alloc(4096, 7), { fua: true })
  // A client that takes no replies keeps a clean stop waiting for its grace of 10 s.
  const stuck = connect(await thawd.port(), '127.0.0.1')
  t.teardown(() => stuck.destroy())
  stuck.pause()
  stuck.write(
    Buffer.concat([...handshake('disk0'), ...Array.from({ length: 16 }, () => readRequest(0, 16 * 1024 ** 2))]),
  )
  await thawd.line(/client attached .* id=2/)
  thawd.signal('SIGINT')
  thawd.signal('SIGTERM')
  await thawd.line(/stopping {2}signal=SIG/)
  const again = setInterval(() => thawd.signal('SIGTERM'), 100)
  t.strictSame(await thawd.ended, { code: 1, signal: null })
  clearInterval(again)
  t.match(thawd.lines.at(-1), /stopping at once.*signal=SIGTERM/)
  const [asked = 0, meant = 0] = thawd.lines.slice(-2).map((line) => Date.parse(line.split(' ')[0] ?? ''))
  t.ok(meant - asked >= 250, `after ${meant - asked} ms`)

  const after = await new Thawd(t, { directory }).ready()
  const reader = await after.nbd()
  await reader.go('disk0')
  t.same(await reader.read(0, 4096), Buffer.alloc(4096, 7), 'what was flushed is there')
})

t.test('--insecure listens beyond this machine, and says what that means', async (t) => {
  const directory = temporaryDirectory(t)
  const words = ['--init', '--listen', '0.0.0.0:0', '--insecure']
  const thawd = await new Thawd(t, { directory, words }).ready()
  await thawd.line(/ warning anyone who reaches this address .* listener=0\.0\.0\.0:[0-9]+$/)
  t.match(await thawd.control('status'), { listeners: [{ host: '127.0.0.1' }, { host: '0.0.0.0' }] })
})

t.test('after kill -9 the next start needs nobody to remove anything', async (t) => {
  const directory = temporaryDirectory(t)
  const words = [...first, '--listen-unix', join(directory, 'nbd.sock')]
  const killed = await new Thawd(t, { directory, words }).ready()
  killed.signal('SIGKILL')
  await killed.ended
  t.ok(existsSync(killed.controlPath), 'a dead socket is left')
  const after = await new Thawd(t, { directory, words }).ready()
  t.match(await after.control('status'), { pid: after.pid })
  const client = await connectNbd({ path: join(directory, 'nbd.sock') })
  t.match(await client.list(), [{ name: 'disk0' }])
  await client.abort()
})

t.test('under systemd the lines carry priorities, and nothing is said on standard output', async (t) => {
  const directory = temporaryDirectory(t)
  // What JOURNAL_STREAM names must be standard error itself: `2>file` gives a file whose numbers are known beforehand.
  const log = join(directory, 'log')
  const file = openSync(log, 'w')
  const { dev, ino } = fstatSync(file)
  const data = join(directory, 'data')
  const run = spawnSync(process.execPath, [thawdProgram, 'init', '--data', data], {
    stdio: ['ignore', 'pipe', file],
    env: { ...process.env, JOURNAL_STREAM: `${dev}:${ino}` },
  })
  closeSync(file)
  t.equal(run.status, 0)
  t.equal(run.stdout.toString(), '')
  t.equal(readFileSync(log, 'utf8'), `<5>store made  data=${data}\n`)
})

t.test('thawd init makes a store and ends, and only where none is', async (t) => {
  const directory = temporaryDirectory(t)
  const words = ['init', '--data', join(directory, 'data'), '--demo-disk', 'disk0=1MiB']
  const made = new Thawd(t, { directory, onlyWords: words })
  t.strictSame(await made.ended, { code: 0, signal: null })
  const again = new Thawd(t, { directory, onlyWords: words })
  t.strictSame(await again.ended, { code: 1, signal: null })
  t.match(again.lines, [/has a store already, and it was left as it is/])
  const thawd = await new Thawd(t, { directory }).ready()
  t.match(await thawd.control('disk.list'), { disks: [{ name: 'disk0', sizeBytes: 1024 ** 2 }] })
})

/** Client flags and GO, as bytes: for a client that shall not read. */
function handshake(name: string): Buffer[] {
  const option = Buffer.alloc(4 + 16 + 4 + name.length + 2)
  option.writeUInt32BE(3, 0)
  option.write('IHAVEOPT', 4, 'latin1')
  option.writeUInt32BE(7, 12)
  option.writeUInt32BE(4 + name.length + 2, 16)
  option.writeUInt32BE(name.length, 20)
  option.write(name, 24, 'latin1')
  return [option]
}

function readRequest(offset: number, length: number): Buffer {
  const request = Buffer.alloc(28)
  request.writeUInt32BE(0x25609513, 0)
  request.writeBigUInt64BE(BigInt(offset), 16)
  request.writeUInt32BE(length, 24)
  return request
}
