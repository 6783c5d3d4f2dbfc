/**
 * What the store offers to the process around it: the catalogue operations as
 * promises (cold), the devices as callbacks (hot). `Store` in `store.ts`
 * implements `StoreContract`; the daemon and its tests need only this page.
 *
 * All sizes are bytes, all rates bytes a second, all times ISO 8601 UTC.
 */

/** The party that waits for one I/O; the same shape as the protocol's. */
export interface Completion {
  complete(error: Error | null): void
}

/** A device of the store: a disk's head, or a snapshot (then the writing methods must not be called). */
export interface Device {
  read(offset: number, into: Buffer, completion: Completion): void
  write(offset: number, payload: Buffer, fua: boolean, completion: Completion): void
  trim(offset: number, length: number, fua: boolean, completion: Completion): void
  writeZeroes(offset: number, length: number, noHole: boolean, fua: boolean, completion: Completion): void
  flush(completion: Completion): void
}

/** A rate: bytes a second, at least 1; `null` is unlimited. */
export type Rate = number | null

export interface DiskInfo {
  readonly id: number
  readonly name: string
  readonly sizeBytes: number
  readonly chunkBytes: number
  readonly createdAt: string
  /** Whether the empty export name means this disk. */
  readonly isDefault: boolean
  readonly snapshotCount: number
  /** `DISK@SNAP` that this disk reads through, or null once it stands alone. */
  readonly origin: string | null
  /** Never copies; holds the origin for as long as it lives. */
  readonly linked: boolean
  /** Present while the disk reads through an origin and is not linked. */
  readonly hydration: HydrationInfo | null
  /** Bytes accepted and not yet in the log. */
  readonly dirtyBytes: number
}

export interface SnapshotInfo {
  readonly id: number
  /** Name of the disk, or the name that it had when it was deleted with its snapshots kept. */
  readonly disk: string
  /** False when the disk was deleted and its snapshots kept. */
  readonly diskExists: boolean
  readonly name: string
  readonly sizeBytes: number
  readonly chunkBytes: number
  readonly createdAt: string
  /** Names of the disks (and kept lineages) that read through it. */
  readonly usedBy: readonly string[]
}

export type HydrationState =
  /** Counting what there is to copy; `completionPercent` is null until that is known. */
  | 'surveying'
  | 'running'
  | 'paused'
  /** Paused by the store because the file system is nearly full; goes on by itself. */
  | 'paused: no space'
  /** Reading the origin failed; retried with a growing delay. `lastError` says why. */
  | 'retrying'

export interface HydrationInfo {
  readonly disk: string
  readonly origin: string
  readonly state: HydrationState
  /** 0 to 100, never rounded up to 100 before all is durable; null while not known yet. */
  readonly completionPercent: number | null
  /** Bytes of the origin that this disk needs in all, and those of them that are durably its own; null while not known yet. */
  readonly totalBytes: number | null
  readonly hydratedBytes: number | null
  /** The ceiling that was set. */
  readonly rate: Rate
  /** What was achieved over the last seconds, bytes a second. */
  readonly currentRate: number
  /** Null when paused or not yet known. */
  readonly etaSeconds: number | null
  readonly lastError: string | null
}

export interface SpaceInfo {
  /** Sum of the sizes of all disks. */
  readonly provisionedBytes: number
  /** Segments, index and all else in the data directory. */
  readonly storedBytes: number
  /** Of the file system under the data directory. */
  readonly freeBytes: number
  readonly totalBytes: number
  /** Background work stops when `freeBytes` falls below this. */
  readonly reserveBytes: number
}

export interface StoreStatus {
  readonly dataDirectory: string
  readonly storeId: string
  readonly formatVersion: number
  /** What the store is doing for itself, as short words: `reclaiming`, `no space`, ... */
  readonly states: readonly string[]
  /** Sentences that a person should read. */
  readonly warnings: readonly string[]
  readonly space: SpaceInfo
  readonly cacheBytes: number
  readonly dirtyBytes: number
  readonly counters: Readonly<Record<string, number>>
}

export interface DiffExtent {
  readonly offset: number
  readonly length: number
}

