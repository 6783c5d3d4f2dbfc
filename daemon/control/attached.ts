import type { SnapshotName } from '../../storage/contract.ts'
import { StoreError } from '../../storage/errors.ts'
import type { ControlTarget } from './target.ts'
import type { ClientInfo } from './wire.ts'

/** How many clients a message names; `details.clients` has them all. */
const namedMax = 3

/** The clients that have the disk itself attached, not its snapshots. */
export function clientsOfDisk(target: ControlTarget, disk: string): ClientInfo[] {
  return target.clients().filter((client) => client.disk === disk && client.snapshot === null)
}

export function clientsOfSnapshot(target: ControlTarget, { disk, snapshot }: SnapshotName): ClientInfo[] {
  return target.clients().filter((client) => client.disk === disk && client.snapshot === snapshot)
}

/** `hint` says what to do instead. Throws StoreError DISK_IN_USE with `details.clients`. */
export function refuseWhileDiskAttached(target: ControlTarget, disk: string, hint: string): void {
  const clients = clientsOfDisk(target, disk)
  if (clients.length === 0) return
  throw new StoreError('DISK_IN_USE', `disk ${disk} is attached by ${nameClients(clients)}; ${hint}`, {
    details: { disk, clients },
  })
}

/** Throws StoreError SNAPSHOT_IN_USE with `details.clients`. */
export function refuseWhileSnapshotsAttached(target: ControlTarget, snapshots: readonly SnapshotName[]): void {
  for (const name of snapshots) {
    const clients = clientsOfSnapshot(target, name)
    if (clients.length === 0) continue
    const { disk, snapshot } = name
    throw new StoreError(
      'SNAPSHOT_IN_USE',
      `snapshot ${disk}@${snapshot} is attached by ${nameClients(clients)}; detach it first`,
      {
        details: { disk, snapshot, clients },
      },
    )
  }
}

function nameClients(clients: readonly ClientInfo[]): string {
  const named = clients.slice(0, namedMax).map((client) => client.address)
  const more = clients.length - named.length
  return more === 0 ? named.join(', ') : `${named.join(', ')} and ${more} more`
}
