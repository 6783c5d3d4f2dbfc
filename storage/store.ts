/**
 * The store: the catalogue operations. Each is refused or done as a whole, is one
 * META record in the log, and is durable when its promise resolves. I/O does not
 * come through here but through the devices.
 */

import type { Change, DiskRecord, LineageRecord, SnapshotRecord, Catalogue } from './catalogue.ts'
import { readNewest } from './chunk-index.ts'
import type {
  Device,
  DiffExtent,
  DiskInfo,
  HydrationInfo,
  Rate,
  SnapshotInfo,
  SnapshotName,
  StoreContract,
  StoreEvent,
  StoreStatus,
} from './contract.ts'
import type { Core } from './core.ts'
import type { Environment } from './environment.ts'
import { StoreError, systemCode } from './errors.ts'
import { forgetHead, forgetLineage, forgetView } from './forget.ts'
import { HeadDevice } from './head-device.ts'
import { Hydration } from './hydration.ts'
import type { Lineage, View } from './lineage.ts'
import { indexDirectory, type Marker } from './marker.ts'
import { appendCatalogue, appendMeta } from './meta.ts'
import { checkChunkBytes, checkDiskBytes, checkName, checkRate, nameOfTime } from './names.ts'
import type { Parts, StoreOptions } from './open.ts'
import { segmentOf } from './position.ts'
import { removeDeadSegments, removeLineage, removeUnread } from './reclaim.ts'
import { chunkKeyRange, GENERATION_MAX, RowKind } from './row.ts'
import type { SegmentFiles } from './segment-files.ts'
import { Throttle } from './throttle.ts'
import { KIB, MIB } from './units.ts'
import { SnapshotDevice } from './view-device.ts'

const RESERVE_PART = 0.05
const RESERVE_BYTES_MIN = 1024 * MIB
/** An ancestry deeper than this hydrates by itself. */
const DEPTH_MAX = 8
/** The log is searched for dead segments when it has grown by so much, and by a quarter. */
const COLLECT_BYTES = 1024 * MIB
const COLLECT_MILLIS = 30_000
const RETRY_MILLIS = 1000

/** Measured: tools/bench/README.md, "Chunk size". */
export const CHUNK_BYTES_DEFAULT = 16 * KIB
export const HYDRATION_RATE_DEFAULT = 100 * MIB

interface StoreParts extends Parts {
  readonly environment: Environment
  readonly marker: Marker
  /** The store was made by this opening. */
  readonly created: boolean
  readonly directory: string
  readonly files: SegmentFiles
  readonly catalogue: Catalogue
  readonly onEvent: (event: StoreEvent) => void
  readonly options: StoreOptions
}

export class Store implements StoreContract {
  /** The store was made by this opening. */
  readonly created: boolean
  readonly #parts: StoreParts
  readonly #core: Core
  readonly #catalogue: Catalogue
  readonly #devices = new Map<number, HeadDevice>()
  readonly #total: Throttle
  /** Snapshots that are being made, by lineage: their generations are frozen and not in the catalogue yet. */
  readonly #pending = new Map<number, number>()
  /** Names that an operation under way will take. */
  readonly #reserved = new Set<string>()
  #reclaiming: Promise<void> | undefined
  #collectedBytes = 0
  #collectTimer: { cancel(): void } | undefined
  #closing: Promise<void> | undefined
  readonly #counters = { snapshotsCreated: 0, restores: 0, segmentsRemoved: 0 }

