/**
 * The file system of the data directory is full: writes get ENOSPC at once,
 * everything else goes on, and so do writes when there is room again. Nothing
 * that was flushed is lost, whatever happens meanwhile.
 */

import t from 'tap'
import type { Test } from 'tap'
import path from 'node:path'
import type { NbdClient } from '../../protocol/client/client.ts'
import { DaemonProcess } from '../fixtures/daemon-process.ts'
import { imageBytes } from '../fixtures/image-file.ts'
import { printSeed, Random } from '../fixtures/random.ts'
import { needsMounts, SmallFileSystem, type FileSystemKind } from '../fixtures/small-file-system.ts'
import { StampedDisk } from '../fixtures/stamped-disk.ts'
import { checkExport, StampingClients } from '../fixtures/stamping-clients.ts'
import { thaw } from '../fixtures/thaw-command.ts'
import { until } from '../fixtures/until.ts'

const MiB = 2 ** 20
const sizeBytes = 8 * MiB
const fileSystemBytes = 352 * MiB
/** What is made room later on. In LevelDB it must be more than the journal that is still to be moved there. */
const roomBytes = 96 * MiB
/** Segments of the log that hold nothing else: what comes back when the disk is deleted. */
const aloneBytes = 144 * MiB

t.setTimeout(240_000)

t.test('ext4, chunk bytes in segments', needsMounts(), (t) => filled(t, 'ext4', 'segments'))
t.test('tmpfs, chunk bytes in leveldb', needsMounts(), (t) => filled(t, 'tmpfs', 'leveldb'))

async function filled(t: Test, kind: FileSystemKind, place: string): Promise<void> {
  const random = new Random(printSeed(t))
  using fileSystem = new SmallFileSystem(kind, fileSystemBytes)
  fileSystem.take(roomBytes)
  const options = ['--chunk-bytes', place, '--cache', '16MiB', '--reserve-bytes', '0']
  await using daemon = await DaemonProcess.over(path.join(fileSystem.path, 'data'), ...options)
  const disk = new StampedDisk(1, sizeBytes)
  await daemon.call('disk.create', { name: 'disk1', sizeBytes })
  await daemon.call('disk.create', { name: 'other', sizeBytes: 1024 * MiB })

  await t.test('written until it is full', async (t) => {
    const clients = await StampingClients.start(daemon, 'disk1', { disk, random })
    await until('something is flushed', () => (clients.acknowledged > 50 ? true : undefined))
    await clients.end()
    const snapshot = disk.snapshotAsked()
    await daemon.call('snapshot.create', { disk: 'disk1', snapshot: 'first' })
    disk.snapshotMade(snapshot)
    t.equal(await fillDisk(daemon, 0, aloneBytes), aloneBytes, 'there is room')
    const filling = await StampingClients.start(daemon, 'disk1', { disk, random, tolerated: ['ENOSPC'] })
    await fillDisk(daemon, aloneBytes, Number.POSITIVE_INFINITY)
    await until('ENOSPC', () => ((filling.errors.get('ENOSPC') ?? 0) > 0 ? true : undefined))
    await filling.end()
    t.same([...filling.errors.keys()], ['ENOSPC'])
    t.match(await daemon.call('status', {}), { states: ['no space'] })
    t.match(await thaw('status', { control: daemon.control }), { exit: 0, stdout: /file system.*full/ })
  })

  await t.test('while it is full', async (t) => {
    const client = await daemon.attach('disk1')
    const since = performance.now()
    for (let i = 0; i < 20; i++) await t.rejects(client.write(i * 4096, Buffer.alloc(4096, 'x')), { code: 'ENOSPC' })
    t.ok(performance.now() - since < 2000, 'refused at once')
    for (let i = 0; i < 20; i++) disk.zero(i, 1)
    await t.rejects(client.flush(), { code: 'ENOSPC' }, 'what is not flushed is not said to be')
    await client.disconnect()
    const read = await daemon.attach('other')
    t.ok((await read.read(0, MiB)).equals(imageBytes(9, 0, MiB)), 'reads go on')
    await read.disconnect()
    // Until some space is kept in reserve for it.
    const refused = await thaw('disk delete other --yes', { control: daemon.control })
    t.match(refused, { exit: 1, stderr: /full: make room.*\[NO_SPACE\]/ })
    t.match(await daemon.call('disk.list', {}), { disks: { length: 2 } })
  })

  await t.test('somebody else makes room', async (t) => {
    fileSystem.makeRoom()
    await writable(daemon, disk)
    await until('the state is gone', async () => {
      const { states } = await daemon.call('status', {})
      return states.includes('no space') ? undefined : true
    })
    t.equal(await checkExport(daemon, 'disk1', disk), null, 'nothing that was flushed is lost')
  })

  await t.test('full to the last byte, killed, and started when there is room', async (t) => {
    fileSystem.take()
    await daemon.stop('SIGKILL')
    disk.crashed()
    const refused = await daemon.start().then(
      () => null,
      (error: Error) => error.message,
    )
    // Where not a byte is needed to open it, it starts.
    if (refused !== null) t.match(refused, /it ended with 1\n[^]*full.*make room.*code=NO_SPACE$/)
    else await daemon.stop('SIGKILL')
    fileSystem.makeRoom()
    await daemon.start()
    t.equal(await checkExport(daemon, 'disk1', disk), null)
    await writable(daemon, disk)
  })

  await t.test('what is deleted makes room', async (t) => {
    const { storedBytes } = (await daemon.call('status', {})).space
    // In whole segments of the log, or as LevelDB sees fit.
    await daemon.call('disk.delete', { name: 'other' })
    await until('it comes back', async () => {
      const { space } = await daemon.call('status', {})
      return storedBytes - space.storedBytes > aloneBytes / 4 ? true : undefined
    })
    await writable(daemon, disk)
    t.equal(await checkExport(daemon, 'disk1', disk), null)
  })

  await t.test('two restarts', async (t) => {
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      await daemon.restart(signal)
      disk.crashed()
      t.equal(await checkExport(daemon, 'disk1', disk), null)
      await writable(daemon, disk)
    }
  })
}

/** Writes a part of a disk, or as much of it as there is room for; returns where it ended. */
async function fillDisk(daemon: DaemonProcess, from: number, to: number): Promise<number> {
  const client = await daemon.attach('other')
  let offset = from
  try {
    for (; offset < to; offset += MiB) {
      await client.write(offset, imageBytes(9, offset, MiB))
      if (offset % (8 * MiB) === 0) await client.flush()
    }
  } catch (error) {
    if ((error as { code?: string }).code !== 'ENOSPC') throw error
  }
  await client.disconnect()
  return offset
}

/** Resolves when writes are taken and flushed. */
async function writable(daemon: DaemonProcess, disk: StampedDisk): Promise<void> {
  const client = await daemon.attach('disk1')
  await until('writes are back', async () => (await isWritten(client, disk)) || undefined)
  await client.disconnect()
}

async function isWritten(client: NbdClient, disk: StampedDisk): Promise<boolean> {
  const { version, bytes } = disk.write(0, 1)
  try {
    await client.write(0, bytes, { fua: true })
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOSPC') return false
    throw error
  }
  disk.answered(0, 1, version, true)
  const mark = disk.mark()
  await client.flush()
  disk.flushed(mark)
  return true
}
