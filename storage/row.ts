/**
 * Rows of the index and of the catalogue in LevelDB: keys and values as bytes.
 * Keys are big-endian, so that LevelDB's order is ours; the generation is
 * stored inverted, so that of one chunk's rows the newest comes first and
 * "what does generation G read" is the first row at or after (lineage, chunk, ~G).
 * The layout is drawn in FORMAT.md.
 */

import { crc32 } from 'node:zlib'
import type { Codec } from './record.ts'

export const RowKind = {
  /** Reads as zeroes. */
  HOLE: 1,
  /** Stored bytes. */
  CHUNK: 2,
} as const
export type RowKind = (typeof RowKind)[keyof typeof RowKind]

/** One version of one chunk: what it is and where it lies. */
export interface Row {
  readonly lineage: number
  readonly chunk: number
  readonly generation: number
  readonly sequence: number
  readonly kind: RowKind
  readonly codec: Codec
  /** The record: segment, and byte offset in it. */
  readonly segment: number
  readonly offset: number
  readonly payloadBytes: number
  /** The payload itself, when it is small enough to be kept in the row. */
  readonly inline: Buffer | undefined
  /** The payload is in a data row of its own (`chunkBytes: "leveldb"`), and no longer needs its segment. */
  readonly dataRow: boolean
}

/** The generation of a head's view: no generation is newer. */
export const GENERATION_MAX = 0xffffffff

const Space = { CHUNK: 0x10, DATA: 0x11, CATALOGUE: 0x20, CHECKPOINT: 0x30 } as const

const CHUNK_KEY_BYTES = 15

function key(space: number, lineage: number, chunk: number, generation: number): Buffer {
  const bytes = Buffer.allocUnsafe(CHUNK_KEY_BYTES)
  bytes[0] = space
  bytes.writeUInt32BE(lineage, 1)
  bytes.writeUIntBE(chunk, 5, 6)
  bytes.writeUInt32BE(~generation >>> 0, 11)
  return bytes
}

/** At or before every row of this chunk that generation `generation` can read. */
export function chunkKey(lineage: number, chunk: number, generation: number): Buffer {
  return key(Space.CHUNK, lineage, chunk, generation)
}

export function dataKey(lineage: number, chunk: number, generation: number): Buffer {
  return key(Space.DATA, lineage, chunk, generation)
}

export function keyLineage(bytes: Buffer): number {
  return bytes.readUInt32BE(1)
}

export function keyChunk(bytes: Buffer): number {
  return bytes.readUIntBE(5, 6)
}

export function keyGeneration(bytes: Buffer): number {
  return ~bytes.readUInt32BE(11) >>> 0
}

/** The smallest key behind another. */
export function keyAfter(key: Buffer): Buffer {
  return Buffer.concat([key, Buffer.from([0])])
}

/** From the first to behind the last index row of a lineage; without one, of all lineages. */
export function chunkKeyRange(lineage?: number): [from: Buffer, to: Buffer] {
  if (lineage === undefined) return [Buffer.from([Space.CHUNK]), Buffer.from([Space.CHUNK + 1])]
  return [key(Space.CHUNK, lineage, 0, GENERATION_MAX), key(Space.CHUNK, lineage + 1, 0, GENERATION_MAX)]
}

export function dataKeyRange(lineage: number): [from: Buffer, to: Buffer] {
  return [key(Space.DATA, lineage, 0, GENERATION_MAX), key(Space.DATA, lineage + 1, 0, GENERATION_MAX)]
}

const VALUE_BYTES = 28
const Flag = { INLINE: 1, DATA_ROW: 2 } as const
const TWO_32 = 2 ** 32

export function encodeRow(row: Row): Buffer {
  const inline = row.inline
  const value = Buffer.allocUnsafe(VALUE_BYTES + (inline?.length ?? 0))
  value[0] = row.kind
  value[1] = row.codec
  value[2] = (inline === undefined ? 0 : Flag.INLINE) | (row.dataRow ? Flag.DATA_ROW : 0)
  value[3] = 0
  value.writeUInt32BE(Math.floor(row.sequence / TWO_32), 4)
  value.writeUInt32BE(row.sequence >>> 0, 8)
  value.writeUInt32BE(row.segment, 12)
  value.writeUInt32BE(row.offset, 16)
  value.writeUInt32BE(row.payloadBytes, 20)
  value.writeUInt32BE(inline === undefined ? 0 : crc32(inline), 24)
  if (inline !== undefined) inline.copy(value, VALUE_BYTES)
  return value
}

