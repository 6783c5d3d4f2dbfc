/** What happens to disks, snapshots and clients is in the log, one line each, and nothing of what is in them. */

import t from 'tap'
import { temporaryDirectory, Thawd } from '../fixtures/thawd.ts'

t.test('a snapshot, its restore and the hydration', async (t) => {
  const directory = temporaryDirectory(t)
  const thawd = await new Thawd(t, { directory, words: ['--init', '--demo-disk', 'disk0=16MiB'] }).ready()
  const client = await thawd.nbd()
  await client.go('disk0')
  const secret = 'a secret of somebody'
  await client.write(0, Buffer.from(secret.repeat(1000)), { fua: true })
  await thawd.control('snapshot.create', { disk: 'disk0', snapshot: 'first' })
  await thawd.line(/ notice .*disk0@first/)
  await thawd.control('restore', { disk: 'disk0', snapshot: 'first', name: 'copy' })
  await thawd.line(/ notice .*disk0@first.*copy|copy.*disk0@first/)
  await thawd.line(/ info hydration started {2}disk=copy origin=disk0@first$/)
  await thawd.line(/ notice hydration finished: the disk stands alone {2}disk=copy origin=disk0@first$/)
  await t.rejects(thawd.control('disk.show', { name: 'nope' }), { code: 'DISK_NOT_FOUND' })
  await thawd.line(/DISK_NOT_FOUND/)
  await client.disconnect()
  await thawd.line(
    /notice client detached {2}client=127\.0\.0\.1:[0-9]+ export=disk0 id=1 seconds=[0-9]+ requests=1 errors=0 bytesRead=0 bytesWritten=20000$/,
  )
  const stranger = await thawd.nbd()
  await t.rejects(stranger.go('nope'), { code: 'ERR_UNKNOWN' })
  await thawd.line(/warning client refused {2}client=127\.0\.0\.1:[0-9]+ export=nope reason=/)
  stranger.destroy()
  await thawd.stop()
  t.notMatch(thawd.lines.join('\n'), /secret/)
})

t.test('a start after kill -9 says what was recovered', async (t) => {
  const directory = temporaryDirectory(t)
  const killed = await new Thawd(t, { directory, words: ['--init', '--demo-disk', 'disk0=16MiB'] }).ready()
  const client = await killed.nbd()
  await client.go('disk0')
  await client.write(0, Buffer.alloc(65536, 1), { fua: true })
  killed.signal('SIGKILL')
  await killed.ended
  const thawd = await new Thawd(t, { directory }).ready()
  await thawd.line(/ info recovered from the log {2}records=[1-9][0-9]* bytes=[0-9]+ millis=[0-9]+$/)
})

t.test('--log-level leaves the rest out', async (t) => {
  const directory = temporaryDirectory(t)
  const thawd = new Thawd(t, { directory, words: ['--init', '--log-level', 'error'] })
  await thawd.greeting(/disk create disk0 10GiB/)
  t.strictSame(await thawd.stop(), { code: 0, signal: null })
  t.strictSame(thawd.lines, [])
})
