import type { SnapshotName } from '../../storage/contract.ts'
import { wrongUsage } from './failure.ts'

/** `DISK@SNAPSHOT`. Whether the names are any good is for the daemon to say. */
export function parseSnapshot(text: string): SnapshotName {
  const { disk, snapshot } = parseTarget(text)
  if (snapshot === null)
    throw wrongUsage(`'${text}' names no snapshot: write DISK@SNAPSHOT; thaw snapshot list shows them`)
  return { disk, snapshot }
}

/** `DISK` or `DISK@SNAPSHOT`. */
export function parseTarget(text: string): { disk: string; snapshot: string | null } {
  const [disk = '', snapshot, ...more] = text.split('@')
  if (disk === '' || snapshot === '' || more.length > 0) {
    throw wrongUsage(`'${text}' is neither a disk nor a snapshot: write DISK or DISK@SNAPSHOT`)
  }
  return { disk, snapshot: snapshot ?? null }
}
