/**
 * Errors with a promise in them: the code is stable and programs may match it,
 * the sentence is for a person (what, why, what to do) and may change.
 */

export type StoreErrorCode =
  // What somebody asked for cannot be.
  | 'NAME_INVALID'
  | 'SIZE_INVALID'
  | 'RATE_INVALID'
  | 'CHUNK_SIZE_INVALID'
  | 'ARGUMENT_INVALID'
  | 'DISK_NOT_FOUND'
  | 'DISK_EXISTS'
  | 'DISK_IN_USE'
  | 'DISK_HAS_SNAPSHOTS'
  | 'SNAPSHOT_NOT_FOUND'
  | 'SNAPSHOT_EXISTS'
  | 'SNAPSHOT_IN_USE'
  | 'NOT_HYDRATING'
  | 'NOT_ENOUGH_SPACE'
  // The store as a whole.
  | 'STORE_NOT_FOUND'
  | 'STORE_NOT_EMPTY'
  | 'STORE_FOREIGN'
  | 'STORE_LOCKED'
  | 'STORE_NEWER'
  | 'STORE_READ_ONLY'
  | 'STORE_DAMAGED'
  | 'STORE_STOPPING'
  // One request.
  | 'NO_SPACE'
  | 'CHUNK_DAMAGED'
  | 'READ_ONLY'
  | 'STORE_FAILED'

export type ErrorDetails = Readonly<Record<string, unknown>>

export class StoreError extends Error {
  readonly code: StoreErrorCode
  /** The numbers and names that explain it, for programs. */
  readonly details: ErrorDetails

  constructor(code: StoreErrorCode, message: string, options: { cause?: unknown; details?: ErrorDetails } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'StoreError'
    this.code = code
    this.details = options.details ?? {}
  }
}

/** The system's code of an error (`ENOSPC`, `LEVEL_LOCKED`, ...), looking through the causes; undefined when there is none. */
export function systemCode(error: unknown): string | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    const code = (at as NodeJS.ErrnoException).code
    if (typeof code === 'string' && !(at instanceof StoreError)) return code
  }
  return undefined
}

/** Whether an error, or one of its causes, is a full file system (or quota). LevelDB says it in words only. */
export function isNoSpace(error: unknown): boolean {
  const code = systemCode(error)
  if (code === 'ENOSPC' || code === 'EDQUOT') return true
  for (let at = error; at instanceof Error; at = at.cause) {
    if (/No space left on device|Disk quota exceeded/.test(at.message)) return true
  }
  return false
}