  constructor(parts: StoreParts) {
    this.#parts = parts
    this.#core = parts.core
    this.#catalogue = parts.catalogue
    this.created = parts.created
    this.#total = new Throttle(parts.environment.clock, parts.options.hydrationRateTotal ?? null)
    for (const record of this.#catalogue.lineages.values()) this.#hydrate(record)
    this.#collectedBytes = parts.files.totalBytes
    this.#reclaim()
    this.#collectLater()
  }

  // Disks

  async createDisk(options: { name: string; sizeBytes: number; chunkBytes?: number }): Promise<DiskInfo> {
    const name = this.#freeDiskName(options.name)
    const sizeBytes = checkDiskBytes(options.sizeBytes)
    const chunkBytes = checkChunkBytes(options.chunkBytes ?? CHUNK_BYTES_DEFAULT)
    return this.#reserving(`disk ${name}`, async () => {
      const [lineage, id] = this.#ids(2)
      await this.#commit([
        { kind: 'lineage', id: lineage, value: newLineage({ id: lineage, chunkBytes }) },
        { kind: 'disk', id, value: { id, name, lineage, sizeBytes, createdAt: this.#now() } },
      ])
      return this.disk(name)
    })
  }

  disks(): DiskInfo[] {
    return [...this.#catalogue.disks.values()]
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map((disk) => this.#diskInfo(disk))
  }

  disk(name: string): DiskInfo {
    return this.#diskInfo(this.#disk(name))
  }

  async renameDisk(name: string, newName: string): Promise<DiskInfo> {
    const disk = this.#disk(name)
    this.#freeDiskName(newName)
    return this.#reserving(`disk ${newName}`, async () => {
      await this.#commit([{ kind: 'disk', id: disk.id, value: { ...this.#disk(name), name: newName } }])
      return this.disk(newName)
    })
  }

  async resizeDisk(name: string, sizeBytes: number): Promise<DiskInfo> {
    const disk = this.#disk(name)
    if (checkDiskBytes(sizeBytes) < disk.sizeBytes) {
      throw new StoreError(
        'SIZE_INVALID',
        `disk ${name} has ${disk.sizeBytes} bytes and only grows: ${sizeBytes} is less`,
      )
    }
    await this.#commit([{ kind: 'disk', id: disk.id, value: { ...disk, sizeBytes } }])
    const device = this.#devices.get(disk.lineage)
    if (device !== undefined) device.sizeBytes = sizeBytes
    return this.disk(name)
  }

  async deleteDisk(name: string, options: { snapshots?: 'delete' | 'keep' } = {}): Promise<void> {
    const disk = this.#disk(name)
    const lineage = this.#lineage(disk.lineage)
    if (this.#pending.has(lineage.id)) {
      throw new StoreError('DISK_IN_USE', `a snapshot of disk ${name} is being made: try again when it is there`)
    }
    const snapshots = this.#catalogue.snapshotsOf(disk.id)
    if (snapshots.length > 0 && options.snapshots === undefined) {
      throw new StoreError(
        'DISK_HAS_SNAPSHOTS',
        `disk ${name} has ${snapshots.length} snapshots: delete them with it (--snapshots), or keep them restorable (--keep-snapshots)`,
        { details: { snapshots: snapshots.map((snapshot) => `${name}@${snapshot.name}`) } },
      )
    }
    const keep = options.snapshots === 'keep' && snapshots.length > 0
    if (!keep) for (const snapshot of snapshots) this.#checkUnused(snapshot)
    const changes: Change[] = [
      { kind: 'disk', id: disk.id, value: null },
      { kind: 'reclaim', id: lineage.id, value: { id: lineage.id } },
    ]
    if (keep) {
      for (const snapshot of snapshots) {
        changes.push({ kind: 'snapshot', id: snapshot.id, value: { ...snapshot, disk: null, diskName: name } })
      }
    } else {
      for (const { id } of snapshots) changes.push({ kind: 'snapshot', id, value: null })
      changes.push({ kind: 'lineage', id: lineage.id, value: null })
    }
    if (this.#catalogue.settings.defaultDisk === disk.id) {
      changes.push({ kind: 'setting', id: 0, value: { ...this.#catalogue.settings, defaultDisk: null } })
    }
    this.#apply(changes)
    const { hydration } = lineage
    lineage.hydration = null
    this.#devices.delete(lineage.id)
    if (keep) forgetHead(lineage, this.#core)
    else this.#forget(lineage)
    await hydration?.stop()
    await this.#core.log.synced()
    this.#reclaim()
  }

  async setDefaultDisk(name: string | null): Promise<void> {
    const defaultDisk = name === null ? null : this.#disk(name).id
    await this.#commit([{ kind: 'setting', id: 0, value: { ...this.#catalogue.settings, defaultDisk } }])
  }

  get defaultDisk(): string | null {
    const { defaultDisk } = this.#catalogue.settings
    return defaultDisk === null ? null : (this.#catalogue.disks.get(defaultDisk)?.name ?? null)
  }

  // Snapshots

  async createSnapshot(diskName: string, wantedName?: string): Promise<SnapshotInfo> {
    const disk = this.#disk(diskName)
    const name = wantedName === undefined ? this.#nameOfNow(disk) : checkName(wantedName, 'snapshot')
    if (this.#catalogue.snapshotNamed(diskName, name) !== undefined) {
      throw new StoreError('SNAPSHOT_EXISTS', `snapshot ${diskName}@${name} exists: choose another name`)
    }
    return this.#reserving(`snapshot ${disk.id}@${name}`, async () => {
      const lineage = this.#lineage(disk.lineage)
      // The instant of the snapshot: from here on writes belong to the next generation.
      const generation = lineage.generation++
      lineage.frozen.push(generation)
      this.#pending.set(lineage.id, (this.#pending.get(lineage.id) ?? 0) + 1)
      const record = this.#lineageRecord(lineage.id)
      // Rows of the new generation may reach LevelDB before the snapshot is in the log.
      this.#catalogue.apply([{ kind: 'lineage', id: lineage.id, value: { ...record, generation: lineage.generation } }])
      const createdAt = this.#now()
      let named = false
      try {
        await this.#core.writeBack.settle(lineage, generation)
        const [id] = this.#ids(1)
        const snapshot: SnapshotRecord = {
          id,
          name,
          lineage: lineage.id,
          generation,
          sizeBytes: disk.sizeBytes,
          createdAt,
          disk: disk.id,
          diskName: this.#catalogue.disks.get(disk.id)?.name ?? diskName,
        }
        const head = { ...this.#lineageRecord(lineage.id), generation: lineage.generation }
        this.#apply([
          { kind: 'snapshot', id, value: snapshot },
          { kind: 'lineage', id: lineage.id, value: head },
        ])
        named = true
        await this.#core.log.synced()
        this.#counters.snapshotsCreated++
        return this.#snapshotInfo(snapshot)
      } catch (error) {
        // Once it has its name it exists, and keeps what it holds, though nobody can say yet whether it is durable.
        if (!named) lineage.frozen = lineage.frozen.filter((frozen) => frozen !== generation)
        throw error
      } finally {
        const left = (this.#pending.get(lineage.id) ?? 1) - 1
        if (left === 0) this.#pending.delete(lineage.id)
        else this.#pending.set(lineage.id, left)
      }
    })
  }

  snapshots(disk?: string): SnapshotInfo[] {
    if (disk !== undefined && !this.#hasSnapshotsOf(disk)) this.#disk(disk)
    return [...this.#catalogue.snapshots.values()]
      .map((snapshot) => this.#snapshotInfo(snapshot))
      .filter((info) => disk === undefined || info.disk === disk)
      .sort((a, b) => (a.disk === b.disk ? a.id - b.id : a.disk < b.disk ? -1 : 1))
  }

  snapshot(name: SnapshotName): SnapshotInfo {
    return this.#snapshotInfo(this.#snapshot(name))
  }

  async renameSnapshot(name: SnapshotName, newName: string): Promise<SnapshotInfo> {
    const snapshot = this.#snapshot(name)
    checkName(newName, 'snapshot')
    if (this.#catalogue.snapshotNamed(name.disk, newName) !== undefined) {
      throw new StoreError('SNAPSHOT_EXISTS', `snapshot ${name.disk}@${newName} exists: choose another name`)
    }
    return this.#reserving(`snapshot ${snapshot.disk ?? name.disk}@${newName}`, async () => {
      await this.#commit([{ kind: 'snapshot', id: snapshot.id, value: { ...this.#snapshot(name), name: newName } }])
      return this.snapshot({ disk: name.disk, snapshot: newName })
    })
  }

  async deleteSnapshots(names: readonly SnapshotName[]): Promise<void> {
    const snapshots = [...new Set(names.map((name) => this.#snapshot(name)))]
    for (const snapshot of snapshots) this.#checkUnused(snapshot)
    const ids = new Set(snapshots.map(({ id }) => id))
    const changes: Change[] = snapshots.map(({ id }) => ({ kind: 'snapshot', id, value: null }))
    const touched = new Set(snapshots.map(({ lineage }) => lineage))
    for (const id of touched) {
      changes.push({ kind: 'reclaim', id, value: { id } })
      const isLast = ![...this.#catalogue.snapshots.values()].some(
        (other) => other.lineage === id && !ids.has(other.id),
      )
      if (isLast && this.#catalogue.diskOf(id) === undefined) changes.push({ kind: 'lineage', id, value: null })
    }
    this.#apply(changes)
    for (const id of touched) {
      const lineage = this.#lineage(id)
      if (!this.#catalogue.lineages.has(id)) {
        this.#forget(lineage)
        continue
      }
      const gone = snapshots.filter((snapshot) => snapshot.lineage === id).map(({ generation }) => generation)
      lineage.frozen = lineage.frozen.filter((generation) => !gone.includes(generation))
      for (const generation of gone) forgetView(lineage, generation, this.#core)
      lineage.hydration?.countAgain()
    }
    await this.#core.log.synced()
    this.#reclaim()
  }

  async *diff(from: SnapshotName, to: SnapshotName | null): AsyncGenerator<DiffExtent> {
    const older = this.#snapshot(from)
    const newer = to === null ? { ...this.#disk(from.disk), generation: GENERATION_MAX } : this.#snapshot(to)
    if (older.lineage !== newer.lineage || newer.generation < older.generation) {
      throw new StoreError(
        'ARGUMENT_INVALID',
        `a difference is from an older to a newer state of one disk: give the older snapshot first`,
      )
    }
    const lineage = this.#lineage(older.lineage)
    if (to === null) await this.#core.writeBack.settle(lineage, lineage.generation)
    const view = to === null ? lineage.head : lineage.view(newer.generation)
    await this.#core.discards.drained(lineage)
    await this.#core.index.drain()
    const changed: number[] = []
    const iterator = await this.#core.index.iterate(...chunkKeyRange(lineage.id))
    try {
      await readNewest(iterator, view, (row) => {
        if (row.generation > older.generation) changed.push(row.chunk)
      })
    } finally {
      await iterator.close()
    }
    yield* extents(changed, lineage.chunkBytes, newer.sizeBytes)
  }

  // Restore and hydration

  async restore(
    from: SnapshotName,
    options: { name: string; rate?: Rate; paused?: boolean; linked?: boolean; sizeBytes?: number },
  ): Promise<DiskInfo> {
    const snapshot = this.#snapshot(from)
    const name = this.#freeDiskName(options.name)
    const sizeBytes = checkDiskBytes(options.sizeBytes ?? snapshot.sizeBytes)
    const rate = checkRate(options.rate === undefined ? this.#rateDefault() : options.rate)
    if (sizeBytes < snapshot.sizeBytes) {
      throw new StoreError(
        'SIZE_INVALID',
        `${from.disk}@${from.snapshot} has ${snapshot.sizeBytes} bytes: a disk restored from it cannot have fewer`,
      )
    }
    const parent = this.#lineage(snapshot.lineage)
    const linked = (options.linked ?? false) && parent.depth < DEPTH_MAX
    return this.#reserving(`disk ${name}`, async () => {
      if (!linked) await this.#checkSpace(snapshot)
      // It may have been deleted meanwhile.
      if (this.#snapshot(from).id !== snapshot.id) throw this.#snapshotNotFound(from)
      const [lineage, id] = this.#ids(2)
      const record: LineageRecord = {
        ...newLineage({ id: lineage, chunkBytes: parent.chunkBytes }),
        origin: {
          lineage: parent.id,
          generation: snapshot.generation,
          snapshot: snapshot.id,
          sizeBytes: snapshot.sizeBytes,
        },
        linked,
        rate,
        paused: options.paused ?? false,
      }
      await this.#commit([
        { kind: 'lineage', id: lineage, value: record },
        { kind: 'disk', id, value: { id, name, lineage, sizeBytes, createdAt: this.#now() } },
      ])
      this.#counters.restores++
      this.#hydrate(record)
      return this.disk(name)
    })
  }

  hydrations(): HydrationInfo[] {
    return this.disks()
      .map(({ hydration }) => hydration)
      .filter((hydration) => hydration !== null)
  }

  hydration(name: string): HydrationInfo {
    const info = this.disk(name).hydration
    if (info !== null) return info
    throw this.#notHydrating(name)
  }

  async setHydration(name: string, change: { rate?: Rate; paused?: boolean }): Promise<HydrationInfo> {
    const disk = this.#disk(name)
    const hydration = this.#lineage(disk.lineage).hydration
    if (hydration === null) throw this.#notHydrating(name)
    if (change.rate !== undefined) checkRate(change.rate)
    const record = this.#lineageRecord(disk.lineage)
    await this.#commit([
      {
        kind: 'lineage',
        id: record.id,
        value: {
          ...record,
          rate: change.rate === undefined ? record.rate : change.rate,
          paused: change.paused ?? record.paused,
        },
      },
    ])
    hydration.set(change)
    return this.hydration(name)
  }

  // Devices

  diskDevice(name: string): Device {
    const disk = this.#disk(name)
    let device = this.#devices.get(disk.lineage)
    if (device === undefined) {
      device = new HeadDevice(this.#core, this.#lineage(disk.lineage), disk.sizeBytes)
      this.#devices.set(disk.lineage, device)
    }
    return device
  }

  snapshotDevice(name: SnapshotName): Device {
    const snapshot = this.#snapshot(name)
    return new SnapshotDevice(this.#core, this.#lineage(snapshot.lineage).view(snapshot.generation))
  }

  // The store as a whole

  async status(): Promise<StoreStatus> {
    const { directory, environment, files, marker } = this.#parts
    const { freeBytes, totalBytes } = await environment.files.space(directory)
    const indexBytes = await environment.files.directoryBytes(indexDirectory(directory))
    const states: string[] = []
    const warnings: string[] = []
    const { log, writeBack, cache } = this.#core
    if (log.failure !== undefined) states.push('failed')
    if (log.noSpace !== undefined) {
      states.push('no space')
      warnings.push('the file system of the data directory is full: writes are refused until there is room')
    }
    if (this.#reclaiming !== undefined) states.push('reclaiming')
    return {
      dataDirectory: directory,
      storeId: marker.storeId,
      formatVersion: marker.format,
      states,
      warnings,
      space: {
        provisionedBytes: [...this.#catalogue.disks.values()].reduce((sum, disk) => sum + disk.sizeBytes, 0),
        storedBytes: files.totalBytes + indexBytes,
        freeBytes,
        totalBytes,
        reserveBytes: this.#reserveBytes(totalBytes),
      },
      cacheBytes: cache.bytes,
      dirtyBytes: writeBack.dirtyBytes,
      counters: { ...this.#counters, waitingRows: this.#core.index.waitingRows },
    }
  }

  close(progress?: (dirtyBytes: number) => void): Promise<void> {
    this.#closing ??= this.#close(progress ?? (() => {}))
    return this.#closing
  }

  async #close(progress: (dirtyBytes: number) => void): Promise<void> {
    const core = this.#core
    const { clock } = this.#parts.environment
    this.#collectTimer?.cancel()
    for (const lineage of this.#parts.lineages.values()) await lineage.hydration?.stop()
    await this.#reclaiming?.catch(() => {})
    let open = true
    const report = () => {
      if (!open) return
      progress(core.writeBack.dirtyBytes)
      clock.after(1000, report)
    }
    clock.after(1000, report)
    try {
      for (const lineage of this.#parts.lineages.values()) await this.#flushForEver(lineage)
      // Whole chunks spare the next start the replay of patches; a base that cannot be read leaves its patch in the log.
      for (const lineage of this.#parts.lineages.values()) {
        await core.writeBack.settle(lineage, GENERATION_MAX).catch(() => {})
        await core.discards.drained(lineage)
      }
      await core.index.drain()
    } finally {
      open = false
      core.writeBack.stop()
      await core.discards.stop()
      await core.writeBack.idle()
      await core.log.close().catch(() => {})
      try {
        await core.index.close()
      } finally {
        await core.reader.close()
        await this.#parts.files.close()
      }
    }
  }

  /** A full file system is waited for; anything else ends the attempt. */
  async #flushForEver(lineage: Lineage): Promise<void> {
    for (;;) {
      const error = await new Promise<Error | null>((resolve) => this.#core.writeBack.flush(lineage, resolve))
      if (error === null) return
      if (!(error instanceof StoreError) || error.code !== 'NO_SPACE') throw error
      await new Promise<void>((resolve) => this.#parts.environment.clock.after(RETRY_MILLIS, resolve))
    }
  }

  // Catalogue changes

  /** Makes a change: visible at once, durable when this resolves. */
  async #commit(changes: Change[]): Promise<void> {
    this.#apply(changes)
    await this.#core.log.synced()
  }

  /** Makes a change, or throws before anything was changed; durable with the next sync of the log. */
  #apply(changes: Change[]): void {
    if (this.#closing !== undefined) throw new StoreError('STORE_STOPPING', 'the store is being closed')
    const { log, index } = this.#core
    const refused = log.failure ?? log.noSpace
    if (refused !== undefined) throw refused
    // Numbers are never used twice: the counter travels with what uses it.
    if (!changes.some(({ kind }) => kind === 'setting'))
      changes.push({ kind: 'setting', id: 0, value: this.#catalogue.settings })
    this.#catalogue.apply(changes)
    appendMeta(log, () => ++this.#core.sequence, { changes })
    for (const change of changes) {
      if (change.kind === 'lineage' && change.value !== null && !this.#parts.lineages.has(change.id))
        this.#parts.connect(change.value)
    }
    index.catalogueChanged()
  }

  #ids<N extends number>(count: N): N extends 2 ? [number, number] : [number] {
    const { settings } = this.#catalogue
    this.#catalogue.settings = { ...settings, nextId: settings.nextId + count }
    return Array.from({ length: count }, (_, i) => settings.nextId + i) as N extends 2 ? [number, number] : [number]
  }

  /** Keeps a name for an operation while it runs, so that a second one cannot take it. */
  async #reserving<T>(name: string, run: () => Promise<T>): Promise<T> {
    if (this.#reserved.has(name)) {
      const code = name.startsWith('disk') ? 'DISK_EXISTS' : 'SNAPSHOT_EXISTS'
      throw new StoreError(code, `${name} is being made by another request`)
    }
    this.#reserved.add(name)
    try {
      return await run()
    } finally {
      this.#reserved.delete(name)
    }
  }

  #now(): number {
    return this.#parts.environment.clock.wallMillis()
  }

  #rateDefault(): Rate {
    const { hydrationRateDefault } = this.#parts.options
    return hydrationRateDefault === undefined ? HYDRATION_RATE_DEFAULT : hydrationRateDefault
  }

  // Look-ups

  #disk(name: string): DiskRecord {
    const disk = this.#catalogue.diskNamed(name)
    if (disk !== undefined) return disk
    const details = { disk: name }
    throw new StoreError('DISK_NOT_FOUND', `there is no disk ${name}: see 'thaw disk list'`, { details })
  }

  #snapshot(name: SnapshotName): SnapshotRecord {
    const snapshot = this.#catalogue.snapshotNamed(name.disk, name.snapshot)
    if (snapshot === undefined) throw this.#snapshotNotFound(name)
    return snapshot
  }

  #snapshotNotFound(name: SnapshotName): StoreError {
    const where = `there is no snapshot ${name.disk}@${name.snapshot}`
    if (this.#catalogue.diskNamed(name.disk) === undefined && !this.#hasSnapshotsOf(name.disk)) {
      return new StoreError('SNAPSHOT_NOT_FOUND', `${where}, and no disk ${name.disk}: see 'thaw snapshot list'`, {
        details: { ...name },
      })
    }
    return new StoreError('SNAPSHOT_NOT_FOUND', `${where}: see 'thaw snapshot list ${name.disk}'`, {
      details: { ...name },
    })
  }

  #hasSnapshotsOf(disk: string): boolean {
    for (const { disk: id, diskName } of this.#catalogue.snapshots.values())
      if (id === null && diskName === disk) return true
    return false
  }

  #lineage(id: number): Lineage {
    return this.#parts.lineages.get(id) as Lineage
  }

  #lineageRecord(id: number): LineageRecord {
    return this.#catalogue.lineages.get(id) as LineageRecord
  }

  #freeDiskName(name: string): string {
    checkName(name, 'disk')
    if (this.#catalogue.diskNamed(name) !== undefined)
      throw new StoreError('DISK_EXISTS', `disk ${name} exists: choose another name`)
    if (this.#hasSnapshotsOf(name)) {
      throw new StoreError(
        'DISK_EXISTS',
        `a deleted disk ${name} still has snapshots: delete them, or choose another name`,
      )
    }
    return name
  }

  #nameOfNow(disk: DiskRecord): string {
    const base = nameOfTime(this.#now())
    const taken = (name: string) =>
      this.#catalogue.snapshotNamed(disk.name, name) !== undefined || this.#reserved.has(`snapshot ${disk.id}@${name}`)
    let name = base
    for (let n = 2; taken(name); n++) name = `${base}-${n}`
    return name
  }

  #checkUnused(snapshot: SnapshotRecord): void {
    const users = this.#usersOf(snapshot)
    if (users.length === 0) return
    const disk = this.#snapshotInfo(snapshot).disk
    const reasons = users.map((user) => {
      const hydration = this.#catalogue.diskNamed(user) === undefined ? null : this.disk(user).hydration
      if (hydration === null) return `${user} reads through it`
      const percent =
        hydration.completionPercent === null ? 'not counted yet' : `${hydration.completionPercent.toFixed(1)} %`
      const eta = hydration.etaSeconds === null ? '' : `, about ${Math.ceil(hydration.etaSeconds)} s left`
      return `${user} is hydrating from it (${percent}${eta})`
    })
    throw new StoreError(
      'SNAPSHOT_IN_USE',
      `snapshot ${disk}@${snapshot.name} is in use: ${reasons.join('; ')}. Wait for it, or delete that disk first`,
      {
        details: {
          usedBy: users,
          hydrations: users
            .filter((user) => this.#catalogue.diskNamed(user) !== undefined)
            .map((user) => this.disk(user).hydration)
            .filter((hydration) => hydration !== null),
        },
      },
    )
  }

  /** Names of what reads through a snapshot. */
  #usersOf(snapshot: SnapshotRecord): string[] {
    return this.#catalogue.usersOf(snapshot.id).map((lineage) => {
      const disk = this.#catalogue.diskOf(lineage.id)
      if (disk !== undefined) return disk.name
      const kept = [...this.#catalogue.snapshots.values()].find((other) => other.lineage === lineage.id)
      return kept === undefined ? `lineage ${lineage.id}` : `${kept.diskName}@${kept.name}`
    })
  }

  #notHydrating(name: string): StoreError {
    const { linked } = this.disk(name)
    const why = linked ? 'is linked and never copies' : 'stands alone: there is nothing to hydrate'
    return new StoreError('NOT_HYDRATING', `disk ${name} ${why}`)
  }

  // Descriptions

  #diskInfo(disk: DiskRecord): DiskInfo {
    const record = this.#lineageRecord(disk.lineage)
    const lineage = this.#lineage(disk.lineage)
    const origin = this.#originName(record)
    return {
      id: disk.id,
      name: disk.name,
      sizeBytes: disk.sizeBytes,
      chunkBytes: lineage.chunkBytes,
      createdAt: new Date(disk.createdAt).toISOString(),
      isDefault: this.#catalogue.settings.defaultDisk === disk.id,
      snapshotCount: this.#catalogue.snapshotsOf(disk.id).length,
      origin,
      linked: record.linked,
      hydration: lineage.hydration === null ? null : hydrationInfo(disk.name, origin ?? '', lineage.hydration),
      dirtyBytes: lineage.dirtyBytes,
    }
  }

  #originName(record: LineageRecord): string | null {
    if (record.origin === null) return null
    const snapshot = this.#catalogue.snapshots.get(record.origin.snapshot)
    if (snapshot === undefined) return null
    return `${this.#snapshotInfo(snapshot).disk}@${snapshot.name}`
  }

  #snapshotInfo(snapshot: SnapshotRecord): SnapshotInfo {
    const disk = snapshot.disk === null ? undefined : this.#catalogue.disks.get(snapshot.disk)
    return {
      id: snapshot.id,
      disk: disk?.name ?? snapshot.diskName,
      diskExists: disk !== undefined,
      name: snapshot.name,
      sizeBytes: snapshot.sizeBytes,
      chunkBytes: this.#lineageRecord(snapshot.lineage).chunkBytes,
      createdAt: new Date(snapshot.createdAt).toISOString(),
      usedBy: this.#usersOf(snapshot),
    }
  }

  // Hydration

  #hydrate(record: LineageRecord): void {
    const lineage = this.#lineage(record.id)
    if (lineage.origin === null || record.linked || lineage.hydration !== null) return
    const disk = () => this.#catalogue.diskOf(record.id)
    // Kept without its disk, it stays as it is: nobody waits for it.
    if (disk() === undefined) return
    const origin = this.#originName(record) ?? ''
    const hydration = new Hydration(this.#core, lineage, {
      rate: record.rate,
      paused: record.paused,
      total: this.#total,
      inlineBytesMax: this.#parts.inlineBytesMax,
      hasSpace: () => this.#hasSpace(),
      onState: (state, reason) => {
        if (state !== 'surveying')
          this.#parts.onEvent({ type: 'hydration-state', disk: disk()?.name ?? '', state, reason })
      },
      finish: async () => {
        // Who looks for rows of this lineage in LevelDB only must find the copies there once he cannot look in the origin.
        await this.#core.index.drain()
        if (lineage.dead) return
        await this.#commit([
          { kind: 'lineage', id: record.id, value: { ...this.#lineageRecord(record.id), origin: null } },
        ])
        lineage.origin = null
        lineage.hydration = null
        this.#parts.onEvent({ type: 'hydration-finished', disk: disk()?.name ?? '', origin })
      },
    })
    this.#parts.onEvent({ type: 'hydration-started', disk: disk()?.name ?? '', origin })
    hydration.start()
  }

  async #hasSpace(): Promise<boolean> {
    const { freeBytes, totalBytes } = await this.#parts.environment.files.space(this.#parts.directory)
    return freeBytes > this.#reserveBytes(totalBytes)
  }

  #reserveBytes(totalBytes: number): number {
    return this.#parts.options.reserveBytes ?? Math.max(RESERVE_BYTES_MIN, Math.round(totalBytes * RESERVE_PART))
  }

  /** Refuses a restore that copies more than there is room for. What the snapshot holds is only counted when it may matter. */
  async #checkSpace(snapshot: SnapshotRecord): Promise<void> {
    const { directory, environment, files } = this.#parts
    const { freeBytes, totalBytes } = await environment.files.space(directory)
    const room = freeBytes - this.#reserveBytes(totalBytes)
    if (Math.min(snapshot.sizeBytes, files.totalBytes) <= room) return
    const needed = await this.#storedBytes(this.#lineage(snapshot.lineage).view(snapshot.generation))
    if (needed <= room) return
    throw new StoreError(
      'NOT_ENOUGH_SPACE',
      `a copy takes ${needed} bytes and ${Math.max(0, room)} are free beyond the reserve: make room, or use --linked, which copies nothing`,
      { details: { neededBytes: needed, freeBytes, reserveBytes: this.#reserveBytes(totalBytes) } },
    )
  }

  /** Stored bytes that a view reads, by a scan of its lineages' rows. An upper bound where lineages overlap. */
  async #storedBytes(view: View): Promise<number> {
    await this.#core.index.drain()
    let bytes = 0
    for (let at: View | undefined = view; at !== undefined; at = at.lineage.origin?.view) {
      const iterator = await this.#core.index.iterate(...chunkKeyRange(at.lineage.id))
      try {
        await readNewest(iterator, at, (row) => {
          if (row.kind === RowKind.CHUNK) bytes += row.payloadBytes
        })
      } finally {
        await iterator.close()
      }
    }
    return bytes
  }

  // Freeing

  #forget(lineage: Lineage): void {
    this.#devices.delete(lineage.id)
    forgetLineage(lineage, this.#core)
    this.#parts.lineages.delete(lineage.id)
  }

  /** Frees what deletions left, in the background. */
  #reclaim(): void {
    if (this.#reclaiming !== undefined || this.#closing !== undefined || this.#catalogue.reclaims.size === 0) return
    this.#reclaiming = this.#reclaimAll()
      .catch((error: unknown) => {
        // The index reports its own failures; the catalogue remembers what is left, and the timer tries again.
        if (systemCode(error) === undefined && !(error instanceof StoreError))
          this.#parts.onEvent({ type: 'index-failed', error: String(error) })
      })
      .finally(() => {
        this.#reclaiming = undefined
      })
  }

  async #reclaimAll(): Promise<void> {
    for (;;) {
      const [reclaim] = this.#catalogue.reclaims.values()
      if (reclaim === undefined) break
      if (this.#closing !== undefined) return
      const { id } = reclaim
      const living = () => [
        ...(this.#parts.lineages.get(id)?.frozen ?? []),
        ...(this.#catalogue.diskOf(id) === undefined ? [] : [GENERATION_MAX]),
      ]
      // The decision must be durable in the index before anything that it frees is gone. What is deleted meanwhile is
      // not, and counts as living this time.
      const lives = this.#catalogue.lineages.has(id)
      const decided = living()
      await this.#core.index.drain()
      if (!lives) await removeLineage(this.#core, id)
      else if (!(await removeUnread(this.#core, id, () => [...decided, ...living()], this.#isClosing))) return
      // Another deletion may have asked for the same lineage while it was being gone through.
      if (this.#catalogue.reclaims.get(id) === reclaim) await this.#commit([{ kind: 'reclaim', id, value: null }])
    }
    await this.#collect()
  }

  readonly #isClosing = (): boolean => this.#closing !== undefined

  async #collect(): Promise<void> {
    await this.#core.index.drain()
    this.#counters.segmentsRemoved += await removeDeadSegments(this.#core, this.#parts.files, {
      complete: segmentOf(this.#parts.checkpoint()),
      dataRows: this.#parts.marker.chunkBytes === 'leveldb',
      saveCatalogue: async () => {
        appendCatalogue(this.#core.log, () => ++this.#core.sequence, this.#catalogue)
        await this.#core.log.synced()
      },
      stopped: this.#isClosing,
    })
    this.#collectedBytes = this.#parts.files.totalBytes
  }

  /** From time to time, when the log has grown: what was overwritten comes back where whole segments are dead. */
  #collectLater(): void {
    if (this.#closing !== undefined) return
    this.#collectTimer = this.#parts.environment.clock.after(COLLECT_MILLIS, () => {
      const grown = this.#parts.files.totalBytes - this.#collectedBytes
      const due =
        this.#parts.marker.chunkBytes === 'leveldb'
          ? grown > 0
          : grown > Math.max(COLLECT_BYTES, this.#collectedBytes / 4)
      if (this.#catalogue.reclaims.size > 0) this.#reclaim()
      else if (due && this.#reclaiming === undefined) {
        this.#reclaiming = this.#collect()
          .catch(() => {})
          .finally(() => {
            this.#reclaiming = undefined
          })
      }
      this.#collectLater()
    })
  }
}

function newLineage(options: { id: number; chunkBytes: number }): LineageRecord {
  return { ...options, generation: 1, origin: null, linked: false, rate: null, paused: false }
}

function hydrationInfo(disk: string, origin: string, hydration: Hydration): HydrationInfo {
  const { totalBytes, remainingBytes, currentRate, rate } = hydration
  const known = totalBytes !== null && remainingBytes !== null
  const pace = currentRate > 0 ? currentRate : (rate ?? 0)
  return {
    disk,
    origin,
    state: hydration.state,
    // Below 100 for as long as this exists: the origin is cut when all is durable.
    completionPercent: known
      ? totalBytes === 0
        ? 0
        : Math.min(99.99, Math.floor((1 - remainingBytes / totalBytes) * 10_000) / 100)
      : null,
    totalBytes,
    hydratedBytes: known ? totalBytes - remainingBytes : null,
    rate,
    currentRate: hydration.state === 'running' ? currentRate : 0,
    etaSeconds: known && hydration.state === 'running' && pace > 0 ? remainingBytes / pace : null,
    lastError: hydration.lastError,
  }
}

/** Chunk numbers, rising, as byte ranges. */
function* extents(chunks: number[], chunkBytes: number, sizeBytes: number): Generator<DiffExtent> {
  for (let i = 0; i < chunks.length;) {
    const first = chunks[i] as number
    let end = first + 1
    for (i++; i < chunks.length && chunks[i] === end; i++) end++
    const offset = first * chunkBytes
    yield { offset, length: Math.min(end * chunkBytes, sizeBytes) - offset }
  }
}
