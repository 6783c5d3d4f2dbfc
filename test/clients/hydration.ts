/**
 * Hydration as a user steers it, with the real daemon, commands and clients. Of
 * rates only the ceiling is tested: how much is below it is the machine's affair.
 */

import t from 'tap'
import type { Test } from 'tap'
import { setTimeout as sleep } from 'node:timers/promises'
import { exportSha256 } from '../fixtures/client-program.ts'
import { DaemonProcess } from '../fixtures/daemon-process.ts'
import { imageBytes } from '../fixtures/image-file.ts'
import { thaw, type ThawOutcome } from '../fixtures/thaw-command.ts'
import { needs } from '../fixtures/tools.ts'
import { until } from '../fixtures/until.ts'
import type { HydrationInfo } from '../../storage/contract.ts'

const MiB = 2 ** 20
const size = 16 * MiB
/** What may be on its way above a rate, and what a pause lets through. */
const slackBytes = 1.5 * MiB

t.setTimeout(240_000)

for (const place of ['segments', 'leveldb']) {
  t.test(`chunk bytes in ${place}`, needs('nbdcopy'), async (t) => {
    await t.test('rate, pause, resume, restart, wait', (t) => steered(t, place))
    await t.test('restores of restores, and a snapshot of a disk that hydrates', (t) => nested(t, place))
    if (place === 'leveldb') return
    await t.test('several disks under one ceiling', (t) => several(t, place))
    await t.test('who holds a snapshot is said when it is to be deleted', (t) => held(t, place))
  })
}

async function steered(t: Test, place: string): Promise<void> {
  await using daemon = await start(place)
  const run = async (line: string): Promise<ThawOutcome> => await thaw(line, { control: daemon.control })
  const sha256 = await exportSha256(daemon.uri('web0@first'))
  t.match(await run('restore web0@first copy --rate 1MiB/s'), { exit: 0 })

  const slow = await counted(daemon, 'copy')
  t.equal(slow.totalBytes, size)
  t.equal(slow.rate, MiB)
  const since = performance.now()
  const later = await beyond(daemon, 'copy', (slow.hydratedBytes ?? 0) + MiB)
  const seconds = (performance.now() - since) / 1000
  const copied = (later.hydratedBytes ?? 0) - (slow.hydratedBytes ?? 0)
  t.ok(copied <= seconds * MiB + slackBytes, `${copied} bytes in ${seconds.toFixed(1)} s`)
  t.ok(later.etaSeconds === null || later.etaSeconds > 1, `${later.etaSeconds} s left`)

  t.match(await run('hydration pause copy'), { exit: 0 })
  t.match(await run('hydration wait copy --timeout 100ms'), { exit: 4, stderr: /\[TIMEOUT\]/ })
  const paused = await until('paused', async () => {
    const info = await show(daemon, 'copy')
    return info.state === 'paused' ? info : undefined
  })
  t.match(paused, { etaSeconds: null, currentRate: 0 })

  t.match(await run('hydration set copy --rate unlimited'), { exit: 0 })
  await sleep(300)
  t.match(await show(daemon, 'copy'), { state: 'paused', rate: null }, 'a rate does not resume it')
  const held = await show(daemon, 'copy')
  t.ok((held.hydratedBytes ?? size) - (paused.hydratedBytes ?? 0) <= slackBytes, 'nothing is copied meanwhile')

  await daemon.restart()
  const restarted = await counted(daemon, 'copy')
  t.match(restarted, { state: 'paused', rate: null }, 'paused, and as fast as it was set, after a restart')
  t.ok((restarted.hydratedBytes ?? 0) >= (held.hydratedBytes ?? size), 'what was copied is')
  t.equal(restarted.totalBytes, size)

  t.match(await run('hydration set copy --rate 2MiB/s'), { exit: 0 })
  t.match(await run('hydration resume copy'), { exit: 0 })
  await beyond(daemon, 'copy', (restarted.hydratedBytes ?? 0) + MiB)
  await daemon.restart('SIGKILL')
  const goesOn = await counted(daemon, 'copy')
  t.ok((goesOn.hydratedBytes ?? 0) >= (restarted.hydratedBytes ?? 0) + MiB, 'it goes on where it was, after kill -9')
  t.match(goesOn, { state: 'running', rate: 2 * MiB })
  const waiting = run('hydration wait copy --timeout 60s')
  t.match(await run('hydration set copy --rate unlimited'), { exit: 0 })
  t.match(await waiting, { exit: 0, stdout: 'copy has all of its data\n' })
  t.match(await run('hydration show copy'), { exit: 1, stderr: /\[NOT_HYDRATING\]/ })
  t.match(await run('snapshot delete web0@first --yes'), { exit: 0 }, 'nothing holds it any more')
  await daemon.restart('SIGKILL')
  t.equal(await exportSha256(daemon.uri('copy')), sha256)
}

