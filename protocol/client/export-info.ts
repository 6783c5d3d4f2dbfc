/** What a server tells of an export, put together from its NBD_REP_INFO replies. */

import { NBD_FLAG, NBD_INFO } from '../constants.ts'
import { NbdError } from './nbd-error.ts'

export interface ExportInfo {
  /** The server's own name for it, when it said one. */
  readonly name: string | null
  readonly description: string | null
  /** Bytes. */
  readonly size: number
  /** NBD_FLAG.* */
  readonly transmissionFlags: number
  readonly readOnly: boolean
  /** Bytes; null when the server did not say. */
  readonly blockSize: { readonly minimum: number; readonly preferred: number; readonly payloadMaximum: number } | null
}

/** @param replies the data of each reply, the u16 type included */
export function parseExportInfo(replies: readonly Buffer[]): ExportInfo {
  let name: string | null = null
  let description: string | null = null
  let blockSize: ExportInfo['blockSize'] = null
  let size: number | null = null
  let transmissionFlags = 0
  for (const data of replies) {
    const type = data.length < 2 ? -1 : data.readUInt16BE(0)
    if (type === NBD_INFO.EXPORT && data.length === 12) {
      size = safeSize(data.readBigUInt64BE(2))
      transmissionFlags = data.readUInt16BE(10)
    } else if (type === NBD_INFO.NAME) {
      name = data.toString('utf8', 2)
    } else if (type === NBD_INFO.DESCRIPTION) {
      description = data.toString('utf8', 2)
    } else if (type === NBD_INFO.BLOCK_SIZE && data.length === 14) {
      const payloadMaximum = data.readUInt32BE(10)
      blockSize = { minimum: data.readUInt32BE(2), preferred: data.readUInt32BE(6), payloadMaximum }
    }
  }
  if (size === null) throw new NbdError('PROTOCOL', 'the server did not tell the size of the export')
  const readOnly = (transmissionFlags & NBD_FLAG.READ_ONLY) !== 0
  return { name, description, size, transmissionFlags, readOnly, blockSize }
}

function safeSize(size: bigint): number {
  if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw new NbdError('PROTOCOL', `an export of ${size} bytes is too large`)
  return Number(size)
}
