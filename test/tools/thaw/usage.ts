/** What is wrong on the command line, and how the program ends. */
import t from 'tap'
import { StoreError } from '../../../storage/errors.ts'
import { commands } from '../../../tools/thaw/commands.ts'
import { Session } from '../../../tools/thaw/session.ts'
import { ControlDaemon } from '../../fixtures/control-daemon.ts'
import { thaw } from '../../fixtures/thaw-command.ts'

const all = [
  'status',
  ...['create', 'list', 'show', 'rename', 'resize', 'delete', 'default'].map((word) => `disk ${word}`),
  ...['create', 'list', 'show', 'rename', 'delete', 'diff'].map((word) => `snapshot ${word}`),
  'restore',
  ...['list', 'show', 'set', 'pause', 'resume', 'wait'].map((word) => `hydration ${word}`),
  'attach',
  'attach list',
  'detach',
]

t.test('every command has help with an example', async (t) => {
  for (const command of all) {
    const { exit, stdout } = await thaw(`${command} --help`)
    t.equal(exit, 0, command)
    t.match(stdout, new RegExp(`Examples:\n  thaw ${command}`), command)
  }
  t.match(await thaw('snapshot create --help'), { stdout: /not a backup\.\n/ })
  const { stdout } = await thaw('--help')
  const session = new Session({} as never)
  for (const each of commands) t.match(stdout, `  thaw ${String(each(session).command).split(' ')[0]}`)
  t.match(await thaw('--version'), { exit: 0, stdout: /^[0-9]+\.[0-9]+\.[0-9]+\n$/ })
})

t.test('wrong command lines end with 2 and one line that leads to help', async (t) => {
  for (const [line, message] of [
    ['', /say what to do; see thaw --help/],
    ['frobnicate', /unknown: frobnicate; see thaw --help/],
    ['disk', /say what to do: create, list, .*, default; see thaw disk --help/],
    ['disk frobnicate', /say what to do: create, list, .*, default; see thaw disk --help/],
    ['snapshot frobnicate', /say what to do: create, .*, diff;/],
    ['disk crate web0 1G', /did you mean create.*; see thaw disk --help/],
    ['disk create web0', /missing: 1 given, 2 needed/],
    ['disk create web0 1G extra', /unknown: extra/],
    ['disk create web0 1G --chunks 4K', /unknown: chunks/],
    ['disk create web0 1G --chunk-size', /chunk-size/],
    ['disk create web0 1G --chunk-size 4K --chunk-size 8K', /more than once/],
    ['disk list --control /a --control /b', /more than once/],
    ['disk create web0 10GB', /say 10G or 10GiB/],
    ['hydration wait x --timeout 0', /not a time/],
    ['attach web0 /dev/sda', /not an nbd device/],
    ['attach', /missing/],
    ['rollback web0@mon', /unknown/],
    ['snapshot create web0 --wait', /unknown: wait/],
  ] as const) {
    const { exit, stdout, stderr } = await thaw(line)
    t.equal(exit, 2, line)
    t.match(stderr, message, line)
    t.match(stderr, /^thaw: [^\n]+ \[[A-Z_]+\]\n$/, 'one line')
    t.equal(stdout, '')
  }
})

t.test('with --json the failure is the document', async (t) => {
  t.match((await thaw('disk create web0 10GB --json')).json, { error: { code: 'SIZE_INVALID', message: String } })
  t.match((await thaw('disk crate --json')).json, { error: { code: 'USAGE' } })
  await using daemon = await ControlDaemon.start()
  const outcome = await thaw('disk show none --json', { control: daemon.path })
  t.match(outcome, { exit: 1, stderr: /^thaw: .*\[DISK_NOT_FOUND\]\n$/ })
  t.match(outcome.json, { error: { code: 'DISK_NOT_FOUND', details: { disk: 'none' } } })
})

t.test('what the daemon refuses ends with 1, in one line whatever it holds', async (t) => {
  await using daemon = await ControlDaemon.start()
  daemon.store.failure = new StoreError('NAME_INVALID', "'\u001b[31m\nx' is not a name;\n use letters")
  t.match(await thaw('disk create x 4K', { control: daemon.path }), {
    exit: 1,
    stdout: '',
    stderr: /^thaw: ' \[31m x' is not a name; use letters \[NAME_INVALID\]\n$/,
  })
})

t.test('a daemon that goes away before it answers ends with 3', async (t) => {
  await using daemon = await ControlDaemon.start()
  await daemon.store.createDisk({ name: 'web0', sizeBytes: 4096 })
  daemon.store.createSnapshot = () => {
    // As a crash would: no answer, only the end of the connection.
    daemon.cut()
    return new Promise(() => {})
  }
  t.match(await thaw('snapshot create web0', { control: daemon.path }), {
    exit: 3,
    stderr: /whether it was done is not known \[CONNECTION_LOST\]/,
  })
})
