/**
 * The promise of the whole thing, over real clients: an image goes in, is
 * snapshotted, overwritten, and restored. The restored disk is right at once,
 * before anything was copied; what is read is kept; what nobody reads is copied;
 * and in the end it needs neither the snapshot nor the disk it came from.
 *
 *     THAW_TEST_IMAGE_MIB=1024   the size of the image (default: 96)
 */

import t from 'tap'
import { unlinkSync } from 'node:fs'
import path from 'node:path'
import { exportSha256, succeed } from '../fixtures/client-program.ts'
import { DaemonProcess } from '../fixtures/daemon-process.ts'
import { imageBytes, writeImage } from '../fixtures/image-file.ts'
import { needs } from '../fixtures/tools.ts'
import { until } from '../fixtures/until.ts'

const MiB = 2 ** 20
const imageMiB = Number(process.env['THAW_TEST_IMAGE_MIB'] ?? 96)
const size = imageMiB * MiB
const original = 1
const later = 2

t.setTimeout(Math.max(240_000, imageMiB * 1000))

t.test('restored at 0 %, hydrated by a reader and by nobody', needs('nbdcopy'), async (t) => {
  await using daemon = await DaemonProcess.start('--reserve-bytes', '0')
  const image = path.join(daemon.directory, 'image')
  const lap = stopwatch(t)

  await daemon.thaw('disk', 'create', 'web0', String(size))
  const sha256 = writeImage(image, original, size)
  lap('image made')
  await succeed('nbdcopy', ['--connections=4', '--flush', image, daemon.uri('web0')])
  lap('image in')
  await daemon.thaw('snapshot', 'create', 'web0@monday')
  lap('snapshot')
  await overwriteHalf(daemon)
  lap('half of it overwritten')
  t.not(await exportSha256(daemon.uri('web0')), sha256, 'the disk has gone on')

  await daemon.thaw('restore', 'web0@monday', 'read', '--paused')
  const client = await daemon.attach('read')
  const before = (await daemon.call('hydration.show', { disk: 'read' })).hydration
  t.match(before, { state: /surveying|paused/ })
  t.equal(before.completionPercent ?? 0, 0)
  for (const offset of [0, size / 2, size - MiB]) {
    t.ok((await client.read(offset, MiB)).equals(imageBytes(original, offset, MiB)), `the MiB at ${offset} is right`)
  }
  const counted = await until('counted', async () => {
    const { hydration } = await daemon.call('hydration.show', { disk: 'read' })
    return hydration.completionPercent === null ? undefined : hydration
  })
  t.equal(counted.totalBytes, size, 'all of it is to be copied')
  const percentMax = Math.max(1, (100 * 4) / imageMiB)
  t.ok((counted.completionPercent ?? 100) <= percentMax, `${counted.completionPercent} % before the full read`)
  lap('restored and looked at')

  t.equal(await exportSha256(daemon.uri('read')), sha256, 'a full read begun there is the original')
  await client.flush()
  lap('read in full')
  await daemon.thaw('hydration', 'wait', 'read', '--timeout', '30s')
  t.match(
    await daemon.call('disk.show', { name: 'read' }),
    { disk: { origin: null, hydration: null } },
    'paused as it was',
  )
  await client.disconnect()

  await daemon.thaw('restore', 'web0@monday', 'alone', '--rate', 'unlimited', '--wait', '--timeout', '300s')
  lap('hydrated by nobody')
  t.match(await daemon.call('disk.show', { name: 'alone' }), { disk: { origin: null, hydration: null } })

  await daemon.thaw('snapshot', 'delete', 'web0@monday', '--yes')
  await daemon.thaw('disk', 'delete', 'web0', '--yes')
  await daemon.restart()
  lap('snapshot and source deleted, daemon restarted')
  t.match(await daemon.call('status', {}), {
    disks: [{ name: 'alone' }, { name: 'read' }],
    snapshotCount: 0,
    hydrations: [],
  })
  t.equal(await exportSha256(daemon.uri('read')), sha256, 'the one that was read')
  t.equal(await exportSha256(daemon.unixUri('alone')), sha256, 'the one that was not')
  lap('read both')
  unlinkSync(image)
  t.equal(await daemon.stop(), 0)
})

/** Every second MiB. */
async function overwriteHalf(daemon: DaemonProcess): Promise<void> {
  const client = await daemon.attach('web0')
  for (let offset = 0; offset < size; offset += 2 * MiB) await client.write(offset, imageBytes(later, offset, MiB))
  await client.flush()
  await client.disconnect()
}

function stopwatch(t: { comment(text: string): void }): (what: string) => void {
  let last = performance.now()
  return (what) => {
    const now = performance.now()
    t.comment(`${((now - last) / 1000).toFixed(2)} s  ${what}`)
    last = now
  }
}
