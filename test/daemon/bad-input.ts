/** What cannot be gets one line that says what, why and what to do, the right exit code, and leaves everything as it was. */

import t, { type Test } from 'tap'
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { temporaryDirectory, Thawd, thawdProgram, type ThawdOptions } from '../fixtures/thawd.ts'

const usage = 2
const failed = 1

/** Root may write anywhere and always has a place for its sockets; `nobody` does not. */
const isRoot = process.geteuid?.() === 0
const unprivileged = isRoot ? { uid: 65534, gid: 65534 } : {}
const mayRun = !isRoot || spawnSync(process.execPath, [thawdProgram, '--version'], unprivileged).status === 0
const needsUnprivileged = { skip: mayRun ? false : 'the checkout is for root alone' }

/** Starts it, and wants it to end with that code and that line as its last word. */
async function refused(t: Test, options: ThawdOptions, code: number, line: RegExp): Promise<void> {
  const thawd = new Thawd(t, options)
  t.strictSame(await thawd.ended, { code, signal: null }, `exit code ${code}: ${line}`)
  t.match(thawd.lines.at(-1), line)
  t.equal(thawd.output, '')
  t.strictSame(
    thawd.lines.filter((each) => / (error|critical) |^thawd:/.test(each)),
    thawd.lines.slice(-1),
    'one line says it',
  )
}

/** A store with a disk that holds something, stopped. Gives a function that starts it again and looks. */
async function storeIn(t: Test, directory: string): Promise<() => Promise<void>> {
  const thawd = await new Thawd(t, { directory, words: ['--init', '--demo-disk', 'disk0=1MiB'] }).ready()
  const writer = await thawd.nbd()
  await writer.go('disk0')
  await writer.write(4096, Buffer.from('something'), { fua: true })
  await writer.disconnect()
  await thawd.stop()
  return async () => {
    const again = await new Thawd(t, { directory }).ready()
    const reader = await again.nbd()
    await reader.go('disk0')
    t.equal((await reader.read(4096, 9)).toString(), 'something', 'the store is intact')
    await reader.disconnect()
    await again.stop()
  }
}

t.test('usage', async (t) => {
  const directory = temporaryDirectory(t)
  const long = join(directory, 'x'.repeat(107 - directory.length))
  const cases: [words: string[], line: RegExp][] = [
    [['--bogus'], /^thawd: Unknown argument: bogus; thawd --help lists the options$/],
    [['check'], /^thawd: Unknown argument: check/],
    [['--cache', '10GB'], /^thawd: --cache: '10GB' is not a size: say 10G or 10GiB$/],
    [['--listen', '0.0.0.0:10809'], /^thawd: --listen 0.0.0.0:10809 is refused: .*without TLS.*add --insecure/],
    [['--listen', '[::]:10809'], /^thawd: --listen \[::\]:10809 is refused/],
    [['--control', long], /^thawd: --control .* has 108 bytes, .* at most 107; choose a shorter one$/],
    [['--listen-unix', long], /^thawd: --listen-unix .* has 108 bytes/],
    [
      ['--config', join(directory, 'absent.json')],
      /^thawd: the configuration file .*absent.json cannot be read \(ENOENT\)/,
    ],
  ]
  for (const [words, line] of cases) {
    const onlyWords = ['--data', join(directory, 'data'), ...words]
    await refused(t, { directory, onlyWords, environment: { XDG_RUNTIME_DIR: directory } }, usage, line)
  }
  t.strictSame(readdirSync(directory), [], 'nothing was made')
})

