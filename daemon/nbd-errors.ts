/**
 * The one table from the store's codes to the numbers that NBD can say. There
 * are few numbers and the kernel turns each into EIO for its file system, so
 * the full story is in the log (`exports.ts` writes it) before it shrinks here.
 */
import { StoreError, systemCode, type StoreErrorCode } from '../storage/errors.ts'

/** The error numbers of the specification, section "Error values". */
export const nbdErrors = {
  EPERM: 1,
  EIO: 5,
  ENOMEM: 12,
  EINVAL: 22,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ENOTSUP: 95,
  ESHUTDOWN: 108,
} as const

/** What a code not in the table becomes: the one number that promises nothing. */
const otherwise = nbdErrors.EIO

const byStoreCode: Partial<Record<StoreErrorCode, number>> = {
  NO_SPACE: nbdErrors.ENOSPC,
  NOT_ENOUGH_SPACE: nbdErrors.ENOSPC,
  READ_ONLY: nbdErrors.EPERM,
  STORE_READ_ONLY: nbdErrors.EPERM,
  STORE_STOPPING: nbdErrors.ESHUTDOWN,
  CHUNK_DAMAGED: nbdErrors.EIO,
  STORE_FAILED: nbdErrors.EIO,
  ARGUMENT_INVALID: nbdErrors.EINVAL,
}

const bySystemCode: Readonly<Record<string, number>> = {
  ENOSPC: nbdErrors.ENOSPC,
  EDQUOT: nbdErrors.ENOSPC,
  ENOMEM: nbdErrors.ENOMEM,
}

/** The NBD error number, never 0, for whatever a device gave. */
export function nbdErrorNumber(error: unknown): number {
  if (error instanceof StoreError) return byStoreCode[error.code] ?? otherwise
  return bySystemCode[systemCode(error) ?? ''] ?? otherwise
}
