/**
 * The control protocol as types: what goes over the socket, shared by the
 * daemon's side and the client's. `../CONTROL.md` says what it means.
 *
 * All sizes are bytes, all rates bytes a second (null: unlimited), all times ISO 8601 UTC.
 */
import type {
  DiffExtent,
  DiskInfo,
  HydrationInfo,
  Rate,
  SnapshotInfo,
  SnapshotName,
  SpaceInfo,
} from '../../storage/contract.ts'

/** The longest request, in bytes without the line's end. The longest that makes sense deletes some ten thousand snapshots. */
export const requestBytesMax = 1024 * 1024

/** One NBD connection that has chosen its export. */
export interface ClientInfo {
  /** Never used twice while the daemon runs. */
  readonly id: number
  /** `127.0.0.1:40312`, or `unix` with what is known of the peer. */
  readonly address: string
  /** Where it came in: `127.0.0.1:10809` or the path of the unix socket. */
  readonly listener: string
  /** `DISK` or `DISK@SNAPSHOT`, also when the client asked for the empty name. */
  readonly export: string
  readonly disk: string
  readonly snapshot: string | null
  readonly readOnly: boolean
  readonly attachedAt: string
}

/** An address where the daemon speaks NBD. */
export type ListenerInfo =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number; readonly tls: 'off' | 'allow' | 'require' }
  | { readonly kind: 'unix'; readonly path: string }

export interface DaemonStatus {
  readonly version: string
  readonly pid: number
  readonly startedAt: string
  readonly uptimeSeconds: number
  readonly dataDirectory: string
  readonly storeId: string
  readonly formatVersion: number
  /** What the store is doing for itself, as short words. */
  readonly states: readonly string[]
  readonly space: SpaceInfo
  readonly cacheBytes: number
  readonly dirtyBytes: number
  readonly counters: Readonly<Record<string, number>>
  readonly disks: readonly DiskInfo[]
  readonly snapshotCount: number
  readonly hydrations: readonly HydrationInfo[]
  readonly clients: readonly ClientInfo[]
  readonly listeners: readonly ListenerInfo[]
  /** Sentences that a person should read. */
  readonly warnings: readonly string[]
}

/** Each method with its parameters and its result. */
export interface ControlMethods {
  status: { params: Nothing; result: DaemonStatus }
  clients: { params: Nothing; result: { clients: readonly ClientInfo[] } }

  'disk.create': { params: { name: string; sizeBytes: number; chunkBytes?: number }; result: { disk: DiskInfo } }
  'disk.list': { params: Nothing; result: { disks: readonly DiskInfo[] } }
  'disk.show': {
    params: { name: string }
    result: { disk: DiskInfo; snapshots: readonly SnapshotInfo[]; clients: readonly ClientInfo[] }
  }
  'disk.rename': { params: { name: string; newName: string }; result: { disk: DiskInfo } }
  'disk.resize': {
    params: { name: string; sizeBytes: number; online?: boolean }
    result: { disk: DiskInfo; reconnect: readonly ClientInfo[] }
  }
  'disk.delete': { params: { name: string; snapshots?: 'delete' | 'keep' }; result: { deleted: readonly string[] } }
  'disk.default': { params: { name?: string | null }; result: { default: string | null } }

  'snapshot.create': { params: { disk: string; snapshot?: string }; result: { snapshot: SnapshotInfo } }
  'snapshot.list': { params: { disk?: string }; result: { snapshots: readonly SnapshotInfo[] } }
  'snapshot.show': { params: SnapshotName; result: { snapshot: SnapshotInfo; clients: readonly ClientInfo[] } }
  'snapshot.rename': { params: SnapshotName & { newName: string }; result: { snapshot: SnapshotInfo } }
  'snapshot.delete': { params: { snapshots: readonly SnapshotName[] }; result: { deleted: readonly string[] } }
  'snapshot.diff': {
    params: { from: SnapshotName; to: { disk: string; snapshot?: string } }
    result: { extentCount: number; changedBytes: number; sizeBytes: number }
  }

  restore: {
    params: SnapshotName & { name: string; rate?: Rate; paused?: boolean; linked?: boolean; sizeBytes?: number }
    result: { disk: DiskInfo; space: { neededBytesMax: number; freeBytes: number } }
  }

  'hydration.list': { params: Nothing; result: { hydrations: readonly HydrationInfo[] } }
  'hydration.show': { params: { disk: string }; result: { hydration: HydrationInfo } }
  'hydration.set': { params: { disk: string; rate: Rate }; result: { hydration: HydrationInfo } }
  'hydration.pause': { params: { disk: string }; result: { hydration: HydrationInfo } }
  'hydration.resume': { params: { disk: string }; result: { hydration: HydrationInfo } }
  'hydration.subscribe': {
    params: { disk: string }
    result: { subscription: number; hydration: HydrationInfo | null }
  }
  'hydration.unsubscribe': { params: { subscription: number }; result: Nothing }
}

export type ControlMethod = keyof ControlMethods
export type ParamsOf<M extends ControlMethod> = ControlMethods[M]['params']
export type ResultOf<M extends ControlMethod> = ControlMethods[M]['result']

/** What the daemon says without being asked. */
export interface ControlNotifications {
  'hydration.progress': { subscription: number; hydration: HydrationInfo }
  'hydration.end': { subscription: number; disk: string; outcome: HydrationOutcome }
  'snapshot.diff.extents': { request: RequestId; extents: readonly DiffExtent[] }
}

export type HydrationOutcome = 'complete' | 'deleted' | 'stopping'
export type RequestId = string | number | null
export type Nothing = Record<string, never>

/** An error as it goes over the socket. */
export interface ErrorObject {
  /** The number of JSON-RPC. */
  readonly code: number
  /** One line: what, why, what to do. */
  readonly message: string
  readonly data: { readonly code: string; readonly details: Readonly<Record<string, unknown>> }
}
