/**
 * Reads the stored bytes of a row, from wherever they are (the row itself, its
 * record in the log, its data row), and believes nothing: the record must be the
 * one that the row speaks of, and every checksum must match.
 */

import type { Compression } from './environment.ts'
import { StoreError } from './errors.ts'
import type { ChunkIndex } from './chunk-index.ts'
import { Codec, payloadIsGood, payloadOffset, readHeader, recordBytes, RecordType } from './record.ts'
import { RecordReads } from './record-reads.ts'
import { decodeData, type Row } from './row.ts'
import type { SegmentLog } from './segment-log.ts'

export class ChunkReader {
  readonly #reads: RecordReads
  readonly #index: () => ChunkIndex
  readonly #compression: Compression

  constructor(log: SegmentLog, index: () => ChunkIndex, compression: Compression) {
    this.#reads = new RecordReads(log)
    this.#index = index
    this.#compression = compression
  }

  /**
   * Lends the stored payload of a row until the callback returns; the callback
   * may come at once. Errors: CHUNK_DAMAGED.
   */
  payload(row: Row, done: (error: Error | null, payload: Buffer) => void): void {
    if (row.inline !== undefined) return done(null, row.inline)
    if (row.dataRow) {
      this.#index()
        .readDataRow(row)
        .then(
          (value) => {
            const payload = value === undefined ? undefined : decodeData(row, value)
            if (payload !== undefined) done(null, payload)
            else done(damaged(row, 'its data row is missing, damaged or that of another version'), empty)
          },
          (error: Error) => done(damaged(row, error.message, error), empty),
        )
      return
    }
    const bytes = recordBytes(RecordType.CHUNK, row.codec, row.payloadBytes)
    this.#reads.read(row.segment, row.offset, bytes, (error, record, at, incarnationCrc) => {
      if (error !== null) return done(damaged(row, error.message, error), empty)
      const wrong = whatIsWrong(record, at, row, incarnationCrc)
      if (wrong !== undefined) return done(damaged(row, wrong), empty)
      const start = at + payloadOffset(RecordType.CHUNK, row.codec, row.payloadBytes)
      done(null, record.subarray(start, start + row.payloadBytes))
    })
  }

  /** The raw bytes of a row's chunk, lent until the callback returns. */
  chunk(row: Row, chunkBytes: number, done: (error: Error | null, chunk: Buffer) => void): void {
    this.payload(row, (error, payload) => {
      if (error !== null) return done(error, empty)
      if (row.codec === Codec.RAW)
        return payload.length === chunkBytes ? done(null, payload) : done(damaged(row, 'wrong length'), empty)
      let chunk: Buffer
      try {
        chunk = this.#compression.decompress(payload)
      } catch (error) {
        return done(damaged(row, 'it does not decompress', error), empty)
      }
      if (chunk.length === chunkBytes) done(null, chunk)
      else done(damaged(row, 'wrong length after decompression'), empty)
    })
  }

  /** A copy of the stored payload. */
  copyPayload(row: Row): Promise<Buffer> {
    return new Promise((resolve, reject) =>
      this.payload(row, (error, payload) => (error === null ? resolve(Buffer.from(payload)) : reject(error))),
    )
  }
}

const empty = Buffer.alloc(0)

function whatIsWrong(bytes: Buffer, at: number, row: Row, incarnationCrc: number): string | undefined {
  const header = readHeader(bytes, at, incarnationCrc)
  if (header === undefined) return 'its header is damaged'
  if (
    header.type !== RecordType.CHUNK ||
    header.lineage !== row.lineage ||
    header.chunk !== row.chunk ||
    header.generation !== row.generation ||
    header.sequence !== row.sequence ||
    header.payloadBytes !== row.payloadBytes ||
    header.codec !== row.codec
  ) {
    return 'another record lies in its place'
  }
  return payloadIsGood(bytes, at, header) ? undefined : 'a checksum does not match'
}

function damaged(row: Row, what: string, cause?: unknown): StoreError {
  return new StoreError(
    'CHUNK_DAMAGED',
    `chunk ${row.chunk} of lineage ${row.lineage}, generation ${row.generation}, cannot be read: ${what}`,
    {
      cause,
      details: {
        lineage: row.lineage,
        chunk: row.chunk,
        generation: row.generation,
        segment: row.segment,
        offset: row.offset,
      },
    },
  )
}
