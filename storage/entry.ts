/**
 * A chunk in memory. Each chunk has 32 sectors, whatever its size, so that what
 * is known and what is new about an entry are bit masks that fit an integer.
 */

import type { Position } from './position.ts'
import type { View } from './lineage.ts'

export const SECTORS = 32
/** All sectors. */
export const WHOLE = -1

export class Entry {
  readonly view: View
  readonly chunk: number
  readonly buffer: Buffer
  /** The generation that its newest write belongs to. */
  generation = 0
  /** Store-wide number of its newest write. */
  sequence = 0
  /** Sectors whose bytes are right. */
  valid = 0
  /** Sectors that the log does not have. */
  unlogged = 0
  /** Sectors that no CHUNK record has; contains `unlogged`. Not 0: the entry cannot be evicted. */
  unfolded = 0
  /** Read from the origin, and to be kept as this lineage's own in generation 0. */
  promote = false
  /** Counted among the dirty bytes. */
  dirty = false
  /** Second chance of the eviction clock. */
  used = true
  /** No longer in its view's map: discarded, frozen or evicted. */
  detached = false
  /** What the step under way knows of it must stay true until its end. */
  pinned = false
  /** A fold of it is under way. */
  folding = false
  /** Parties that want another fold after the one under way. */
  readonly folded: (() => void)[] = []
  /** Where its oldest PATCH since the last CHUNK lies; 0 when there is none. */
  firstPatch: Position = 0
  /** When it became dirty, in ticks of the write-back. */
  dirtyTick = 0
  /** Parties that wait until it is whole; undefined when no load is under way. */
  loading: ((error: Error | null) => void)[] | undefined

  constructor(view: View, chunk: number, buffer: Buffer) {
    this.view = view
    this.chunk = chunk
    this.buffer = buffer
  }

  /** Whether memory may forget it. */
  get evictable(): boolean {
    return this.unfolded === 0 && !this.promote && this.loading === undefined && !this.folding && !this.pinned
  }
}

/** Sectors `first` to `final`, both included. */
export function sectorMask(first: number, final: number): number {
  return (-1 << first) & (-1 >>> (SECTORS - 1 - final))
}

export function countSectors(mask: number): number {
  let rest = mask
  let count = 0
  for (; rest !== 0; count++) rest &= rest - 1
  return count
}

/** Calls back with each run of neighbouring sectors in a mask. */
export function eachRun(mask: number, run: (first: number, count: number) => void): void {
  let at = 0
  while (at < SECTORS) {
    if ((mask & (1 << at)) === 0) {
      at++
      continue
    }
    const first = at
    while (at < SECTORS && (mask & (1 << at)) !== 0) at++
    run(first, at - first)
  }
}
