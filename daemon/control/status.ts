import type { ControlTarget } from './target.ts'
import type { DaemonStatus, ListenerInfo } from './wire.ts'

/** All that is worth a look, in one answer. */
export async function daemonStatus(target: ControlTarget): Promise<DaemonStatus> {
  const { store } = target
  const { dataDirectory, storeId, formatVersion, states, space, cacheBytes, dirtyBytes, counters, warnings } =
    await store.status()
  const listeners = target.listeners()
  return {
    version: target.version,
    pid: process.pid,
    startedAt: target.startedAt.toISOString(),
    uptimeSeconds: Math.max(0, Math.floor((Date.now() - target.startedAt.getTime()) / 1000)),
    dataDirectory,
    storeId,
    formatVersion,
    states,
    space,
    cacheBytes,
    dirtyBytes,
    counters,
    disks: store.disks(),
    snapshotCount: store.snapshots().length,
    hydrations: store.hydrations(),
    clients: target.clients(),
    listeners,
    warnings: [...warnings, ...target.warnings(), ...listeners.flatMap(openToAnyone)],
  }
}

function openToAnyone(listener: ListenerInfo): string[] {
  if (listener.kind !== 'tcp' || listener.tls === 'require') return []
  const { host, port } = listener
  const address = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
  const whose = isLoopback(host) ? 'anyone on this machine' : 'anyone who can reach it'
  const what = listener.tls === 'off' ? 'has no TLS' : 'does not insist on TLS'
  return [`${address} ${what}: ${whose} can read and write these disks`]
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.')
}
