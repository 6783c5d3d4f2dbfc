/**
 * The records of the segment log: 64 bytes of header, a table of checksums, the
 * payload, zeroes up to the next 64-byte boundary. All integers big-endian; the
 * layout is drawn in FORMAT.md.
 *
 * A record is only valid in the life of the segment it was written for: the
 * segment's incarnation goes into the header's checksum, so that nothing left
 * over from an earlier life ever parses.
 */

import { crc32 } from 'node:zlib'
import { offsetOf, type Position, positionOf, segmentOf } from './position.ts'

export const RecordType = {
  /** A whole chunk. */
  CHUNK: 1,
  /** Some sectors of a chunk: redo of a small write, outdated by any CHUNK or HOLE of the same or a later sequence. */
  PATCH: 2,
  /** A run of chunks that read as zeroes. */
  HOLE: 3,
  /** Changes of the catalogue, applied together. */
  META: 4,
} as const
export type RecordType = (typeof RecordType)[keyof typeof RecordType]

export const Codec = { RAW: 0, LZ4: 1 } as const
export type Codec = (typeof Codec)[keyof typeof Codec]

export const RECORD_MAGIC = 0x54524543 // "TREC"
export const RECORD_HEADER_BYTES = 64
/** Records start on such a boundary, so that a scan can find the next good one after a damaged one. */
export const RECORD_ALIGN_BYTES = 64
/** A raw payload has one crc32 for each block of this size, so that a small read can verify what it reads. */
export const CHECKSUM_BLOCK_BYTES = 4096
export const INCARNATION_BYTES = 16

/** Where each field of a header stands. */
const at = {
  magic: 0,
  type: 4,
  codec: 5,
  flags: 6,
  sequence: 8,
  lineage: 16,
  generation: 20,
  chunk: 24,
  extent: 32,
  payloadBytes: 40,
  chunkBytes: 44,
  durableSegment: 48,
  durableOffset: 52,
  headerCrc: 60,
} as const

const TWO_32 = 2 ** 32

export interface RecordHeader {
  type: RecordType
  codec: Codec
  /** The store-wide number of the newest accepted write in it. */
  sequence: number
  lineage: number
  generation: number
  /** First chunk. */
  chunk: number
  /** PATCH: which of the chunk's 32 sectors follow (bit 0 is the first). HOLE: how many chunks. Otherwise 0. */
  extent: number
  payloadBytes: number
  /** Size of the chunk; its sectors are a 32nd of it. 0 in META. */
  chunkBytes: number
  /** How far the log was durable when this was appended: everything before this segment and offset. */
  durableSegment: number
  durableOffset: number
}

/** How many checksums stand between header and payload. */
export function checksumCount(type: number, codec: number, payloadBytes: number): number {
  if (payloadBytes === 0) return 0
  return type === RecordType.CHUNK && codec === Codec.RAW ? Math.ceil(payloadBytes / CHECKSUM_BLOCK_BYTES) : 1
}

/** Offset of the payload from the start of its record. */
export function payloadOffset(type: number, codec: number, payloadBytes: number): number {
  return RECORD_HEADER_BYTES + 4 * checksumCount(type, codec, payloadBytes)
}

/** Bytes that a record takes in the log, padding included. */
export function recordBytes(type: number, codec: number, payloadBytes: number): number {
  const bytes = payloadOffset(type, codec, payloadBytes) + payloadBytes
  return (bytes + RECORD_ALIGN_BYTES - 1) & -RECORD_ALIGN_BYTES
}

function writeU64(into: Buffer, value: number, offset: number): void {
  into.writeUInt32BE(Math.floor(value / TWO_32), offset)
  into.writeUInt32BE(value >>> 0, offset + 4)
}

function readU64(from: Buffer, offset: number): number {
  return from.readUInt32BE(offset) * TWO_32 + from.readUInt32BE(offset + 4)
}