t.test('a configuration file that cannot be', async (t) => {
  const directory = temporaryDirectory(t)
  const config = join(directory, 'thawd.json')
  const cases: [content: string, line: RegExp][] = [
    ['{"cache": "1GiB",}', /^thawd: the configuration file .*thawd.json is not JSON: /],
    ['{\n  "cache": 1\n  "x": 2\n}\n', /^thawd: the configuration file .*thawd.json is not JSON: /],
    ['{"cahce": "1GiB"}', /^thawd: the configuration file .*thawd.json has the unknown key 'cahce'/],
    ['{"init": true}', /^thawd: init in .*thawd.json is refused: --init is for the command line only/],
    ['{"hydrationRateDefault": "0"}', /^thawd: hydrationRateDefault in .*thawd.json: .*say unlimited/],
  ]
  for (const [content, line] of cases) {
    writeFileSync(config, content)
    await refused(t, { directory, words: ['--config', config] }, usage, line)
  }
  await refused(t, { directory, environment: { CONFIGURATION_DIRECTORY: directory } }, usage, /hydrationRateDefault/)
})

t.test('no place for the control socket', needsUnprivileged, async (t) => {
  const directory = temporaryDirectory(t)
  const line = /^thawd: there is no place for the control socket.*\$XDG_RUNTIME_DIR is not set; say --control PATH$/
  await refused(t, { directory, onlyWords: ['--init'], identity: unprivileged }, usage, line)
})

t.test('a data directory without a store, and no --init', async (t) => {
  const directory = temporaryDirectory(t)
  await refused(t, { directory }, failed, / error .*is it mounted\?.*thawd --init.* {2}code=STORE_NOT_FOUND$/)
  t.notOk(existsSync(join(directory, 'data')), 'absent: it was not made')
  mkdirSync(join(directory, 'data'))
  await refused(t, { directory }, failed, /code=STORE_NOT_FOUND$/)
  t.strictSame(readdirSync(join(directory, 'data')), [], 'empty: nothing was made in it')
})

t.test('a directory that is somebody else’s', async (t) => {
  const directory = temporaryDirectory(t)
  mkdirSync(join(directory, 'data'))
  writeFileSync(join(directory, 'data', 'thesis.txt'), 'x')
  const codes = /code=(STORE_FOREIGN|STORE_NOT_EMPTY|STORE_NOT_FOUND)$/
  await refused(t, { directory }, failed, codes)
  await refused(t, { directory, words: ['--init', '--demo-disk', 'disk0=1MiB'] }, failed, codes)
  t.strictSame(readdirSync(join(directory, 'data')), ['thesis.txt'])
})

t.test('a file where the data directory should be', async (t) => {
  const directory = temporaryDirectory(t)
  writeFileSync(join(directory, 'data'), 'x')
  await refused(t, { directory }, failed, / error .*data/)
  await refused(t, { directory, words: ['--init'] }, failed, / error .*data/)
  t.equal(readFileSync(join(directory, 'data'), 'utf8'), 'x')
})

t.test('a second daemon on the same directory', async (t) => {
  const directory = temporaryDirectory(t)
  const thawd = await new Thawd(t, { directory, words: ['--init', '--demo-disk', 'disk0=1MiB'] }).ready()
  const other = { directory, words: ['--control', join(directory, 'other.sock')] }
  const words = ['--data', thawd.dataDirectory, '--listen', '127.0.0.1:0', ...other.words]
  await refused(t, { directory, onlyWords: words }, failed, /code=STORE_LOCKED$/)
  await refused(t, { directory }, failed, /control.sock is in use by a process that answers there/)
  const client = await thawd.nbd()
  t.match(await client.go('disk0'), { size: 1024 ** 2 }, 'the first goes on')
  t.match(await thawd.control('status'), { pid: thawd.pid })
})

t.test('a port in use', async (t) => {
  const directory = temporaryDirectory(t)
  const check = await storeIn(t, directory)
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const words = ['--data', join(directory, 'data'), '--control', join(directory, 'c'), '--listen', `127.0.0.1:${port}`]
  await refused(
    t,
    { directory, onlyWords: words },
    failed,
    new RegExp(` 127.0.0.1:${port} is in use .*code=EADDRINUSE$`),
  )
  await check()
})

