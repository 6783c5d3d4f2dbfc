import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { exclusively, realSystem } from '../../../tools/thaw/system.ts'

const system = realSystem()

t.test('files', async (t) => {
  const directory = t.testdir({ a: 'text', b: { c: '' } })
  t.equal(system.read(join(directory, 'a')), 'text')
  t.equal(system.read(join(directory, 'none')), null)
  t.same(system.list(directory).sort(), ['a', 'b'])
  t.same(system.list(join(directory, 'none')), [])
  t.equal(system.isExecutable(join(directory, 'a')), false)
  t.equal(system.isExecutable(process.execPath), true)
  system.remove(join(directory, 'a'))
  system.remove(join(directory, 'a'))
  t.notOk(existsSync(join(directory, 'a')))
  system.makeDirectory(join(directory, 'd', 'e'))
  system.makeDirectory(join(directory, 'd', 'e'))
  t.equal(statSync(join(directory, 'd', 'e')).mode & 0o777, 0o700)
})

t.test('a program is run without a shell', async (t) => {
  const script = 'console.log(process.argv[1]); console.error("bad"); process.exitCode = 3'
  t.same(await system.run(process.execPath, ['-e', script, '$HOME; *']), {
    status: 3,
    stdout: '$HOME; *\n',
    stderr: 'bad\n',
  })
  t.match(await system.run('/bin/sh', ['-c', 'kill -9 $$']), { status: null })
  await t.rejects(system.run('/no/such/program', []), { code: 'ENOENT' })
})

t.test('a program is launched into the background and outlives its first line', async (t) => {
  const directory = t.testdir()
  const log = join(directory, 'log')
  const script = join(directory, 'script.mjs')
  writeFileSync(
    script,
    `console.error('begins', process.argv[2])
    console.log('ready')
    process.on('SIGTERM', () => { console.error('ends'); process.exit() })
    setInterval(() => {}, 1000)`,
  )
  const { pid, line, messages } = await system.launch([script, 'with this'], log)
  t.equal(line, 'ready')
  t.equal(messages, 'begins with this\n')
  t.not(system.read(`/proc/${pid}/cmdline`), null, 'it is still there')
  system.terminate(pid)
  while (!readFileSync(log, 'utf8').includes('ends')) await system.sleep(5)
  t.equal(statSync(log).mode & 0o777, 0o600)
})

t.test('one that ends instead is told with its messages', async (t) => {
  const directory = t.testdir({ 'script.mjs': 'console.error("no such export"); process.exitCode = 1' })
  t.match(await system.launch([join(directory, 'script.mjs')], join(directory, 'log')), {
    line: null,
    messages: 'no such export\n',
  })
})

t.test('a process that is gone is as good as one that was ended', async () => {
  system.terminate(2 ** 22 + 1)
})

t.test('exclusively: one after another', async (t) => {
  const name = `thaw-test-${process.pid}`
  const order: string[] = []
  let release = (): void => {}
  const gate = new Promise<void>((resolve) => (release = resolve))
  let begun = (): void => {}
  const first = new Promise<void>((resolve) => (begun = resolve))
  const work = system.exclusively(name, async () => {
    order.push('first begins')
    begun()
    await gate
    order.push('first ends')
  })
  await first
  const second = system.exclusively(name, async () => order.push('second'))
  // A third under another name is not held up.
  await system.exclusively(`${name}-other`, async () => order.push('other'))
  release()
  await Promise.all([work, second])
  t.same(order, ['first begins', 'other', 'first ends', 'second'])
  await t.rejects(
    system.exclusively(name, () => Promise.reject(new Error('no'))),
    { message: 'no' },
  )
  t.equal(await system.exclusively(name, async () => 'free again'), 'free again')
})

t.test('exclusively: not for ever, since anybody may hold that name', async (t) => {
  const name = `thaw-test-held-${process.pid}`
  const other = createServer().listen(`\0${name}`)
  await new Promise((resolve) => other.once('listening', resolve))
  await t.rejects(
    exclusively(name, async () => 'never', 250),
    { code: 'ATTACH_BUSY' },
  )
  other.close()
})
