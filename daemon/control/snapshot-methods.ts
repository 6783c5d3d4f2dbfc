import type { DiffExtent } from '../../storage/contract.ts'
import { StoreError } from '../../storage/errors.ts'
import { formatSize } from '../quantities.ts'
import { clientsOfSnapshot, refuseWhileSnapshotsAttached } from './attached.ts'
import type { Methods } from './method.ts'
import { bytes, flag, listOf, objectOf, optional, rate, snapshotName, text } from './parameters.ts'

type SnapshotMethod =
  | 'snapshot.create'
  | 'snapshot.list'
  | 'snapshot.show'
  | 'snapshot.rename'
  | 'snapshot.delete'
  | 'snapshot.diff'
  | 'restore'

/** Extents in one notification: about 40 KiB of JSON. */
const extentsMax = 1024

export const snapshotMethods: Methods<SnapshotMethod> = {
  'snapshot.create': {
    fields: { disk: text, snapshot: optional(text) },
    run: async ({ disk, snapshot }, { target }) => ({ snapshot: await target.store.createSnapshot(disk, snapshot) }),
    logLine: (_, { snapshot }) => `snapshot ${snapshot.disk}@${snapshot.name} created`,
  },

  'snapshot.list': {
    fields: { disk: optional(text) },
    run: ({ disk }, { target }) => ({ snapshots: target.store.snapshots(disk) }),
  },

  'snapshot.show': {
    fields: { disk: text, snapshot: text },
    run: (name, { target }) => ({ snapshot: target.store.snapshot(name), clients: clientsOfSnapshot(target, name) }),
  },

  'snapshot.rename': {
    fields: { disk: text, snapshot: text, newName: text },
    run: async ({ disk, snapshot, newName }, { target }) => {
      const name = { disk, snapshot }
      target.store.snapshot(name)
      refuseWhileSnapshotsAttached(target, [name])
      return { snapshot: await target.store.renameSnapshot(name, newName) }
    },
    logLine: (from, { snapshot }) => `snapshot ${from.disk}@${from.snapshot} renamed to ${snapshot.name}`,
  },

  'snapshot.delete': {
    fields: { snapshots: listOf(snapshotName) },
    run: async ({ snapshots }, { target }) => {
      for (const name of snapshots) target.store.snapshot(name)
      refuseWhileSnapshotsAttached(target, snapshots)
      await target.store.deleteSnapshots(snapshots)
      return { deleted: snapshots.map(({ disk, snapshot }) => `${disk}@${snapshot}`) }
    },
    logLine: (_, { deleted }) =>
      deleted.length === 1
        ? `snapshot ${deleted[0]} deleted`
        : `${deleted.length} snapshots deleted, the first ${deleted[0]}`,
  },

  'snapshot.diff': {
    fields: {
      from: snapshotName,
      to: objectOf<{ disk: string; snapshot?: string }>({ disk: text, snapshot: optional(text) }),
    },
    run: async ({ from, to }, { target, connection, requestId }) => {
      const { store } = target
      if (from.disk !== to.disk) {
        throw new StoreError(
          'ARGUMENT_INVALID',
          `${from.disk} and ${to.disk} are two disks: a diff compares what one disk held at two times`,
        )
      }
      const { sizeBytes } =
        to.snapshot === undefined ? store.disk(to.disk) : store.snapshot({ disk: to.disk, snapshot: to.snapshot })
      let extentCount = 0
      let changedBytes = 0
      let extents: DiffExtent[] = []
      const send = async (): Promise<void> => {
        connection.notify('snapshot.diff.extents', { request: requestId, extents })
        extents = []
        await connection.drained()
      }
      for await (const extent of store.diff(
        from,
        to.snapshot === undefined ? null : { disk: to.disk, snapshot: to.snapshot },
      )) {
        extentCount += 1
        changedBytes += extent.length
        if (extents.push(extent) === extentsMax) await send()
      }
      if (extents.length > 0) await send()
      return { extentCount, changedBytes, sizeBytes }
    },
  },

  restore: {
    fields: {
      disk: text,
      snapshot: text,
      name: text,
      rate: optional(rate),
      paused: optional(flag),
      linked: optional(flag),
      sizeBytes: optional(bytes),
    },
    run: async ({ disk, snapshot, ...options }, { target }) => {
      const { store } = target
      const from = { disk, snapshot }
      // The store counts what is really there only afterwards; until then it is no more than the snapshot, nor than all that is stored.
      const { sizeBytes } = store.snapshot(from)
      const { storedBytes, freeBytes } = (await store.status()).space
      const restored = await store.restore(from, options)
      const neededBytesMax = restored.linked ? 0 : (restored.hydration?.totalBytes ?? Math.min(sizeBytes, storedBytes))
      return { disk: restored, space: { neededBytesMax, freeBytes } }
    },
    logLine: (from, { disk }) =>
      `snapshot ${from.disk}@${from.snapshot} restored to disk ${disk.name}, ${formatSize(disk.sizeBytes)}${disk.linked ? ', linked' : ''}`,
  },
}
