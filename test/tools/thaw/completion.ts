import t from 'tap'
import { ControlDaemon } from '../../fixtures/control-daemon.ts'
import { thaw } from '../../fixtures/thaw-command.ts'

async function complete(words: readonly string[], control?: string): Promise<string[]> {
  const options = control === undefined ? {} : { control }
  const { exit, stdout } = await thaw(['--get-yargs-completions', 'thaw', ...words], options)
  t.equal(exit, 0)
  return stdout.trim().split('\n')
}

t.test('commands, options, and the names that fit', async (t) => {
  await using daemon = await ControlDaemon.start()
  await daemon.store.createDisk({ name: 'web0', sizeBytes: 4096 })
  await daemon.store.createSnapshot('web0', 'mon')
  t.ok((await complete(['di'], daemon.path)).includes('disk'))
  t.ok((await complete(['disk', ''], daemon.path)).includes('resize'))
  const shown = await complete(['disk', 'show', ''], daemon.path)
  t.ok(shown.includes('web0'))
  t.notOk(shown.includes('web0@mon'))
  t.ok((await complete(['snapshot', 'show', ''], daemon.path)).includes('web0@mon'))
  const attached = await complete(['attach', ''], daemon.path)
  t.ok(attached.includes('web0') && attached.includes('web0@mon'))
  t.notOk((await complete(['disk', 'create', ''], daemon.path)).includes('web0'), 'a new name is nobody else\u2019s')
  t.ok((await complete(['restore', '--'], daemon.path)).includes('--linked'))
})

t.test('without a daemon nothing is said about it', async (t) => {
  t.ok((await complete(['disk', 'show', ''], '/nowhere')).includes('--json'))
})

t.test('the script', async (t) => {
  t.match(await thaw('completion'), {
    exit: 0,
    stdout: /^###-begin-thaw-completions-###[^]*###-end-thaw-completions-###\n$/,
  })
})
