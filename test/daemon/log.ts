import t from 'tap'
import { spawnSync } from 'node:child_process'
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createLog, errorText, type LogLevel } from '../../daemon/log.ts'
import { StoreError } from '../../storage/errors.ts'

function lines(level: LogLevel, journal = false) {
  const written: string[] = []
  const now = () => new Date('2026-11-20T10:52:26.123Z')
  return { written, log: createLog({ level, journal, write: (line) => written.push(line), now }) }
}

t.test('a line is a sentence with a tail', async (t) => {
  const { written, log } = lines('info')
  log.notice('client attached', { client: '127.0.0.1:40312', export: 'disk0', id: 3, nothing: undefined })
  t.strictSame(written, ['2026-11-20T10:52:26.123Z notice client attached  client=127.0.0.1:40312 export=disk0 id=3\n'])
})

t.test('the journal gets a priority and no time', async (t) => {
  const { written, log } = lines('debug', true)
  log.critical('a')
  log.error('b')
  log.warning('c')
  log.notice('d')
  log.info('e')
  log.debug('f')
  t.strictSame(written, ['<2>a\n', '<3>b\n', '<4>c\n', '<5>d\n', '<6>e\n', '<7>f\n'])
})

t.test('lower levels are left out', async (t) => {
  const { written, log } = lines('warning')
  log.notice('x')
  log.warning('y')
  t.equal(written.length, 1)
})

t.test('nothing breaks a line in two', async (t) => {
  const { written, log } = lines('info')
  const error = new Error('fault\nof two lines')
  log.info('a\nb\u001b[2J', { name: 'x\ny', text: 'say "hi"', equals: 'a=b', empty: '', stack: error })
  t.equal(written[0]?.split('\n').length, 2)
  t.match(written[0], '  name="x\\ny" text="say \\"hi\\"" equals="a=b" empty="" stack="fault of two lines"')
})

t.test('an error shows its code and causes', async (t) => {
  const cause = Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
  const error = new StoreError('NO_SPACE', 'the disk is full', { cause })
  t.equal(errorText(error), 'the disk is full: ENOSPC: no space left on device')
  const { written, log } = lines('info')
  log.error('failed', { error })
  t.match(written[0], 'failed  code=NO_SPACE error="the disk is full: ENOSPC: no space left on device"')
})

t.test('the journal is known by the device and inode of standard error', async (t) => {
  const path = join(t.testdir({ log: '' }), 'log')
  const file = openSync(path, 'w')
  const { dev, ino } = fstatSync(file)
  const script = `import { standardErrorIsJournal } from ${JSON.stringify(new URL('../../daemon/log.js', import.meta.url).href)}
    console.error(standardErrorIsJournal(process.env))`
  for (const stream of [`${dev}:${ino}`, `${dev}:${ino + 1}`]) {
    spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'ignore', file],
      env: { ...process.env, JOURNAL_STREAM: stream },
    })
  }
  closeSync(file)
  t.equal(readFileSync(path, 'utf8'), 'true\nfalse\n')
})
