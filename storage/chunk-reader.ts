/**
 * Reads the stored bytes of a row, from wherever they are (the row itself, its
 * record in the log, its data row), and believes nothing: the record must be the
 * one that the row speaks of, and every checksum must match.
 */

import type { Compression, Environment, ReadingThread } from './environment.ts'
import { StoreError } from './errors.ts'
import type { ChunkIndex } from './chunk-index.ts'
import { Codec, isRecordOf, payloadIsGood, payloadOffset, readHeader, recordBytes, RecordType } from './record.ts'
import { RecordReads } from './record-reads.ts'
import { decodeData, type Row } from './row.ts'
import type { SegmentLog } from './segment-log.ts'

/** The payload is lent until the call returns. */
export type PayloadRead = (error: Error | null, payload: Buffer) => void

export class ChunkReader {
  readonly #reads: RecordReads
  /** For background work, whose reads shall not stand before those of clients in the queue of the reading thread. */
  readonly #backgroundReads: RecordReads
  readonly #thread: ReadingThread | undefined
  readonly #index: () => ChunkIndex
  readonly #compression: Compression

  constructor(
    environment: Environment,
    log: SegmentLog,
    index: () => ChunkIndex,
    onThreadLost: (error: Error) => void,
  ) {
    this.#thread = environment.startReading?.(onThreadLost)
    this.#reads = new RecordReads(log, this.#thread)
    this.#backgroundReads = new RecordReads(log, undefined)
    this.#index = index
    this.#compression = environment.compression
  }

  /** Every read that was begun is over when this resolves. */
  async close(): Promise<void> {
    await this.#thread?.close()
    await this.#reads.idle()
    await this.#backgroundReads.idle()
  }

  /**
   * Lends the stored payload of a row until the callback returns; the callback
   * may come at once. Errors: CHUNK_DAMAGED.
   */
  payload(row: Row, done: PayloadRead): void {
    this.#payload(this.#reads, row, done)
  }

  #payload(reads: RecordReads, row: Row, done: PayloadRead): void {
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
    reads.read(row.segment, row.offset, bytes, (error, record, at, incarnationCrc, good) => {
      if (error !== null) return done(damaged(row, error.message, error), empty)
      const wrong = whatIsWrong(record, at, row, incarnationCrc, good)
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

  /** A copy of the stored payload, for background work. */
  copyPayload(row: Row): Promise<Buffer> {
    return new Promise((resolve, reject) =>
      this.#payload(this.#backgroundReads, row, (error, payload) =>
        error === null ? resolve(Buffer.from(payload)) : reject(error),
      ),
    )
  }
}

const empty = Buffer.alloc(0)

/** Undefined when the record at `at` is the one that the row speaks of, and whole. `good`: its checksums are known to match. */
function whatIsWrong(bytes: Buffer, at: number, row: Row, incarnationCrc: number, good: boolean): string | undefined {
  if (good) return isRecordOf(bytes, at, row) ? undefined : 'another record lies in its place'
  const header = readHeader(bytes, at, incarnationCrc)
  if (header === undefined) return 'its header is damaged'
  if (!isRecordOf(bytes, at, row)) return 'another record lies in its place'
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
