/** What a client says, as pure functions that give the bytes. */

import {
  IHAVEOPT_HIGH,
  IHAVEOPT_LOW,
  NBD_CLIENT_FLAGS_BYTES,
  NBD_OPTION_HEADER_BYTES,
  NBD_REQUEST_BYTES,
  NBD_REQUEST_MAGIC,
} from '../constants.ts'

const TWO_TO_32 = 0x1_0000_0000

export function encodeClientFlags(flags: number): Buffer {
  const bytes = Buffer.alloc(NBD_CLIENT_FLAGS_BYTES)
  bytes.writeUInt32BE(flags)
  return bytes
}

export function encodeOption(option: number, data: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(NBD_OPTION_HEADER_BYTES + data.length)
  bytes.writeUInt32BE(IHAVEOPT_HIGH, 0)
  bytes.writeUInt32BE(IHAVEOPT_LOW, 4)
  bytes.writeUInt32BE(option, 8)
  bytes.writeUInt32BE(data.length, 12)
  data.copy(bytes, NBD_OPTION_HEADER_BYTES)
  return bytes
}

/** Data of NBD_OPT_INFO and NBD_OPT_GO. */
export function encodeInfoRequest(name: string, types: readonly number[]): Buffer {
  const nameBytes = Buffer.from(name)
  const bytes = Buffer.alloc(4 + nameBytes.length + 2 + 2 * types.length)
  let at = bytes.writeUInt32BE(nameBytes.length, 0)
  at += nameBytes.copy(bytes, at)
  at = bytes.writeUInt16BE(types.length, at)
  for (const type of types) at = bytes.writeUInt16BE(type, at)
  return bytes
}

export interface RequestFields {
  readonly type: number
  readonly flags?: number
  /** Eight opaque bytes, here a safe integer. */
  readonly cookie: number
  readonly offset?: number | bigint
  /** Bytes. */
  readonly length?: number
}

/** The header of a request; the payload of a WRITE follows it. */
export function encodeRequest({ type, flags = 0, cookie, offset = 0, length = 0 }: RequestFields): Buffer {
  const bytes = Buffer.allocUnsafe(NBD_REQUEST_BYTES)
  bytes.writeUInt32BE(NBD_REQUEST_MAGIC, 0)
  bytes.writeUInt16BE(flags, 4)
  bytes.writeUInt16BE(type, 6)
  bytes.writeUInt32BE(Math.floor(cookie / TWO_TO_32), 8)
  bytes.writeUInt32BE(cookie % TWO_TO_32, 12)
  bytes.writeBigUInt64BE(BigInt(offset), 16)
  bytes.writeUInt32BE(length, 24)
  return bytes
}