/** Throws when the value cannot be a row; LevelDB verifies nothing on read, so nothing is taken for granted. */
export function decodeRow(rowKey: Buffer, value: Buffer): Row {
  const kind = value[0] as RowKind
  const flags = value[2] ?? 0
  const payloadBytes = value.length >= VALUE_BYTES ? value.readUInt32BE(20) : 0
  const inlineBytes = (flags & Flag.INLINE) === 0 ? 0 : payloadBytes
  if (rowKey.length !== CHUNK_KEY_BYTES || value.length !== VALUE_BYTES + inlineBytes || (kind !== 1 && kind !== 2)) {
    throw new Error(`damaged index row ${rowKey.toString('hex')}`)
  }
  const inline = inlineBytes === 0 ? undefined : value.subarray(VALUE_BYTES)
  if (inline !== undefined && crc32(inline) !== value.readUInt32BE(24)) {
    throw new Error(`damaged payload in index row ${rowKey.toString('hex')}`)
  }
  return {
    lineage: keyLineage(rowKey),
    chunk: keyChunk(rowKey),
    generation: keyGeneration(rowKey),
    sequence: value.readUInt32BE(4) * TWO_32 + value.readUInt32BE(8),
    kind,
    codec: value[1] as Codec,
    segment: value.readUInt32BE(12),
    offset: value.readUInt32BE(16),
    payloadBytes,
    inline,
    dataRow: (flags & Flag.DATA_ROW) !== 0,
  }
}

const DATA_HEADER_BYTES = 12

/** The data row of a chunk: its sequence and a checksum over all that identifies it, then the payload. */
export function encodeData(row: Row, payload: Buffer): Buffer {
  const value = Buffer.allocUnsafe(DATA_HEADER_BYTES + payload.length)
  value.writeUInt32BE(Math.floor(row.sequence / TWO_32), 0)
  value.writeUInt32BE(row.sequence >>> 0, 4)
  value.writeUInt32BE(dataCrc(row, value, payload), 8)
  payload.copy(value, DATA_HEADER_BYTES)
  return value
}

/** The payload, or undefined when the value is damaged or another version's. */
export function decodeData(row: Row, value: Buffer): Buffer | undefined {
  if (value.length !== DATA_HEADER_BYTES + row.payloadBytes) return undefined
  const payload = value.subarray(DATA_HEADER_BYTES)
  const sequence = value.readUInt32BE(0) * TWO_32 + value.readUInt32BE(4)
  return sequence === row.sequence && value.readUInt32BE(8) === dataCrc(row, value, payload) ? payload : undefined
}

function dataCrc(row: Row, value: Buffer, payload: Buffer): number {
  const name = crc32(dataKey(row.lineage, row.chunk, row.generation))
  return crc32(payload, crc32(value.subarray(0, 8), name))
}

/** Whether `a` outdates `b` for a reader that may see both: the newer generation, then the higher sequence. */
export function outdates(a: Row, b: Row): boolean {
  return a.generation === b.generation ? a.sequence >= b.sequence : a.generation > b.generation
}

/** `kind` is `disk`, `lineage`, `snapshot` or `setting`. */
export function catalogueKey(kind: string, id: number): Buffer {
  return Buffer.concat([Buffer.from([Space.CATALOGUE]), Buffer.from(`${kind}:${id.toString(16).padStart(8, '0')}`)])
}

export function catalogueKeyRange(): [from: Buffer, to: Buffer] {
  return [Buffer.from([Space.CATALOGUE]), Buffer.from([Space.CATALOGUE + 1])]
}

export function parseCatalogueKey(bytes: Buffer): { kind: string; id: number } {
  const [kind = '', id = ''] = bytes.subarray(1).toString().split(':')
  return { kind, id: Number.parseInt(id, 16) }
}

export const checkpointKey = Buffer.from([Space.CHECKPOINT])
