/**
 * What one view reads in a run of 128 chunks, in a few typed arrays: a page of
 * the chunk map. 30 bytes a chunk, where an object would take over 100. A page
 * without a single row takes none of that.
 */

import type { Codec } from './record.ts'
import { outdates, type Row, type RowKind } from './row.ts'

export const PAGE_CHUNKS = 128

/** Of a small buffer and its place in a map, roughly. */
const INLINE_OVERHEAD_BYTES = 150

const ABSENT = 0
const State = { KIND: 3, LZ4: 4, DATA_ROW: 8 } as const

export class Page {
  /** Second chance of the eviction clock. */
  used = true
  /** Rows set since the load began, to be applied on top of what it finds; undefined once loaded. */
  changes: Row[] | undefined = []
  waiting: ((error: Error | null) => void)[] = []

  #states: Uint8Array | undefined
  #segments: Uint32Array | undefined
  #offsets: Uint32Array | undefined
  #payloads: Uint32Array | undefined
  #generations: Uint32Array | undefined
  #sequences: Float64Array | undefined
  #inline: Map<number, Buffer> | undefined
  #inlineBytes = 0

  /** Memory taken, roughly. */
  get bytes(): number {
    return this.#states === undefined ? 200 : 4000 + this.#inlineBytes
  }

  /** The row of a chunk, or undefined when this lineage has none. */
  get(lineage: number, chunk: number): Row | undefined {
    const slot = chunk % PAGE_CHUNKS
    const state = this.#states?.[slot] ?? ABSENT
    if (state === ABSENT) return undefined
    return {
      lineage,
      chunk,
      generation: (this.#generations as Uint32Array)[slot] as number,
      sequence: (this.#sequences as Float64Array)[slot] as number,
      kind: (state & State.KIND) as RowKind,
      codec: ((state & State.LZ4) >> 2) as Codec,
      segment: (this.#segments as Uint32Array)[slot] as number,
      offset: (this.#offsets as Uint32Array)[slot] as number,
      payloadBytes: (this.#payloads as Uint32Array)[slot] as number,
      inline: this.#inline?.get(slot),
      dataRow: (state & State.DATA_ROW) !== 0,
    }
  }

  has(chunk: number): boolean {
    return (this.#states?.[chunk % PAGE_CHUNKS] ?? ABSENT) !== ABSENT
  }

  /** Takes a row unless it already has one that outdates it. */
  apply(row: Row): void {
    const slot = row.chunk % PAGE_CHUNKS
    const before = this.get(row.lineage, row.chunk)
    if (before !== undefined && !outdates(row, before)) return
    if (this.#states === undefined) {
      this.#states = new Uint8Array(PAGE_CHUNKS)
      this.#segments = new Uint32Array(PAGE_CHUNKS)
      this.#offsets = new Uint32Array(PAGE_CHUNKS)
      this.#payloads = new Uint32Array(PAGE_CHUNKS)
      this.#generations = new Uint32Array(PAGE_CHUNKS)
      this.#sequences = new Float64Array(PAGE_CHUNKS)
    }
    this.#states[slot] = row.kind | (row.codec << 2) | (row.dataRow ? State.DATA_ROW : 0)
    ;(this.#segments as Uint32Array)[slot] = row.segment
    ;(this.#offsets as Uint32Array)[slot] = row.offset
    ;(this.#payloads as Uint32Array)[slot] = row.payloadBytes
    ;(this.#generations as Uint32Array)[slot] = row.generation
    ;(this.#sequences as Float64Array)[slot] = row.sequence
    if (row.inline !== undefined || this.#inline !== undefined) this.#keepInline(slot, row.inline)
  }

  #keepInline(slot: number, payload: Buffer | undefined): void {
    this.#inline ??= new Map()
    const before = this.#inline.get(slot)
    if (before !== undefined) this.#inlineBytes -= before.length + INLINE_OVERHEAD_BYTES
    if (payload === undefined) {
      this.#inline.delete(slot)
      return
    }
    this.#inline.set(slot, Buffer.from(payload))
    this.#inlineBytes += payload.length + INLINE_OVERHEAD_BYTES
  }
}
