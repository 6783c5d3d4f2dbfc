/**
 * What is acknowledged would survive a power cut: between the last append that an
 * answer covers and the answer itself there is an `fdatasync` of every segment
 * that was written, and a sync of the directory of every segment that is new. The
 * page cache hides a missing one from `kill -9`; a recording file layer does not.
 */

import { cpSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { StoreEvent } from '../../storage/contract.ts'
import { nodeEnvironment } from '../../storage/node-environment.ts'
import { openStore, type StoreOptions } from '../../storage/open.ts'
import type { Store } from '../../storage/store.ts'
import { printSeed, Random } from '../fixtures/random.ts'
import { type Change, RecordedLog } from '../fixtures/recorded-log.ts'
import { RecordingFiles } from '../fixtures/recording-files.ts'
import { RecordingLevel } from '../fixtures/recording-level.ts'
import { WatchedDisk } from '../fixtures/watched-disk.ts'

const KIB = 1024
const sizeBytes = 1024 * KIB
/** Less than the largest writes: a flush has several segments to sync. */
const segmentBytes = 192 * KIB
const workers = 4
const requestsPerWorker = 100

/** Something that was said to be done: the change of the catalogue that must be durable by then. */
interface Promised {
  readonly what: string
  readonly at: number
  readonly is: (change: Change, log: RecordedLog) => boolean
}

class Recording {
  readonly random: Random
  readonly files: RecordingFiles
  readonly level: RecordingLevel
  readonly promised: Promised[] = []
  readonly disks: WatchedDisk[] = []
  store!: Store

  constructor(t: Test) {
    this.random = new Random(printSeed(t))
    this.files = new RecordingFiles(this.random)
    this.level = new RecordingLevel(this.files)
  }

  async open(options: StoreOptions): Promise<void> {
    const { startReading: _, ...others } = nodeEnvironment
    const environment = { ...others, files: this.files.files, level: this.level }
    // Little memory: folding goes on all the time.
    this.store = await openStore({
      segmentBytes,
      cacheBytes: 4096 * KIB,
      reserveBytes: 0,
      ...options,
      environment,
      onEvent: (event) => this.#heard(event),
    })
  }

  async createDisk(name: string, chunkBytes: number): Promise<WatchedDisk> {
    await this.done(`disk ${name}`, this.store.createDisk({ name, sizeBytes, chunkBytes }), is('disk', { name }))
    return this.watch(name)
  }

  watch(name: string): WatchedDisk {
    const { files, random, store } = this
    const { chunkBytes } = store.disk(name)
    const disk = new WatchedDisk(name, store.diskDevice(name), { chunkBytes, sizeBytes, files, random })
    this.disks.push(disk)
    return disk
  }

  async createSnapshot(disk: WatchedDisk, name: string): Promise<void> {
    const blocks = disk.answered()
    const what = `snapshot ${disk.name}@${name}`
    await this.done(what, this.store.createSnapshot(disk.name, name), is('snapshot', { name }))
    disk.acknowledgements.push({ what, at: this.files.now(), blocks })
  }

  async done<T>(what: string, call: Promise<T>, is: Promised['is']): Promise<T> {
    const result = await call
    this.promised.push({ what, at: this.files.now(), is })
    return result
  }

  /** Everything that was said and was not so, as sentences. */
  broken(): string[] {
    const log = new RecordedLog(this.files)
    const durableFrom = new Map(log.records.map((record) => [`${record.segment}/${record.offset}`, record.durableFrom]))
    const rows = this.level.batches.flatMap(({ at, pointers, checkpoint }) => {
      const early = pointers.filter(
        ({ segment, offset }) => !((durableFrom.get(`${segment}/${offset}`) ?? Infinity) < at),
      )
      // No record is durable before those in front of it.
      const last = log.records.findLast(({ segment, end }) => isCovered(checkpoint, segment, end))
      const notCovered = last !== undefined && !(last.durableFrom < at)
      return [
        ...early.map(({ segment, offset }) => `a row points to ${segment}/${offset} at ${at}`),
        ...(notCovered ? [`the checkpoint covers what is not durable at ${at}`] : []),
      ]
    })
    const promised = this.promised
      .filter(({ at, is }) => !((log.find((change) => is(change, log))?.durableFrom ?? Infinity) < at))
      .map(({ what, at }) => `${what} at ${at}`)
    return [...this.disks.flatMap((disk) => disk.broken(log)), ...promised, ...rows]
  }

  #heard(event: StoreEvent): void {
    if (event.type !== 'hydration-finished') return
    const { disk } = event
    this.promised.push({
      what: `${disk} is hydrated`,
      at: this.files.now(),
      is: ({ kind, id, value }, log) => kind === 'lineage' && id === log.lineageOf(disk) && value?.['origin'] === null,
    })
  }
}

