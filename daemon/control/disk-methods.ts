import type { SnapshotInfo, SnapshotName } from '../../storage/contract.ts'
import { formatSize } from '../quantities.ts'
import { clientsOfDisk, refuseWhileDiskAttached, refuseWhileSnapshotsAttached } from './attached.ts'
import type { Methods } from './method.ts'
import { bytes, flag, oneOf, optional, text, textOrNull } from './parameters.ts'

type DiskMethod =
  'disk.create' | 'disk.list' | 'disk.show' | 'disk.rename' | 'disk.resize' | 'disk.delete' | 'disk.default'

export const diskMethods: Methods<DiskMethod> = {
  'disk.create': {
    fields: { name: text, sizeBytes: bytes, chunkBytes: optional(bytes) },
    run: async (params, { target }) => ({ disk: await target.store.createDisk(params) }),
    logLine: (_, { disk }) => `disk ${disk.name} created, ${formatSize(disk.sizeBytes)}`,
  },

  'disk.list': {
    fields: {},
    run: (_, { target }) => ({ disks: target.store.disks() }),
  },

  'disk.show': {
    fields: { name: text },
    run: ({ name }, { target }) => ({
      disk: target.store.disk(name),
      snapshots: target.store.snapshots(name),
      clients: target.clients().filter((client) => client.disk === name),
    }),
  },

  'disk.rename': {
    fields: { name: text, newName: text },
    run: async ({ name, newName }, { target, progress }) => {
      const { store } = target
      store.disk(name)
      // A client asks for a name when it reconnects; under it must not stand another disk, or none.
      refuseWhileDiskAttached(target, name, 'detach it first: clients reconnect by name')
      refuseWhileSnapshotsAttached(target, namesOf(store.snapshots(name)))
      const disk = await store.renameDisk(name, newName)
      progress.changed(disk.name)
      return { disk }
    },
    logLine: ({ name }, { disk }) => `disk ${name} renamed to ${disk.name}`,
  },

  'disk.resize': {
    fields: { name: text, sizeBytes: bytes, online: optional(flag) },
    run: async ({ name, sizeBytes, online = false }, { target }) => {
      target.store.disk(name)
      if (!online) {
        refuseWhileDiskAttached(
          target,
          name,
          'detach it first, or resize online: clients then see the new size once they reconnect',
        )
      }
      const disk = await target.store.resizeDisk(name, sizeBytes)
      return { disk, reconnect: clientsOfDisk(target, name) }
    },
    logLine: (_, { disk }) => `disk ${disk.name} resized to ${formatSize(disk.sizeBytes)}`,
  },

  'disk.delete': {
    fields: { name: text, snapshots: optional(oneOf('delete', 'keep')) },
    run: async ({ name, snapshots }, { target, progress }) => {
      const { store } = target
      store.disk(name)
      refuseWhileDiskAttached(target, name, 'detach it first')
      const taken = snapshots === 'delete' ? namesOf(store.snapshots(name)) : []
      refuseWhileSnapshotsAttached(target, taken)
      await store.deleteDisk(name, snapshots === undefined ? {} : { snapshots })
      progress.changed(name)
      return { deleted: [name, ...taken.map(({ disk, snapshot }) => `${disk}@${snapshot}`)] }
    },
    logLine: ({ snapshots }, { deleted }) =>
      `disk ${deleted[0]} deleted${snapshots === undefined ? '' : `, snapshots: ${snapshots}`}`,
  },

  'disk.default': {
    fields: { name: optional(textOrNull) },
    run: async ({ name }, { target }) => {
      if (name !== undefined) await target.store.setDefaultDisk(name)
      return { default: target.store.defaultDisk }
    },
    logLine: ({ name }) => (name === undefined ? '' : `default disk: ${name ?? 'none'}`),
  },
}

function namesOf(snapshots: readonly SnapshotInfo[]): SnapshotName[] {
  return snapshots.map(({ disk, name }) => ({ disk, snapshot: name }))
}