t.test('a socket of a living process, or a file, at the path of ours', async (t) => {
  const directory = temporaryDirectory(t)
  const check = await storeIn(t, directory)
  const path = join(directory, 'taken')
  const server = createServer((socket) => socket.on('error', () => {})).listen(path)
  await once(server, 'listening')
  t.teardown(() => server.close())
  await refused(
    t,
    { directory, words: ['--listen-unix', path] },
    failed,
    /taken is in use by a process that answers there/,
  )
  t.ok(existsSync(path))
  writeFileSync(join(directory, 'file'), 'x')
  await refused(
    t,
    { directory, words: ['--listen-unix', join(directory, 'file')] },
    failed,
    /file is there and is not a socket/,
  )
  t.equal(readFileSync(join(directory, 'file'), 'utf8'), 'x')
  await check()
})

t.test('a path for the control socket that leads nowhere', async (t) => {
  const directory = temporaryDirectory(t)
  const check = await storeIn(t, directory)
  writeFileSync(join(directory, 'file'), 'x')
  const words = ['--data', join(directory, 'data'), '--listen', 'none', '--control', join(directory, 'file', 'c')]
  await refused(t, { directory, onlyWords: words }, failed, /nobody can tell what is at .*\/file\/c \(ENOTDIR\); check/)
  await check()
})

t.test('a demo disk that cannot be', async (t) => {
  const directory = temporaryDirectory(t)
  const words = ['--init', '--demo-disk']
  await refused(
    t,
    { directory, words: [...words, '../x=1MiB'] },
    usage,
    /^thawd: --demo-disk: '..\/x' is no name for a disk/,
  )
  await refused(t, { directory, words: [...words, 'x=1000'] }, usage, /^thawd: --demo-disk: a disk has 4 KiB to 4 PiB/)
  t.strictSame(readdirSync(directory), [], 'no store was made')
})

t.test('a store of a newer format, or a marker that is damaged', async (t) => {
  const directory = temporaryDirectory(t)
  const check = await storeIn(t, directory)
  const marker = join(directory, 'data', 'thaw.json')
  const text = readFileSync(marker, 'utf8')
  writeFileSync(marker, JSON.stringify({ ...(JSON.parse(text) as object), format: 1000 }))
  await refused(t, { directory, words: ['--init'] }, failed, / error .*format 1000.* {2}code=STORE_NEWER$/)
  writeFileSync(marker, text.slice(0, 20))
  await refused(t, { directory, words: ['--init'] }, failed, /code=STORE_FOREIGN$/)
  writeFileSync(marker, text)
  await check()
})

t.test('another place for the chunk bytes than the store was made with', async (t) => {
  const directory = temporaryDirectory(t)
  const check = await storeIn(t, directory)
  await refused(t, { directory, words: ['--chunk-bytes', 'leveldb'] }, failed, /chosen when it was made/)
  await check()
})

t.test('a directory that may not be written', needsUnprivileged, async (t) => {
  const directory = temporaryDirectory(t)
  const check = await storeIn(t, directory)
  chmodSync(directory, 0o777)
  chmodSync(join(directory, 'data'), isRoot ? 0o755 : 0o500)
  for (const name of readdirSync(join(directory, 'data'), { recursive: true, encoding: 'utf8' })) {
    if (isRoot) chmodSync(join(directory, 'data', name), 0o755)
  }
  await refused(t, { directory, identity: unprivileged }, failed, /cannot be written.*code=STORE_READ_ONLY$/)
  const made = { directory, identity: unprivileged, words: ['--data', join(directory, 'data', 'new'), '--init'] }
  await refused(
    t,
    { ...made, onlyWords: [...made.words, '--control', join(directory, 'c')] },
    failed,
    /code=STORE_READ_ONLY$/,
  )
  chmodSync(join(directory, 'data'), 0o700)
  await check()
})