/** Whether a record that ends at `end` is before a checkpoint. */
function isCovered(checkpoint: { segment: number; offset: number } | undefined, segment: number, end: number): boolean {
  if (checkpoint === undefined) return false
  return segment < checkpoint.segment || (segment === checkpoint.segment && end <= checkpoint.offset)
}

/** A change that puts something with these properties. */
function is(kind: string, properties: Record<string, unknown>): (change: Change) => boolean {
  return (change) =>
    change.kind === kind && Object.entries(properties).every(([name, value]) => change.value?.[name] === value)
}

/** Requests of all kinds, several at a time. */
async function use(disk: WatchedDisk, random: Random): Promise<void> {
  const worker = async () => {
    for (let i = 0; i < requestsPerWorker; i++) {
      const fua = random.below(8) === 0
      const kind = random.below(32)
      if (kind < 4) await disk.flush()
      else if (kind < 7) await disk.discard(2 + random.below(4), fua)
      // More than a segment.
      else if (kind === 7) await disk.write(512, fua)
      else await disk.write(1 + random.below(32), fua)
    }
  }
  await Promise.all(Array.from({ length: workers }, worker))
}

for (const place of ['segments', 'leveldb'] as const) {
  t.test(`acknowledged is durable, chunk bytes in ${place}`, async (t) => {
    const recording = new Recording(t)
    const { random, level } = recording
    await recording.open({ directory: join(t.testdir(), 'store'), init: true, chunkBytesPlacement: place })
    const { store } = recording
    const disks = await Promise.all([
      recording.createDisk('small', 4 * KIB),
      recording.createDisk('middle', 16 * KIB),
      recording.createDisk('large', 64 * KIB),
    ])
    const used = Promise.all(disks.map((disk) => use(disk, random)))
    for (let round = 0; round < 6; round++) {
      const disk = random.pick(disks)
      const snapshot = `s${round}`
      await recording.createSnapshot(disk, snapshot)
      const name = `copy${round}`
      await recording.done(
        name,
        store.restore({ disk: disk.name, snapshot }, { name, rate: null }),
        is('disk', { name }),
      )
      await use(recording.watch(name), random)
      while (store.disk(name).hydration !== null) await new Promise((resolve) => setTimeout(resolve, 5))
      const { id } = store.snapshot({ disk: disk.name, snapshot })
      const isGone = (change: Change) => change.kind === 'snapshot' && change.id === id && change.value === null
      await recording.done(`${snapshot} is gone`, store.deleteSnapshots([{ disk: disk.name, snapshot }]), isGone)
    }
    await used
    await store.close()

    t.same(recording.broken().slice(0, 5), [])
    const log = new RecordedLog(recording.files)
    const said = recording.disks.flatMap(({ acknowledgements }) => acknowledgements)
    t.ok(log.segments > 50, `${log.segments} segments`)
    for (const what of ['FLUSH', 'FUA', 'snapshot'])
      t.ok(said.filter((each) => each.what.startsWith(what)).length > 5, what)
    t.equal(recording.promised.filter(({ what }) => what.endsWith('is hydrated')).length, 6)
    t.ok(
      level.batches.some(({ pointers, checkpoint }) => pointers.length > 0 || checkpoint !== undefined),
      'rows',
    )
  })
}

t.test('what recovery found is durable before anybody can be told of it', async (t) => {
  const before = new Recording(t)
  const root = t.testdir()
  const directory = join(root, 'store')
  await before.open({ directory, init: true })
  const disk = await before.createDisk('d', 16 * KIB)
  for (let i = 0; i < 4; i++) await disk.write(256, false)
  await disk.flush()
  // From here on nothing is durable, and a part of it is written.
  let release = () => {}
  before.files.held = new Promise((resolve) => (release = resolve))
  const lost = () => new RecordedLog(before.files).records.filter(({ durableFrom }) => durableFrom === Infinity).length
  while (lost() < 10) {
    await disk.write(256, false)
    await new Promise((resolve) => setImmediate(resolve))
  }
  const crashed = join(root, 'crashed')
  cpSync(directory, crashed, { recursive: true })
  const after = new Recording(t)
  after.files.adopt(join(crashed, 'segments'), before.files)
  release()
  await before.store.close()

  const found = new RecordedLog(after.files).records
  t.ok(found.filter(({ durableFrom }) => durableFrom === Infinity).length >= 10, 'not on the disk')
  await after.open({ directory: crashed })
  const opened = after.files.now()
  const { records } = new RecordedLog(after.files)
  t.same(
    records.slice(0, found.length).filter(({ durableFrom }) => !(durableFrom < opened)),
    [],
  )
  await after.store.close()
  t.same(after.broken().slice(0, 5), [])
})
