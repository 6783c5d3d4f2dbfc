/**
 * The one table from the store's codes to the numbers that NBD can say. There
 * are few numbers and the kernel turns each into EIO for its file system, so
 * the full story is in the log (`request-log.ts`) before it shrinks here.
 */
import { NBD_ERROR } from '../protocol/constants.ts'
import { StoreError, systemCode, type StoreErrorCode } from '../storage/errors.ts'

/** What a code not in the table becomes: the one number that promises nothing. */
const otherwise = NBD_ERROR.EIO

const byStoreCode: Partial<Record<StoreErrorCode, number>> = {
  NO_SPACE: NBD_ERROR.ENOSPC,
  NOT_ENOUGH_SPACE: NBD_ERROR.ENOSPC,
  READ_ONLY: NBD_ERROR.EPERM,
  STORE_READ_ONLY: NBD_ERROR.EPERM,
  STORE_STOPPING: NBD_ERROR.ESHUTDOWN,
  CHUNK_DAMAGED: NBD_ERROR.EIO,
  STORE_FAILED: NBD_ERROR.EIO,
  ARGUMENT_INVALID: NBD_ERROR.EINVAL,
}

const bySystemCode: Readonly<Record<string, number>> = {
  ENOSPC: NBD_ERROR.ENOSPC,
  EDQUOT: NBD_ERROR.ENOSPC,
  ENOMEM: NBD_ERROR.ENOMEM,
}

/** The NBD error number, never 0, for whatever a device gave. */
export function nbdErrorNumber(error: unknown): number {
  if (error instanceof StoreError) return byStoreCode[error.code] ?? otherwise
  return bySystemCode[systemCode(error) ?? ''] ?? otherwise
}