/**
 * Writes header and checksums of a record at `offset` of `into`, where the
 * payload already stands at its place, and clears the padding.
 * `incarnationCrc` is the crc32 of the segment's incarnation.
 */
export function sealRecord(into: Buffer, offset: number, header: RecordHeader, incarnationCrc: number): void {
  const { type, codec, payloadBytes } = header
  const checksums = checksumCount(type, codec, payloadBytes)
  const payload = offset + RECORD_HEADER_BYTES + 4 * checksums
  const block = checksums === 1 ? payloadBytes : CHECKSUM_BLOCK_BYTES
  for (let i = 0; i < checksums; i++) {
    const first = payload + i * block
    const final = Math.min(first + block, payload + payloadBytes)
    into.writeUInt32BE(crc32(into.subarray(first, final)), offset + RECORD_HEADER_BYTES + 4 * i)
  }
  into.writeUInt32BE(RECORD_MAGIC, offset + at.magic)
  into[offset + at.type] = type
  into[offset + at.codec] = codec
  into[offset + at.flags] = 0
  into[offset + at.flags + 1] = 0
  writeU64(into, header.sequence, offset + at.sequence)
  into.writeUInt32BE(header.lineage, offset + at.lineage)
  into.writeUInt32BE(header.generation, offset + at.generation)
  writeU64(into, header.chunk, offset + at.chunk)
  writeU64(into, header.extent, offset + at.extent)
  into.writeUInt32BE(payloadBytes, offset + at.payloadBytes)
  into.writeUInt32BE(header.chunkBytes, offset + at.chunkBytes)
  into.writeUInt32BE(header.durableSegment, offset + at.durableSegment)
  into.writeUInt32BE(header.durableOffset, offset + at.durableOffset)
  into.writeUInt32BE(0, offset + 56)
  into.writeUInt32BE(headerCrc(into, offset, checksums, incarnationCrc), offset + at.headerCrc)
  into.fill(0, payload + payloadBytes, offset + recordBytes(type, codec, payloadBytes))
}

/** Over the header up to its own place, and over the table of checksums. */
function headerCrc(from: Buffer, offset: number, checksums: number, incarnationCrc: number): number {
  const crc = crc32(from.subarray(offset, offset + at.headerCrc), incarnationCrc)
  const table = offset + RECORD_HEADER_BYTES
  return crc32(from.subarray(table, table + 4 * checksums), crc)
}

/** The largest payload that a reader believes: a chunk of 1 MiB that compression made a little larger, or META. */
export const PAYLOAD_BYTES_MAX = 1024 * 1024 + 16 * 1024

/**
 * Reads the header at `offset`, or returns undefined when there is none that is
 * whole and of this segment's life (`from` ends too early, other magic, wrong checksum).
 */
export function readHeader(from: Buffer, offset: number, incarnationCrc: number): RecordHeader | undefined {
  if (from.length - offset < RECORD_HEADER_BYTES) return undefined
  if (from.readUInt32BE(offset + at.magic) !== RECORD_MAGIC) return undefined
  const type = from[offset + at.type] as RecordType
  const codec = from[offset + at.codec] as Codec
  const payloadBytes = from.readUInt32BE(offset + at.payloadBytes)
  if (type < RecordType.CHUNK || type > RecordType.META || codec > Codec.LZ4 || payloadBytes > PAYLOAD_BYTES_MAX) {
    return undefined
  }
  const checksums = checksumCount(type, codec, payloadBytes)
  if (from.length - offset < RECORD_HEADER_BYTES + 4 * checksums) return undefined
  if (from.readUInt32BE(offset + at.headerCrc) !== headerCrc(from, offset, checksums, incarnationCrc)) return undefined
  return {
    type,
    codec,
    sequence: readU64(from, offset + at.sequence),
    lineage: from.readUInt32BE(offset + at.lineage),
    generation: from.readUInt32BE(offset + at.generation),
    chunk: readU64(from, offset + at.chunk),
    extent: readU64(from, offset + at.extent),
    payloadBytes,
    chunkBytes: from.readUInt32BE(offset + at.chunkBytes),
    durableSegment: from.readUInt32BE(offset + at.durableSegment),
    durableOffset: from.readUInt32BE(offset + at.durableOffset),
  }
}

