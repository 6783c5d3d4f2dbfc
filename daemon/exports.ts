/**
 * The store as a table of exports: every disk is the export DISK, every
 * snapshot the read-only export DISK@SNAP, and the empty name is the disk that
 * somebody made the default. This is where protocol and storage meet.
 *
 * It also knows who holds what: `clients()` is what the control socket asks
 * before it lets a disk be deleted.
 */
import type { BlockDevice, ClientIdentity, Export, ExportTable } from '../protocol/export.ts'
import type { DiskInfo, SnapshotInfo, StoreContract } from '../storage/contract.ts'
import { StoreError } from '../storage/errors.ts'
import type { ClientInfo } from './control/wire.ts'
import { describeExport } from './export-description.ts'
import { nbdErrorNumber } from './nbd-errors.ts'
import { formatSize } from './quantities.ts'

/**
 * What clients are told to prefer. The store keeps a checksum for each 4 KiB and takes
 * smaller and unaligned requests too; a client that believed in a whole chunk would
 * begin to read and merge by itself what the store merges better.
 */
const preferredBlockBytes = 4096

export interface ExportsOptions {
  readonly store: StoreContract
  /** Of this store and no other, so that two disks never have the same id. */
  readonly storeId: string
  now?(): Date
}

/** What an export is, beside what the protocol needs to know of it. */
interface Subject {
  readonly disk: string
  readonly snapshot: string | null
  readonly size: number
  readonly description: string
}

export class Exports implements ExportTable {
  readonly #store: StoreContract
  readonly #storeId: string
  readonly #now: () => Date
  readonly #holders = new Map<ClientIdentity, ClientInfo>()
  #lastId = 0

  constructor({ store, storeId, now = () => new Date() }: ExportsOptions) {
    this.#store = store
    this.#storeId = storeId
    this.#now = now
  }

  /** Each disk, followed by its snapshots; then the snapshots whose disk is gone. */
  *list(): Generator<Export> {
    const snapshots = new Map<string, SnapshotInfo[]>()
    for (const snapshot of this.#store.snapshots()) {
      const siblings = snapshots.get(snapshot.disk)
      if (siblings === undefined) snapshots.set(snapshot.disk, [snapshot])
      else siblings.push(snapshot)
    }
    for (const disk of this.#store.disks()) {
      yield this.#disk(disk)
      for (const snapshot of snapshots.get(disk.name) ?? []) yield this.#snapshot(snapshot)
      snapshots.delete(disk.name)
    }
    for (const orphans of snapshots.values()) {
      for (const snapshot of orphans) yield this.#snapshot(snapshot)
    }
  }

  find(name: string): Export | undefined {
    const asked = name === '' ? this.#store.defaultDisk : name
    if (asked === null) return undefined
    try {
      const at = asked.indexOf('@')
      if (at < 0) return this.#disk(this.#store.disk(asked))
      return this.#snapshot(this.#store.snapshot({ disk: asked.slice(0, at), snapshot: asked.slice(at + 1) }))
    } catch (error) {
      if (error instanceof StoreError) return undefined
      throw error
    }
  }

  errorNumber(error: Error): number {
    return nbdErrorNumber(error)
  }

  /** The connections that hold an export, in the order in which they came. */
  clients(): ClientInfo[] {
    return [...this.#holders.values()]
  }

  #disk({ id, name, sizeBytes }: DiskInfo): Export {
    const description = this.#describe(`${formatSize(sizeBytes)} disk`, id)
    const subject = { disk: name, snapshot: null, size: sizeBytes, description }
    return this.#export(subject, this.#store.diskDevice(name))
  }

  #snapshot({ id, disk, name, sizeBytes, createdAt }: SnapshotInfo): Export {
    const description = this.#describe(`${formatSize(sizeBytes)} snapshot of ${createdAt}`, id)
    const subject = { disk, snapshot: name, size: sizeBytes, description }
    return this.#export(subject, this.#store.snapshotDevice({ disk, snapshot: name }))
  }

  #describe(words: string, id: number): string {
    return describeExport(words, `${this.#storeId}/${id}`)
  }

  #export({ disk, snapshot, size, description }: Subject, device: BlockDevice): Export {
    const name = snapshot === null ? disk : `${disk}@${snapshot}`
    const readOnly = snapshot !== null
    return {
      name,
      description,
      size,
      readOnly,
      preferredBlockBytes,
      device,
      hold: (client) => {
        this.#lastId += 1
        const { address, listener = '' } = client
        this.#holders.set(client, {
          id: this.#lastId,
          address,
          listener,
          export: name,
          disk,
          snapshot,
          readOnly,
          attachedAt: this.#now().toISOString(),
        })
      },
      release: (client) => void this.#holders.delete(client),
    }
  }
}
