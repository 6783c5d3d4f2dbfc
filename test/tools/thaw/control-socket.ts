import { spawnSync } from 'node:child_process'
import { chownSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { connectToDaemon, controlPaths, reasonOf } from '../../../tools/thaw/control-socket.ts'
import { ControlDaemon } from '../../fixtures/control-daemon.ts'
import { thaw } from '../../fixtures/thaw-command.ts'

t.test('where it looks', async (t) => {
  t.same(controlPaths(undefined, {}), ['/run/thaw/control.sock'])
  t.same(controlPaths(undefined, { XDG_RUNTIME_DIR: '/run/user/7', SUDO_UID: '8' }), [
    '/run/user/7/thaw/control.sock',
    '/run/user/8/thaw/control.sock',
    '/run/thaw/control.sock',
  ])
  t.same(controlPaths(undefined, { XDG_RUNTIME_DIR: '/run/user/7', SUDO_UID: '7' }).length, 2, 'none twice')
  t.same(controlPaths(undefined, { XDG_RUNTIME_DIR: '', SUDO_UID: '../..', THAW_CONTROL: '' }), [
    '/run/thaw/control.sock',
  ])
  t.same(controlPaths(undefined, { THAW_CONTROL: '/a', XDG_RUNTIME_DIR: '/b' }), ['/a'])
  t.same(controlPaths('/given', { THAW_CONTROL: '/a' }), ['/given'])
  t.same(controlPaths(`/${'x'.repeat(106)}`, {}).length, 1)
  for (const path of [`/${'x'.repeat(107)}`, `/${'ü'.repeat(54)}`]) {
    t.throws(() => controlPaths(path, {}), { code: 'USAGE', exitCode: 2, message: /10[89] bytes/ })
  }
})

t.test('the first that answers', async (t) => {
  await using daemon = await ControlDaemon.start()
  await using client = await connectToDaemon(['/nowhere/control.sock', daemon.path])
  t.match(await client.call('disk.list', {}), { disks: [] })
})

t.test('each path that does not, and why', async (t) => {
  await using daemon = await ControlDaemon.start()
  const { directory } = daemon
  const file = join(directory, 'file')
  writeFileSync(file, '')
  const dead = join(directory, 'dead.sock')
  leaveDeadSocket(dead)
  const paths = [join(directory, 'none.sock'), join(file, 'x.sock'), dead, file, join(directory, 'x'.repeat(108))]
  const reasons = [
    'no such file',
    'a part of the path is not a directory',
    'a dead socket: its daemon is gone',
    'not a socket',
    "its path is longer than the 107 bytes a socket's may have",
  ]
  await t.rejects(connectToDaemon(paths), {
    exitCode: 3,
    code: 'DAEMON_NOT_REACHABLE',
    message: new RegExp(`none\\.sock: no such file; .*dead\\.sock: a dead socket.*--control PATH$`),
    details: { tried: paths.map((path, index) => ({ path, reason: reasons[index] })) },
  })
  t.match(await thaw('status', { env: { XDG_RUNTIME_DIR: directory } }), {
    exit: 3,
    stdout: '',
    stderr: /^thaw: no daemon answers \(.*thaw\/control\.sock: no such file; \/run\/thaw\/control\.sock: .*\)/,
  })
})

t.test('permission denied names who may', async (t) => {
  await using daemon = await ControlDaemon.start()
  const denied = Object.assign(new Error('connect EACCES'), { code: 'EACCES' })
  if (process.getuid?.() === 0) {
    t.equal(reasonOf(daemon.path, denied), 'permission denied, it is for root: use sudo')
    chownSync(daemon.path, 0, 1)
    t.match(
      reasonOf(daemon.path, denied),
      /^permission denied, it is for group daemon: use sudo, or join with: sudo usermod -aG daemon \$USER$/,
    )
    chownSync(daemon.path, 0, 54321)
    t.match(reasonOf(daemon.path, denied), /group 54321/)
  }
  t.equal(
    reasonOf('/proc/1/nothing/control.sock', denied),
    'permission denied, its directory is closed to you: use sudo',
  )
})

t.test('$THAW_CONTROL and --control', async (t) => {
  await using daemon = await ControlDaemon.start()
  t.match(await thaw('disk list', { env: { THAW_CONTROL: daemon.path } }), { exit: 0 })
  t.match(await thaw(`disk list --control ${daemon.path}`, { env: { THAW_CONTROL: '/nowhere' } }), { exit: 0 })
  t.match(await thaw(`--control=${daemon.path} disk list`), { exit: 0 })
  t.match(await thaw('disk list --control /nowhere', { control: daemon.path }), { exit: 3 })
  t.match(await thaw(['disk', 'list', '--control', '']), { exit: 2 })
})

/** As after `kill -9`: the file is there, nobody listens. */
function leaveDeadSocket(path: string): void {
  const program = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
  const { signal } = spawnSync(process.execPath, ['-e', program])
  if (signal !== 'SIGKILL') throw new Error(`ended by ${signal}`)
}
