/**
 * The catalogue: disks, lineages, snapshots and settings. A change is one META
 * record in the log, all of it or nothing, and reaches LevelDB later with the
 * index rows. Everything refers to everything else by number, so renaming
 * breaks nothing; numbers are never used twice.
 */

import { catalogueKey } from './row.ts'

export interface DiskRecord {
  readonly id: number
  readonly name: string
  readonly lineage: number
  readonly sizeBytes: number
  /** Milliseconds since 1970. */
  readonly createdAt: number
}

export interface OriginRecord {
  readonly lineage: number
  readonly generation: number
  readonly snapshot: number
  /** Bytes of the snapshot's disk; beyond them the origin is not asked. */
  readonly sizeBytes: number
}

export interface LineageRecord {
  readonly id: number
  readonly chunkBytes: number
  /** The head's generation, or a lower one: rows and records may know better. */
  readonly generation: number
  readonly origin: OriginRecord | null
  readonly linked: boolean
  /** Bytes a second; null is unlimited. */
  readonly rate: number | null
  readonly paused: boolean
}

export interface SnapshotRecord {
  readonly id: number
  readonly name: string
  readonly lineage: number
  readonly generation: number
  readonly sizeBytes: number
  readonly createdAt: number
  /** Null once the disk was deleted and its snapshots kept; then `diskName` is what it was called. */
  readonly disk: number | null
  readonly diskName: string
}

/** The only settings record, number 0. */
export interface SettingsRecord {
  readonly id: number
  readonly defaultDisk: number | null
  /** The next number for disks, lineages and snapshots. */
  readonly nextId: number
}

/** Rows and bytes of what was deleted, still to be freed: lineages gone, or holding generations that nobody needs. */
export interface ReclaimRecord {
  /** Of the lineage. */
  readonly id: number
}

interface Kinds {
  disk: DiskRecord
  lineage: LineageRecord
  snapshot: SnapshotRecord
  setting: SettingsRecord
  reclaim: ReclaimRecord
}

export type Kind = keyof Kinds

export type Change = { [K in Kind]: { kind: K; id: number; value: Kinds[K] | null } }[Kind]

export class Catalogue {
  readonly disks = new Map<number, DiskRecord>()
  readonly lineages = new Map<number, LineageRecord>()
  readonly snapshots = new Map<number, SnapshotRecord>()
  readonly reclaims = new Map<number, ReclaimRecord>()
  settings: SettingsRecord = { id: 0, defaultDisk: null, nextId: 1 }
  /** Changed since LevelDB last took them. */
  #changed = new Map<string, [Buffer, Buffer | undefined]>()

  apply(changes: readonly Change[]): void {
    for (const change of changes) {
      this.load(change)
      const value = change.value === null ? undefined : Buffer.from(JSON.stringify(change.value))
      this.#changed.set(`${change.kind}:${change.id}`, [catalogueKey(change.kind, change.id), value])
    }
  }

  /** Takes what LevelDB has, or what `apply` changes. */
  load(change: Change): void {
    switch (change.kind) {
      case 'disk':
        return put(this.disks, change.id, change.value)
      case 'lineage':
        return put(this.lineages, change.id, change.value)
      case 'snapshot':
        return put(this.snapshots, change.id, change.value)
      case 'reclaim':
        return put(this.reclaims, change.id, change.value)
      case 'setting':
        if (change.value !== null) this.settings = change.value
    }
  }

  /** The catalogue as changes to an empty one. */
  all(): Change[] {
    return [
      ...[...this.disks.values()].map((value) => ({ kind: 'disk', id: value.id, value }) as const),
      ...[...this.lineages.values()].map((value) => ({ kind: 'lineage', id: value.id, value }) as const),
      ...[...this.snapshots.values()].map((value) => ({ kind: 'snapshot', id: value.id, value }) as const),
      ...[...this.reclaims.values()].map((value) => ({ kind: 'reclaim', id: value.id, value }) as const),
      { kind: 'setting', id: 0, value: this.settings },
    ]
  }

  /** Forgets everything, for a record of the whole that follows. */
  clear(): void {
    for (const { kind, id } of this.all()) if (kind !== 'setting') this.apply([{ kind, id, value: null }])
  }

  takeChanges(): Map<string, [Buffer, Buffer | undefined]> {
    const changed = this.#changed
    this.#changed = new Map()
    return changed
  }

  diskNamed(name: string): DiskRecord | undefined {
    for (const disk of this.disks.values()) if (disk.name === name) return disk
    return undefined
  }

  /** Of a disk, or of the disk of that name that was deleted with its snapshots kept. */
  snapshotNamed(diskName: string, name: string): SnapshotRecord | undefined {
    const disk = this.diskNamed(diskName)
    for (const snapshot of this.snapshots.values()) {
      if (snapshot.name !== name) continue
      if (disk === undefined ? snapshot.disk === null && snapshot.diskName === diskName : snapshot.disk === disk.id)
        return snapshot
    }
    return undefined
  }

  /** The oldest first. */
  snapshotsOf(disk: number): SnapshotRecord[] {
    return [...this.snapshots.values()].filter((snapshot) => snapshot.disk === disk).sort((a, b) => a.id - b.id)
  }

  /** Generations of a lineage that snapshots hold, rising. */
  generationsOf(lineage: number): number[] {
    const generations: number[] = []
    for (const snapshot of this.snapshots.values())
      if (snapshot.lineage === lineage) generations.push(snapshot.generation)
    return generations.sort((a, b) => a - b)
  }

  /** Lineages that read through a snapshot. */
  usersOf(snapshot: number): LineageRecord[] {
    return [...this.lineages.values()].filter((lineage) => lineage.origin?.snapshot === snapshot)
  }

  diskOf(lineage: number): DiskRecord | undefined {
    for (const disk of this.disks.values()) if (disk.lineage === lineage) return disk
    return undefined
  }
}

function put<T>(map: Map<number, T>, id: number, value: T | null): void {
  if (value === null) map.delete(id)
  else map.set(id, value)
}
