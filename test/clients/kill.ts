/**
 * `kill -9` of the daemon while clients write, again and again: everything that a
 * FLUSH or FUA acknowledged is there, on disks and on restored disks that are
 * hydrating, and snapshots stay exactly what they were.
 *
 *     THAW_TEST_KILLS=50   how often (default: 10)
 *     THAW_TEST_SEED=...   the same choices again (not the same moments)
 *
 * What a missing fsync would lose only a power cut shows: the recording file
 * layer of the storage tests is for that.
 */

import t from 'tap'
import { setTimeout as sleep } from 'node:timers/promises'
import { DaemonProcess } from '../fixtures/daemon-process.ts'
import { printSeed, Random } from '../fixtures/random.ts'
import { StampedDisk } from '../fixtures/stamped-disk.ts'
import { until } from '../fixtures/until.ts'
import { checkExport, StampingClients } from '../fixtures/stamping-clients.ts'

const MiB = 2 ** 20
const rounds = Number(process.env['THAW_TEST_KILLS'] ?? 10)
/** A restored disk lives for so many kills, and then a full read says whether it was right all the time. */
const lifeRounds = 3
/** Slow enough that none of them is complete by then. */
const hydrationRate = MiB / 4
const sizeBytes = 6 * MiB

interface Exported {
  readonly name: string
  readonly disk: StampedDisk
  readonly since: number
  /** Bytes of it that were durably its own when it was last asked. */
  hydratedBytes: number
}

t.setTimeout(Math.max(240_000, rounds * 20_000))

t.test('a small write and a discard are not behind the checkpoint before their chunks are whole', async (t) => {
  await using daemon = await DaemonProcess.start()
  await daemon.call('disk.create', { name: 'disk0', sizeBytes: 64 * MiB })
  const client = await daemon.attach('disk0')
  await client.write(32 * MiB, Buffer.alloc(4 * MiB, 'o'), { fua: true })
  await client.trim(33 * MiB, MiB, { fua: true })
  await client.write(0, Buffer.from('small'), { fua: true })
  // A whole chunk wants a row in the index, and with the row comes a checkpoint.
  await client.write(MiB, Buffer.alloc(MiB, 'whole'), { fua: true })
  await until('a checkpoint', async () => {
    const { counters } = await daemon.call('status', {})
    return counters['waitingRows'] === 0 ? true : undefined
  })
  await daemon.restart('SIGKILL')
  const again = await daemon.attach('disk0')
  t.equal((await again.read(0, 5)).toString(), 'small')
  t.same(await again.read(33 * MiB, MiB), Buffer.alloc(MiB))
  t.equal((await again.read(34 * MiB, 3)).toString(), 'ooo')
})

