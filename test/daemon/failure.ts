/** What the process does when its files or its own code fail. */

import t, { type Test } from 'tap'
import { writeFileSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { temporaryDirectory, Thawd } from '../fixtures/thawd.ts'

const preload = new URL('../fixtures/failing-files.js', import.meta.url).href
const first = ['--init', '--demo-disk', 'disk0=16MiB']

/** A daemon that misbehaves as soon as `now` is called, until `unlinkSync(flag)`. */
async function misbehaving(t: Test, how: 'FAIL_SYNC' | 'SLOW_SYNC' | 'LOSE_ROWS' | 'THROW') {
  const directory = temporaryDirectory(t)
  const flag = join(directory, 'flag')
  const options = { directory, words: first, nodeOptions: ['--import', preload], environment: { [how]: flag } }
  const thawd = await new Thawd(t, options).ready()
  return { directory, thawd, flag, now: () => writeFileSync(flag, '') }
}

t.test('after a failed fsync writes are refused, the log says why, and the process ends to be restarted', async (t) => {
  const { directory, thawd, now } = await misbehaving(t, 'FAIL_SYNC')
  const client = await thawd.nbd()
  await client.go('disk0')
  await client.write(0, Buffer.from('kept'), { fua: true })
  now()
  await t.rejects(client.write(4096, Buffer.from('lost'), { fua: true }), { code: 'EIO' })
  const failed = performance.now()
  t.match(await thawd.line(/ critical /), { input: /a write to the data directory failed.*EIO: i\/o error, fdatasync/ })
  await t.rejects(client.write(8192, Buffer.from('late')), { code: 'EIO' })
  t.match(await thawd.control('status'), { warnings: [/a write to the data directory failed/] })
  t.strictSame(await thawd.ended, { code: 74, signal: null })
  const seconds = (performance.now() - failed) / 1000
  t.ok(seconds > 4 && seconds < 8, `after ${seconds.toFixed(1)} s`)
  t.match(
    thawd.lines.filter((line) => line.includes(' error ')),
    [/a request failed {2}export=disk0 request=WRITE offset=4096 length=4 code=STORE_FAILED/],
  )

  const again = await new Thawd(t, { directory }).ready()
  const reader = await again.nbd()
  await reader.go('disk0')
  t.equal((await reader.read(0, 4)).toString(), 'kept')
})

t.test('a stop that cannot flush ends with the same code', async (t) => {
  const { thawd, now } = await misbehaving(t, 'FAIL_SYNC')
  const client = await thawd.nbd()
  await client.go('disk0')
  await client.write(0, Buffer.from('not flushed'))
  now()
  t.strictSame(await thawd.stop(), { code: 74, signal: null })
})

t.test('so does one that succeeds after the store has failed', async (t) => {
  const { thawd, now, flag } = await misbehaving(t, 'LOSE_ROWS')
  const client = await thawd.nbd()
  await client.go('disk0')
  now()
  await client.write(0, Buffer.alloc(1024 ** 2, 'x'), { fua: true })
  await thawd.line(/ critical .*the index lost rows/)
  unlinkSync(flag)
  t.strictSame(await thawd.stop(), { code: 74, signal: null })
  t.match(thawd.lines.at(-1), /stopped after a failure/)
})

t.test('a stop says every second what is left, and takes the time it needs', async (t) => {
  const { directory, thawd, now, flag } = await misbehaving(t, 'SLOW_SYNC')
  const client = await thawd.nbd()
  await client.go('disk0')
  await client.write(0, Buffer.alloc(1024 ** 2, 'x'))
  now()
  const ended = thawd.stop()
  await thawd.line(/notice flushing before the end {2}dirtyBytes=[0-9]+$/)
  unlinkSync(flag)
  t.strictSame(await ended, { code: 0, signal: null })
  t.match(thawd.lines.at(-1), /notice stopped$/)

  const again = await new Thawd(t, { directory }).ready()
  const reader = await again.nbd()
  await reader.go('disk0')
  t.same(await reader.read(0, 1024 ** 2), Buffer.alloc(1024 ** 2, 'x'))
})

t.test('a request that takes over a second is in the log', async (t) => {
  const { thawd, now, flag } = await misbehaving(t, 'SLOW_SYNC')
  const client = await thawd.nbd()
  await client.go('disk0')
  now()
  await client.write(8192, Buffer.alloc(512), { fua: true })
  unlinkSync(flag)
  const [, millis] = await thawd.line(
    /warning requests took over 1 s {2}export=disk0 count=1 request=WRITE offset=8192 length=512 millis=([0-9]+)$/,
  )
  t.ok(Number(millis) >= 2000)
})

t.test('a fault of ours ends the process at once, with one line that has the stack', async (t) => {
  const { thawd, now } = await misbehaving(t, 'THROW')
  now()
  t.strictSame(await thawd.ended, { code: 1, signal: null })
  t.match(
    thawd.lines.at(-1),
    / critical a fault in thawd \(uncaughtException\): a fault of two lines {2}stack="RangeError: .*\\n +at /,
  )
})