/** Whether the header at `offset`, known to be undamaged, is that of a chunk's record. */
export function isRecordOf(
  from: Buffer,
  offset: number,
  chunk: Pick<RecordHeader, 'codec' | 'sequence' | 'lineage' | 'generation' | 'chunk' | 'payloadBytes'>,
): boolean {
  return (
    from[offset + at.type] === RecordType.CHUNK &&
    from[offset + at.codec] === chunk.codec &&
    readU64(from, offset + at.sequence) === chunk.sequence &&
    from.readUInt32BE(offset + at.lineage) === chunk.lineage &&
    from.readUInt32BE(offset + at.generation) === chunk.generation &&
    readU64(from, offset + at.chunk) === chunk.chunk &&
    from.readUInt32BE(offset + at.payloadBytes) === chunk.payloadBytes
  )
}

/** Whether the payload of a record whose header was read matches its checksums. */
export function payloadIsGood(from: Buffer, offset: number, header: RecordHeader): boolean {
  const { type, codec, payloadBytes } = header
  const checksums = checksumCount(type, codec, payloadBytes)
  const payload = offset + RECORD_HEADER_BYTES + 4 * checksums
  if (from.length < payload + payloadBytes) return false
  const block = checksums === 1 ? payloadBytes : CHECKSUM_BLOCK_BYTES
  for (let i = 0; i < checksums; i++) {
    const first = payload + i * block
    const final = Math.min(first + block, payload + payloadBytes)
    if (crc32(from.subarray(first, final)) !== from.readUInt32BE(offset + RECORD_HEADER_BYTES + 4 * i)) return false
  }
  return true
}

export const SEGMENT_MAGIC = 0x54534547 // "TSEG"
/** The segment's own header takes one record slot. */
export const SEGMENT_HEADER_BYTES = 64
export const FORMAT_VERSION = 1

export interface SegmentHeader {
  /** crc32 of the incarnation. */
  readonly incarnationCrc: number
  /**
   * Where the log stood when this segment was begun: its predecessor, and that
   * one's length. 0 in the first of a run of the daemon: all before it was
   * recovered, and is durable.
   */
  readonly previousEnd: Position
}

export function writeSegmentHeader(
  into: Buffer,
  offset: number,
  header: { id: number; incarnation: Buffer; previousEnd: Position },
): void {
  into.fill(0, offset, offset + SEGMENT_HEADER_BYTES)
  into.writeUInt32BE(SEGMENT_MAGIC, offset)
  into.writeUInt32BE(FORMAT_VERSION, offset + 4)
  into.writeUInt32BE(header.id, offset + 8)
  header.incarnation.copy(into, offset + 16)
  into.writeUInt32BE(segmentOf(header.previousEnd), offset + 32)
  into.writeUInt32BE(offsetOf(header.previousEnd), offset + 36)
  into.writeUInt32BE(crc32(into.subarray(offset, offset + 60)), offset + 60)
}

/** Undefined when this is not the header of segment `id`. */
export function readSegmentHeader(from: Buffer, id: number): SegmentHeader | undefined {
  if (from.length < SEGMENT_HEADER_BYTES || from.readUInt32BE(0) !== SEGMENT_MAGIC) return undefined
  if (from.readUInt32BE(60) !== crc32(from.subarray(0, 60)) || from.readUInt32BE(8) !== id) return undefined
  if (from.readUInt32BE(4) !== FORMAT_VERSION) return undefined
  return {
    incarnationCrc: incarnationCrc(from.subarray(16, 16 + INCARNATION_BYTES)),
    previousEnd: positionOf(from.readUInt32BE(32), from.readUInt32BE(36)),
  }
}

export function incarnationCrc(incarnation: Buffer): number {
  return crc32(incarnation)
}
