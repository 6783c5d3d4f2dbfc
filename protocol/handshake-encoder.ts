/** What a server says before transmission, as pure functions that give the bytes. */

import {
  IHAVEOPT_HIGH,
  IHAVEOPT_LOW,
  NBDMAGIC_HIGH,
  NBDMAGIC_LOW,
  NBD_EXPORT_NAME_ZEROES,
  NBD_FLAG_FIXED_NEWSTYLE,
  NBD_FLAG_NO_ZEROES,
  NBD_GREETING_BYTES,
  NBD_INFO,
  NBD_OPTION_REPLY_HEADER_BYTES,
  NBD_REP_MAGIC_HIGH,
  NBD_REP_MAGIC_LOW,
} from './constants.ts'
import { errorTextBytesMax } from './limits.ts'

const TWO_TO_32 = 0x1_0000_0000

export function encodeGreeting(): Buffer {
  const bytes = Buffer.alloc(NBD_GREETING_BYTES)
  bytes.writeUInt32BE(NBDMAGIC_HIGH, 0)
  bytes.writeUInt32BE(NBDMAGIC_LOW, 4)
  bytes.writeUInt32BE(IHAVEOPT_HIGH, 8)
  bytes.writeUInt32BE(IHAVEOPT_LOW, 12)
  bytes.writeUInt16BE(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES, 16)
  return bytes
}

export function encodeOptionReply(option: number, type: number, data: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(NBD_OPTION_REPLY_HEADER_BYTES + data.length)
  bytes.writeUInt32BE(NBD_REP_MAGIC_HIGH, 0)
  bytes.writeUInt32BE(NBD_REP_MAGIC_LOW, 4)
  bytes.writeUInt32BE(option, 8)
  bytes.writeUInt32BE(type, 12)
  bytes.writeUInt32BE(data.length, 16)
  data.copy(bytes, NBD_OPTION_REPLY_HEADER_BYTES)
  return bytes
}

/**
 * The data of a refusal: a sentence for people. It ends in a spare space,
 * because nbd-client overwrites the last byte with its terminator.
 */
export function encodeErrorText(text: string): Buffer {
  return Buffer.from(truncateUtf8(text, errorTextBytesMax - 1) + ' ')
}

/** Data of NBD_REP_SERVER. */
export function encodeServerEntry(name: string, description: string): Buffer {
  const nameBytes = Buffer.from(name)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(nameBytes.length)
  return Buffer.concat([length, nameBytes, Buffer.from(description)])
}

/** Data of NBD_REP_INFO with NBD_INFO_EXPORT. */
export function encodeInfoExport(size: number, transmissionFlags: number): Buffer {
  const bytes = Buffer.alloc(12)
  bytes.writeUInt16BE(NBD_INFO.EXPORT, 0)
  writeSize(bytes, size, 2)
  bytes.writeUInt16BE(transmissionFlags, 10)
  return bytes
}

/** Data of NBD_REP_INFO with NBD_INFO_NAME or NBD_INFO_DESCRIPTION. */
export function encodeInfoText(type: number, text: string): Buffer {
  const head = Buffer.alloc(2)
  head.writeUInt16BE(type)
  return Buffer.concat([head, Buffer.from(text)])
}

/** Data of NBD_REP_INFO with NBD_INFO_BLOCK_SIZE. */
export function encodeInfoBlockSize(minimum: number, preferred: number, payloadMaximum: number): Buffer {
  const bytes = Buffer.alloc(14)
  bytes.writeUInt16BE(NBD_INFO.BLOCK_SIZE, 0)
  bytes.writeUInt32BE(minimum, 2)
  bytes.writeUInt32BE(preferred, 6)
  bytes.writeUInt32BE(payloadMaximum, 10)
  return bytes
}

/** The answer to NBD_OPT_EXPORT_NAME, which has no reply header. */
export function encodeExportNameAnswer(size: number, transmissionFlags: number, noZeroes: boolean): Buffer {
  const bytes = Buffer.alloc(10 + (noZeroes ? 0 : NBD_EXPORT_NAME_ZEROES))
  writeSize(bytes, size, 0)
  bytes.writeUInt16BE(transmissionFlags, 8)
  return bytes
}

/** Cuts a text to so many bytes of UTF-8 without cutting a character. */
export function truncateUtf8(text: string, bytesMax: number): string {
  const bytes = Buffer.from(text)
  if (bytes.length <= bytesMax) return text
  let end = bytesMax
  while (end > 0 && (bytes[end]! & 0xc0) === 0x80) end--
  return bytes.toString('utf8', 0, end)
}

function writeSize(bytes: Buffer, size: number, at: number): void {
  bytes.writeUInt32BE(Math.floor(size / TWO_TO_32), at)
  bytes.writeUInt32BE(size % TWO_TO_32, at + 4)
}
