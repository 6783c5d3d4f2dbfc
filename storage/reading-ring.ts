/**
 * What the event loop and the reading thread share: a ring of reads, and the
 * memory to read to. A read has a slot from its submission to its answer; reads
 * are done, and answered, in the order of their submission, so that two counters
 * say all: how many were submitted, and how many are done.
 */

import { READ_RECORDS_MAX } from './environment.ts'

/** A power of two. */
export const SLOTS = 128
/** The longest read. Pages of a slot that no read was long enough to touch take no memory. */
export const SLOT_BYTES = 256 * 1024
/** Counters in `control`; they wrap, only their differences count. */
export const Counter = {
  /** Reads submitted. Written by the event loop. */
  SUBMITTED: 0,
  /** Reads done. Written by the thread. */
  DONE: 1,
  /** 1: the event loop wants a message when reads are done. */
  AWAITED: 2,
} as const

export interface Ring {
  readonly control: Int32Array
  /** Of the reads submitted, by their number modulo SLOTS: which slot. */
  readonly order: Int32Array
  /** Of each slot: file descriptor, position, length, crc32 of the incarnation. */
  readonly reads: Float64Array
  /** Of each slot: how many records are to be checked, and where each begins. */
  readonly records: Int32Array
  /** Of each slot a `ReadOutcome`. */
  readonly outcomes: Int32Array
  readonly memory: Buffer
}

export const READ_FIELDS = 4
export const RECORD_FIELDS = 1 + READ_RECORDS_MAX

const parts = {
  reads: 8 * SLOTS * READ_FIELDS,
  control: 4 * 16,
  order: 4 * SLOTS,
  records: 4 * SLOTS * RECORD_FIELDS,
  outcomes: 4 * SLOTS,
} as const

export interface RingMemory {
  readonly ring: SharedArrayBuffer
  readonly slots: SharedArrayBuffer
}

export function ringMemory(): RingMemory {
  const bytes = Object.values(parts).reduce((sum, part) => sum + part, 0)
  return { ring: new SharedArrayBuffer(bytes), slots: new SharedArrayBuffer(SLOTS * SLOT_BYTES) }
}

export function ringIn({ ring, slots }: RingMemory): Ring {
  let at = 0
  const next = (bytes: number) => (at += bytes) - bytes
  const reads = new Float64Array(ring, next(parts.reads), parts.reads / 8)
  const integers = (bytes: number) => new Int32Array(ring, next(bytes), bytes / 4)
  return {
    reads,
    control: integers(parts.control),
    order: integers(parts.order),
    records: integers(parts.records),
    outcomes: integers(parts.outcomes),
    memory: Buffer.from(slots),
  }
}