for (const [place, kills] of [
  ['segments', rounds],
  ['leveldb', Math.ceil(rounds / 3)],
] as const) {
  t.test(`kill -9, chunk bytes in ${place}`, async (t) => {
    const random = new Random(printSeed(t))
    await using daemon = await DaemonProcess.start('--chunk-bytes', place, '--reserve-bytes', '0', '--cache', '16MiB')
    let seeds = 0
    const disks: Exported[] = []
    const restored: Exported[] = []
    const snapshots: Exported[] = []
    for (const [name, chunkBytes] of [
      ['small', 4096],
      ['large', 65_536],
    ] as const) {
      await daemon.call('disk.create', { name, sizeBytes, chunkBytes })
      disks.push({ name, disk: new StampedDisk(++seeds, sizeBytes), since: 0, hydratedBytes: 0 })
    }

    for (let round = 1; round <= kills; round++) {
      const writing = [...disks, ...restored.slice(-2)]
      const clients = await Promise.all(
        writing.map(({ name, disk }) => StampingClients.start(daemon, name, { disk, random })),
      )
      const gone = Promise.all(clients.map((each) => each.gone()))
      gone.catch(() => {})
      const written = async (count: number): Promise<void> => {
        const enough = clients.map((each) => each.answered + count)
        while (clients.some((each, i) => each.answered < (enough[i] as number))) {
          await Promise.race([gone, sleep(5)])
        }
      }

      await written(60)
      // Of a disk, or of one that is itself hydrating.
      const source = random.pick(writing)
      const first = `at${round}`
      const may = source.disk.snapshotAsked()
      await daemon.call('snapshot.create', { disk: source.name, snapshot: first })
      source.disk.snapshotMade(may)
      const made = { name: `${source.name}@${first}`, disk: may, since: round, hydratedBytes: 0 }
      t.equal(await checkExport(daemon, made.name, made.disk), null, `${made.name} holds what it may`)
      snapshots.push(made)
      const name = `copy${round}`
      await daemon.call('restore', {
        disk: source.name,
        snapshot: first,
        name,
        rate: hydrationRate,
        paused: round % 4 === 0,
      })
      restored.push({ name, disk: made.disk.restored(++seeds), since: round, hydratedBytes: 0 })
      await written(random.below(200))

      for (const { hydratedBytes, disk } of (await daemon.call('hydration.list', {})).hydrations) {
        const at = restored.find((each) => each.name === disk)
        if (at !== undefined) at.hydratedBytes = hydratedBytes ?? at.hydratedBytes
      }
      // Another one is being made, or is made and not answered, when the kill comes.
      const unfinished = { source: random.pick(disks), snapshot: `unfinished${round}` }
      const mayHold = unfinished.source.disk.snapshotAsked()
      const asked = daemon.call('snapshot.create', { disk: unfinished.source.name, snapshot: unfinished.snapshot })
      asked.catch(() => {})
      await written(random.below(30))
      t.equal(await daemon.stop('SIGKILL'), 'SIGKILL')
      await gone
      for (const { disk } of [...disks, ...restored, ...snapshots]) disk.crashed()
      await daemon.start()

      const { name: disk } = unfinished.source
      const { snapshot } = unfinished
      const isMade = (await daemon.call('snapshot.list', { disk })).snapshots.some(({ name }) => name === snapshot)
      t.ok(isMade || !(await answered(asked)), 'a snapshot that was answered is there')
      if (isMade) {
        t.equal(await checkExport(daemon, `${disk}@${snapshot}`, mayHold), null, `${round}: the unfinished snapshot`)
        await daemon.call('snapshot.delete', { snapshots: [{ disk, snapshot }] })
      }

      for (const each of disks) t.equal(await checkExport(daemon, each.name, each.disk), null, `${round}: ${each.name}`)
      for (const each of snapshots)
        t.equal(await checkExport(daemon, each.name, each.disk), null, `${round}: ${each.name}`)
      for (const each of restored) {
        const { hydration } = (await daemon.call('disk.show', { name: each.name })).disk
        const counted = hydration?.hydratedBytes ?? null
        t.ok(counted === null || counted >= each.hydratedBytes, `${each.name}: what was counted is still there`)
        // What is read is kept, so only a part is read.
        const some = [...each.disk.uncertain(), ...Array.from({ length: 100 }, () => random.below(each.disk.blocks))]
        const isOld = round - each.since >= lifeRounds
        t.equal(
          await checkExport(daemon, each.name, each.disk, isOld ? undefined : some),
          null,
          `${round}: ${each.name}`,
        )
      }
      const acknowledged = clients.reduce((sum, each) => sum + each.acknowledged, 0)
      const half = restored.filter((each) => each.hydratedBytes > 0).length
      t.comment(
        `round ${round}: ${acknowledged} acknowledgements, ${restored.length} restored (${half} in part), ${snapshots.length} snapshots`,
      )
      await retire(round)
    }
    t.equal(await daemon.stop(), 0)

    /** Deletes what has lived long enough and is held by nobody. */
    async function retire(round: number): Promise<void> {
      for (const each of restored.filter(({ since }) => round - since >= lifeRounds)) {
        if (snapshots.some(({ name }) => name.startsWith(`${each.name}@`))) continue
        await daemon.call('disk.delete', { name: each.name })
        restored.splice(restored.indexOf(each), 1)
      }
      for (const each of snapshots.filter(({ since }) => round - since >= lifeRounds)) {
        const [disk = '', snapshot = ''] = each.name.split('@')
        if ((await daemon.call('snapshot.show', { disk, snapshot })).snapshot.usedBy.length > 0) continue
        await daemon.call('snapshot.delete', { snapshots: [{ disk, snapshot }] })
        snapshots.splice(snapshots.indexOf(each), 1)
      }
    }
  })
}

async function answered(asked: Promise<unknown>): Promise<boolean> {
  return await asked.then(
    () => true,
    () => false,
  )
}
