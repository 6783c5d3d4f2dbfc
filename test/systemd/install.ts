import t from 'tap'
import { spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { runInstaller } from '../fixtures/staged.ts'
import { temporaryDirectory } from '../fixtures/thawd.ts'
import { findCommand, needs } from '../fixtures/tools.ts'

const unitNames = [
  'thaw-attach@.service',
  'thawd-control.socket',
  'thawd-init.service',
  'thawd-tcp.socket',
  'thawd.service',
  'thawd.socket',
]

t.test('everything lands under DESTDIR, and runs from there', async (t) => {
  const destdir = temporaryDirectory(t)
  const run = runInstaller(destdir)
  t.equal(run.status, 0, run.stderr)
  t.match(
    run.stdout,
    /systemctl start thawd-init.service\n.*systemctl enable --now thawd.socket thawd-control.socket thawd.service/,
  )
  const root = join(destdir, 'usr', 'local')
  t.strictSame(readdirSync(join(root, 'lib', 'systemd', 'system')).sort(), unitNames)
  t.strictSame(readdirSync(join(root, 'lib', 'thaw', 'dist')).sort(), ['daemon', 'protocol', 'storage', 'tools'])
  t.match(readFileSync(join(root, 'lib', 'sysusers.d', 'thaw.conf'), 'utf8'), /^u thaw /m)
  t.ok(existsSync(join(root, 'share', 'doc', 'thaw', 'systemd.md')))
  const packages = readdirSync(join(root, 'lib', 'thaw', 'node_modules'))
  for (const name of ['level', 'classic-level', 'lz4-napi', 'yargs']) t.ok(packages.includes(name), name)
  for (const name of ['tap', 'typescript', 'prettier', 'oxlint']) t.notOk(packages.includes(name), `no ${name}`)
  for (const program of ['thaw', 'thawd']) {
    const version = spawnSync(join(root, 'bin', program), ['--version'], { encoding: 'utf8' })
    t.match(version.stdout, /^[0-9]+\.[0-9]+\.[0-9]+\n$/, `${program} --version${version.stderr}`)
  }
  // Native code too: a store can be made with what was copied.
  const data = join(destdir, 'data')
  const made = spawnSync(join(root, 'bin', 'thawd'), ['init', '--data', data], { encoding: 'utf8' })
  t.equal(made.status, 0, made.stderr)
})

t.test('the units say where things are', async (t) => {
  const destdir = temporaryDirectory(t)
  const run = runInstaller(destdir, '--prefix', '/opt/thaw-1.0', '--node=/usr/bin/node')
  t.equal(run.status, 0, run.stderr)
  const units = join(destdir, 'etc', 'systemd', 'system')
  t.strictSame(readdirSync(units).sort(), unitNames, 'a prefix that systemd does not know: in /etc')
  t.match(
    readFileSync(join(units, 'thawd.service'), 'utf8'),
    /^ExecStart=\/usr\/bin\/node \/opt\/thaw-1\.0\/lib\/thaw\/tools\/bin\/thawd\.cjs$/m,
  )
  for (const name of unitNames) t.notMatch(readFileSync(join(units, name), 'utf8'), /@[A-Z]+@/, name)
})

t.test('systemd finds nothing to say about the units', needs('systemd-analyze'), async (t) => {
  const destdir = temporaryDirectory(t)
  t.equal(runInstaller(destdir, '--node', '/usr/bin/node').status, 0)
  // The targets that every unit depends on, and a program for ExecStart.
  const system = join(destdir, 'usr', 'lib', 'systemd', 'system')
  mkdirSync(system, { recursive: true })
  const own = dirname(findTarget('sysinit.target'))
  for (const name of readdirSync(own)) {
    if (name.endsWith('.target')) copyFileSync(join(own, name), join(system, basename(name)))
  }
  mkdirSync(join(destdir, 'usr', 'bin'))
  writeFileSync(join(destdir, 'usr', 'bin', 'node'), '#!/bin/sh\n')
  chmodSync(join(destdir, 'usr', 'bin', 'node'), 0o755)
  const names = unitNames.map((name) => name.replace('@', '@nbd0'))
  const verify = spawnSync(findCommand('systemd-analyze') ?? '', ['verify', `--root=${destdir}`, ...names], {
    encoding: 'utf8',
  })
  t.equal(verify.stderr, '')
  t.equal(verify.status, 0)
})

t.test('installed again it replaces itself, uninstalled it leaves the data', async (t) => {
  const destdir = temporaryDirectory(t)
  const root = join(destdir, 'usr', 'local')
  const stale = join(root, 'lib', 'thaw', 'dist', 'daemon', 'removed-in-this-version.js')
  t.equal(runInstaller(destdir).status, 0)
  writeFileSync(stale, '')
  t.equal(runInstaller(destdir).status, 0)
  t.notOk(existsSync(stale))
  t.strictSame(readdirSync(join(root, 'lib')).sort(), ['systemd', 'sysusers.d', 'thaw'])

  const kept = [
    join(destdir, 'var', 'lib', 'thaw', 'x'),
    join(destdir, 'etc', 'thaw', 'thawd.json'),
    join(root, 'bin', 'other'),
  ]
  for (const path of kept) {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, '')
  }
  const run = runInstaller(destdir, '--uninstall')
  t.equal(run.status, 0, run.stderr)
  t.match(run.stdout, /Kept.*\/var\/lib\/thaw/)
  for (const path of kept) t.ok(existsSync(path), path)
  t.strictSame(readdirSync(join(root, 'bin')), ['other'])
  t.strictSame(readdirSync(join(root, 'lib', 'systemd', 'system')), [])
  t.notOk(existsSync(join(root, 'lib', 'thaw')))
  t.equal(runInstaller(destdir, '--uninstall').status, 0, 'twice is no error')
})

t.test('what cannot be is refused before anything is written', async (t) => {
  const destdir = temporaryDirectory(t)
  const cases: [words: string[], line: RegExp][] = [
    [['--prefix', '/'], /--prefix \/ is refused/],
    [['--prefix', 'usr'], /must begin with a slash/],
    [['--prefix', '/opt/my thaw'], /may have only letters/],
    [['--prefix', '/opt/%h'], /may have only letters/],
    [['--prefix', '/opt/$(touch x)'], /may have only letters/],
    [['--prefix', '/opt/../etc'], /may have only letters/],
    [['--prefix'], /--prefix needs a value/],
    [['--node', '/opt/a|b'], /may have only letters/],
    [['--node', '/home/ann/.nvm/node'], /may not look into home directories/],
    [['--purge'], /'--purge' is not understood/],
  ]
  for (const [words, line] of cases) {
    const run = runInstaller(destdir, ...words)
    t.not(run.status, 0)
    t.match(run.stderr, line)
    t.equal(run.stderr.split('\n').length, 2, 'one line')
  }
  t.strictSame(readdirSync(destdir), [])
})

function findTarget(name: string): string {
  const found = ['/usr/lib/systemd/system', '/lib/systemd/system'].map((folder) => join(folder, name)).find(existsSync)
  if (found === undefined) throw new Error(`${name} is not there`)
  return found
}