async function nested(t: Test, place: string): Promise<void> {
  await using daemon = await start(place)
  const original = imageBytes(1, 0, size)
  t.ok((await contents(daemon, 'web0@first')).equals(original))
  await daemon.call('restore', { disk: 'web0', snapshot: 'first', name: 'a', paused: true })
  const a = Buffer.from(original)
  await change(daemon, 'a', a, 11, [0, 5 * MiB + 12_345, 10 * MiB])
  await daemon.call('snapshot.create', { disk: 'a', snapshot: 's' })
  const snapshot = Buffer.from(a)
  await change(daemon, 'a', a, 12, [5 * MiB, 7 * MiB, 15 * MiB])
  await daemon.call('restore', { disk: 'a', snapshot: 's', name: 'b', paused: true, sizeBytes: size + 4 * MiB })
  const b = Buffer.concat([snapshot, Buffer.alloc(4 * MiB)])
  await change(daemon, 'b', b, 13, [7 * MiB + 1, 11 * MiB, size + MiB])
  await daemon.call('snapshot.create', { disk: 'b', snapshot: 's' })
  await daemon.call('restore', { disk: 'b', snapshot: 's', name: 'c', linked: true })
  const c = Buffer.from(b)
  await change(daemon, 'c', c, 14, [3 * MiB, 11 * MiB + 7])

  await daemon.restart('SIGKILL')
  // The lowest first, then what stands on it, the linked one never.
  for (const name of ['a', 'b']) {
    await daemon.call('hydration.set', { disk: name, rate: null })
    await daemon.call('hydration.resume', { disk: name })
    await daemon.thaw('hydration', 'wait', name, '--timeout', '60s')
    for (const [each, bytes] of Object.entries({ a, 'a@s': snapshot, b, c })) {
      t.ok((await contents(daemon, each)).equals(bytes), `${each} is right when ${name} is hydrated`)
    }
  }
  t.match(await daemon.call('disk.show', { name: 'b' }), { disk: { origin: null } })
  t.match(await daemon.call('disk.show', { name: 'c' }), { disk: { origin: 'b@s', linked: true, hydration: null } })
  await daemon.call('disk.delete', { name: 'a', snapshots: 'delete' })
  await daemon.call('disk.delete', { name: 'web0', snapshots: 'delete' })
  await daemon.restart()
  t.ok((await contents(daemon, 'b')).equals(b), 'b without all that it came from')
  t.ok((await contents(daemon, 'c')).equals(c), 'c')
}

async function several(t: Test, place: string): Promise<void> {
  await using daemon = await start(place, '--hydration-rate-total', '4MiB/s', '--hydration-rate-default', 'unlimited')
  const names = ['a', 'b', 'c']
  for (const name of names) await daemon.call('restore', { disk: 'web0', snapshot: 'first', name })
  const hydrated = async (): Promise<number[]> =>
    (await daemon.call('hydration.list', {})).hydrations.map(({ hydratedBytes }) => hydratedBytes ?? 0)
  for (const name of names) await counted(daemon, name)
  const before = await hydrated()
  const since = performance.now()
  const after = await until('all of them have moved', async () => {
    const now = await hydrated()
    return now.every((bytes, i) => bytes - (before[i] ?? 0) >= MiB) ? now : undefined
  })
  const seconds = (performance.now() - since) / 1000
  const copied = after.reduce((sum, bytes) => sum + bytes, 0) - before.reduce((sum, bytes) => sum + bytes, 0)
  t.ok(copied <= seconds * 4 * MiB + slackBytes, `${copied} bytes of three disks in ${seconds.toFixed(1)} s`)

  const reader = performance.now()
  t.ok((await contents(daemon, 'a')).equals(imageBytes(1, 0, size)), 'a reader gets it all, rightly')
  const readSeconds = (performance.now() - reader) / 1000
  t.ok(readSeconds < size / (4 * MiB), `and is not throttled: ${readSeconds.toFixed(1)} s`)
  await daemon.thaw('hydration', 'wait', 'a', '--timeout', '60s')
}

