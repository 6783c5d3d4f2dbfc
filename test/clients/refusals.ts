/** What cannot be, asked of the real store through the real commands and over NBD: one line with a code each, and everything is as it was. */

import t from 'tap'
import { DaemonProcess } from '../fixtures/daemon-process.ts'
import { imageBytes } from '../fixtures/image-file.ts'
import { thaw } from '../fixtures/thaw-command.ts'

const MiB = 2 ** 20
const size = 8 * MiB
const refused = 1
const usage = 2

const lines: readonly [line: string, exit: number, said: RegExp][] = [
  ['disk create -x 1GiB', usage, /USAGE|NAME_INVALID/],
  ['disk create a/b 1GiB', refused, /NAME_INVALID/],
  [`disk create ${'x'.repeat(64)} 1GiB`, refused, /NAME_INVALID/],
  ['disk create a@b 1GiB', refused, /NAME_INVALID/],
  ['disk create new 0', refused, /SIZE_INVALID/],
  ['disk create new 1000', refused, /SIZE_INVALID/],
  ['disk create new 1GB', usage, /1G or 1GiB/],
  ['disk create new 5PiB', refused, /SIZE_INVALID/],
  ['disk create new 1GiB --chunk-size 12KiB', refused, /CHUNK_SIZE_INVALID/],
  ['disk create new 1GiB --chunk-size 2MiB', refused, /CHUNK_SIZE_INVALID/],
  ['disk create web0 1GiB', refused, /DISK_EXISTS/],
  ['disk rename web0 copy', refused, /DISK_EXISTS/],
  ['disk resize web0 4MiB', refused, /SIZE_INVALID/],
  ['disk show nowhere', refused, /DISK_NOT_FOUND/],
  ['disk delete nowhere --yes', refused, /DISK_NOT_FOUND/],
  ['disk delete web0 --yes', refused, /DISK_HAS_SNAPSHOTS/],
  ['disk delete web0 --snapshots --yes', refused, /SNAPSHOT_IN_USE/],
  ['disk default nowhere', refused, /DISK_NOT_FOUND/],
  ['snapshot create nowhere', refused, /DISK_NOT_FOUND/],
  ['snapshot create web0@first', refused, /SNAPSHOT_EXISTS/],
  ['snapshot create web0@a:b', refused, /NAME_INVALID/],
  ['snapshot show web0@second', refused, /SNAPSHOT_NOT_FOUND/],
  ['snapshot delete web0@first web0@second --yes', refused, /SNAPSHOT_NOT_FOUND/],
  ['snapshot delete web0@first --yes', refused, /copy reads through it.*SNAPSHOT_IN_USE/],
  ['restore web0@first copy', refused, /DISK_EXISTS/],
  ['restore web0@second new', refused, /SNAPSHOT_NOT_FOUND/],
  ['restore web0@first new --size 4MiB', refused, /SIZE_INVALID/],
  ['restore web0@first new --rate 0', usage, /pause/],
  ['restore web0@first new --rate fast', usage, /rate/],
  ['restore web0@first new', refused, /--linked.*NOT_ENOUGH_SPACE/],
  ['hydration pause web0', refused, /NOT_HYDRATING/],
  ['hydration set copy --rate 1MiB/s', refused, /linked.*NOT_HYDRATING/],
  ['hydration wait copy', refused, /NOT_HYDRATING/],
]

t.test('refusals', async (t) => {
  // Nothing can be copied: this much is never free.
  await using daemon = await DaemonProcess.start('--reserve-bytes', '1PiB')
  await daemon.call('disk.create', { name: 'web0', sizeBytes: size })
  const client = await daemon.attach('web0')
  await client.write(0, imageBytes(1, 0, size), { fua: true })
  await client.disconnect()
  await daemon.call('snapshot.create', { disk: 'web0', snapshot: 'first' })
  await daemon.call('restore', { disk: 'web0', snapshot: 'first', name: 'copy', linked: true })
  const before = await state(daemon)

  await t.test('commands', async (t) => {
    for (const [line, exit, said] of lines) {
      const outcome = await thaw(line, { control: daemon.control })
      t.match(outcome, { exit, stdout: '', stderr: said }, line)
      t.equal(outcome.stderr.trim().split('\n').length, 1, `one line: ${outcome.stderr.trim()}`)
    }
    t.same(await state(daemon), before)
  })

  await t.test('requests', async (t) => {
    const snapshot = await daemon.attach('web0@first')
    await t.rejects(snapshot.write(0, Buffer.alloc(512)), { code: 'EPERM' })
    await t.rejects(snapshot.trim(0, 4096), { code: 'EPERM' })
    await t.rejects(snapshot.writeZeroes(0, 4096), { code: 'EPERM' })
    await snapshot.flush()
    t.ok((await snapshot.read(0, size)).equals(imageBytes(1, 0, size)))
    await snapshot.disconnect()
    const disk = await daemon.attach('web0')
    await t.rejects(disk.write(size - 1, Buffer.alloc(2)), { code: 'ENOSPC' })
    await t.rejects(disk.read(size - 1, 2), { code: 'EINVAL' })
    await t.rejects(disk.trim(size, 4096), { code: 'EINVAL' })
    t.ok((await disk.read(0, size)).equals(imageBytes(1, 0, size)))
    await disk.disconnect()
    await t.rejects(daemon.attach('nowhere'), { code: 'ERR_UNKNOWN' })
  })

  await daemon.restart('SIGKILL')
  t.same(await state(daemon), before)
  t.equal(await daemon.stop(), 0)
})

/** All that there is, without what time changes. */
async function state(daemon: DaemonProcess): Promise<object> {
  const { disks } = await daemon.call('disk.list', {})
  const { snapshots } = await daemon.call('snapshot.list', {})
  return { disks: disks.map((disk) => ({ ...disk, dirtyBytes: 0 })), snapshots }
}