/** Names are checked by the store: `NAME_INVALID`. A snapshot is named by its disk and its own name. */
export interface SnapshotName {
  readonly disk: string
  readonly snapshot: string
}

export interface StoreContract {
  status(): Promise<StoreStatus>

  /** `chunkBytes` is a power of two, 4 KiB to 1 MiB. Codes: NAME_INVALID, SIZE_INVALID, CHUNK_SIZE_INVALID, DISK_EXISTS. */
  createDisk(options: { name: string; sizeBytes: number; chunkBytes?: number }): Promise<DiskInfo>
  /** In the order of their names. */
  disks(): DiskInfo[]
  disk(name: string): DiskInfo
  renameDisk(name: string, newName: string): Promise<DiskInfo>
  /** Only grows: SIZE_INVALID otherwise. That no client is attached, or that `--online` was said, is checked by the daemon. */
  resizeDisk(name: string, sizeBytes: number): Promise<DiskInfo>
  /** Without `snapshots` a disk that has some is refused (DISK_HAS_SNAPSHOTS). */
  deleteDisk(name: string, options?: { snapshots?: 'delete' | 'keep' }): Promise<void>
  /** `null` removes the default. */
  setDefaultDisk(name: string | null): Promise<void>
  /** The name of the default disk, or null. */
  readonly defaultDisk: string | null

  /** Freezes the disk as it is at this call and resolves when the snapshot is durable. Without a name it gets one from the UTC time. */
  createSnapshot(disk: string, name?: string): Promise<SnapshotInfo>
  /** In the order of disk names, then of age. Snapshots whose disk was deleted are listed too. */
  snapshots(disk?: string): SnapshotInfo[]
  snapshot(name: SnapshotName): SnapshotInfo
  renameSnapshot(name: SnapshotName, newName: string): Promise<SnapshotInfo>
  /** All or none: SNAPSHOT_NOT_FOUND, SNAPSHOT_IN_USE (details say by whom, with percent and ETA). */
  deleteSnapshots(names: readonly SnapshotName[]): Promise<void>
  /** What `to` holds otherwise than `from` (snapshots of one disk, or `to` null for the disk's head), in rising order. */
  diff(from: SnapshotName, to: SnapshotName | null): AsyncIterable<DiffExtent>

  /** Resolves when the new disk is durable in the catalogue and usable; its data hydrates afterwards. */
  restore(
    from: SnapshotName,
    options: { name: string; rate?: Rate; paused?: boolean; linked?: boolean; sizeBytes?: number },
  ): Promise<DiskInfo>

  hydrations(): HydrationInfo[]
  /** NOT_HYDRATING when the disk stands alone or is linked. */
  hydration(disk: string): HydrationInfo
  setHydration(disk: string, change: { rate?: Rate; paused?: boolean }): Promise<HydrationInfo>

  /** The device of a disk's head. The same object for as long as the disk lives. DISK_NOT_FOUND. */
  diskDevice(name: string): Device
  /** The read-only device of a snapshot. SNAPSHOT_NOT_FOUND. */
  snapshotDevice(name: SnapshotName): Device

  /** Makes everything durable and closes. `progress` is called about once a second with what is left. */
  close(progress?: (dirtyBytes: number) => void): Promise<void>
}

/** What the store tells while it works. The daemon turns these into log lines; none is on a hot path. */
export type StoreEvent =
  | { readonly type: 'hydration-started' | 'hydration-finished'; readonly disk: string; readonly origin: string }
  | {
      readonly type: 'hydration-state'
      readonly disk: string
      readonly state: HydrationState
      readonly reason: string | null
    }
  | { readonly type: 'no-space' | 'space-back' }
  | { readonly type: 'recovered'; readonly records: number; readonly bytes: number; readonly millis: number }
  | { readonly type: 'chunk-damaged'; readonly disk: string; readonly offset: number; readonly detail: string }
  | { readonly type: 'index-failed' | 'index-reopened'; readonly error: string }
  /** Reads go through the thread pool from here on. */
  | { readonly type: 'reading-thread-lost'; readonly error: Error }
  /** After a failed fsync or append: every write and flush gets an error from here on and the process must end. */
  | { readonly type: 'failed'; readonly error: Error }