async function held(t: Test, place: string): Promise<void> {
  await using daemon = await start(place)
  const run = async (line: string): Promise<ThawOutcome> => await thaw(line, { control: daemon.control })
  await run('restore web0@first linked --linked')
  const linked = await run('snapshot delete web0@first --yes')
  t.match(linked, { exit: 1, stderr: /linked reads through it.*\[SNAPSHOT_IN_USE\]/s })
  await run('restore web0@first copy --rate 2MiB/s')
  await beyond(daemon, 'copy', MiB)
  t.match(await run('snapshot delete web0@first --yes'), {
    exit: 1,
    stderr: /copy is hydrating from it \([0-9.]+ %, about [0-9]+ s left\).*\[SNAPSHOT_IN_USE\]/s,
  })
  t.match(await run('disk delete web0 --snapshots --yes'), { exit: 1, stderr: /\[SNAPSHOT_IN_USE\]/ })
  t.match(await run('disk delete web0 --keep-snapshots --yes'), { exit: 0 })
  t.ok((await contents(daemon, 'linked')).equals(imageBytes(1, 0, size)), 'the disk it came from is gone, it is not')
  t.match(await run('disk create web0 1GiB'), { exit: 1, stderr: /\[DISK_EXISTS\]/ }, 'its name has snapshots')
  await daemon.restart()
  t.match(await run('disk delete linked --yes'), { exit: 0 })
  t.match(await run('hydration set copy --rate unlimited'), { exit: 0 })
  t.match(await run('hydration wait copy --timeout 60s'), { exit: 0 })
  t.match(await run('snapshot delete web0@first --yes'), { exit: 0 })
  await daemon.restart()
  t.ok((await contents(daemon, 'copy')).equals(imageBytes(1, 0, size)))
  t.match(await daemon.call('status', {}), { snapshotCount: 0, disks: [{ name: 'copy' }] })
}

/** A daemon with web0, full, and its snapshot. */
async function start(place: string, ...options: string[]): Promise<DaemonProcess> {
  const daemon = await DaemonProcess.start('--chunk-bytes', place, '--reserve-bytes', '0', ...options)
  await daemon.call('disk.create', { name: 'web0', sizeBytes: size })
  const client = await daemon.attach('web0')
  await client.write(0, imageBytes(1, 0, size))
  await client.disconnect()
  await daemon.call('snapshot.create', { disk: 'web0', snapshot: 'first' })
  return daemon
}

async function show(daemon: DaemonProcess, disk: string): Promise<HydrationInfo> {
  return (await daemon.call('hydration.show', { disk })).hydration
}

async function counted(daemon: DaemonProcess, disk: string): Promise<HydrationInfo> {
  return await until(`${disk} is counted`, async () => {
    const info = await show(daemon, disk)
    return info.hydratedBytes === null || info.state === 'surveying' ? undefined : info
  })
}

async function beyond(daemon: DaemonProcess, disk: string, bytes: number): Promise<HydrationInfo> {
  return await until(`${disk} has ${bytes} bytes of its own`, async () => {
    const info = await show(daemon, disk)
    return (info.hydratedBytes ?? 0) >= bytes ? info : undefined
  })
}

/** Writes the same random bytes into the disk and into what it should be. */
async function change(
  daemon: DaemonProcess,
  name: string,
  bytes: Buffer,
  seed: number,
  offsets: readonly number[],
): Promise<void> {
  const client = await daemon.attach(name)
  for (const offset of offsets) {
    const piece = imageBytes(seed, offset - (offset % 16), 300_000)
    piece.copy(bytes, offset)
    await client.write(offset, piece)
  }
  await client.trim(offsets[0]! + MiB, 100_000)
  bytes.fill(0, offsets[0]! + MiB, offsets[0]! + MiB + 100_000)
  await client.flush()
  await client.disconnect()
}

async function contents(daemon: DaemonProcess, name: string): Promise<Buffer> {
  const client = await daemon.attach(name)
  const { sizeBytes } = (await daemon.call('disk.list', {})).disks.find((disk) => disk.name === name) ?? {
    sizeBytes: size,
  }
  const pieces: Buffer[] = []
  for (let offset = 0; offset < sizeBytes; offset += 4 * MiB) pieces.push(await client.read(offset, 4 * MiB))
  await client.disconnect()
  return Buffer.concat(pieces)
}
