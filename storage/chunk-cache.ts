/**
 * Memory for chunks: entries of all views under one budget. It owns its
 * buffers; nothing outside keeps one past the call that it was lent for.
 * Eviction is a clock with a second chance, over entries that the log has.
 */

import { Entry } from './entry.ts'
import type { View } from './lineage.ts'

/** Entries looked at for one eviction before the budget is exceeded instead: dirty ones are at most a quarter of all. */
const CLOCK_STEPS_MAX = 4096

export class ChunkCache {
  readonly #bytesMax: number
  #bytes = 0
  /** The clock: a ring of entries; detached ones are swept out as the hand passes. */
  readonly #ring: (Entry | undefined)[] = []
  readonly #freeSlots: number[] = []
  #hand = 0
  /** Buffers to use again, by their size. */
  readonly #spare = new Map<number, Buffer[]>()

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  get bytesMax(): number {
    return this.#bytesMax
  }

  /** A new entry in a view, with nothing valid in it. */
  add(view: View, chunk: number): Entry {
    const entry = new Entry(view, chunk, this.#buffer(view.lineage.chunkBytes))
    view.entries.set(chunk, entry)
    const slot = this.#freeSlots.pop()
    if (slot === undefined) this.#ring.push(entry)
    else this.#ring[slot] = entry
    return entry
  }

  /** Takes an entry out of its view. Its memory is used again once nothing needs it (see `Entry.evictable`). */
  detach(entry: Entry): void {
    if (entry.detached) return
    entry.detached = true
    entry.used = false
    if (entry.view.entries.get(entry.chunk) === entry) entry.view.entries.delete(entry.chunk)
  }

  /** Takes all entries of a view out of it. */
  detachAll(view: View): void {
    for (const entry of view.entries.values()) {
      entry.detached = true
      entry.used = false
    }
    view.entries.clear()
  }

  #buffer(bytes: number): Buffer {
    if (this.#bytes + bytes > this.#bytesMax) this.#evict(this.#bytes + bytes - this.#bytesMax)
    this.#bytes += bytes
    return this.#spare.get(bytes)?.pop() ?? Buffer.allocUnsafeSlow(bytes)
  }

  #evict(bytes: number): void {
    let left = bytes
    const ring = this.#ring
    for (let steps = 0; left > 0 && steps < CLOCK_STEPS_MAX; steps++) {
      if (ring.length === 0) return
      this.#hand = (this.#hand + 1) % ring.length
      const entry = ring[this.#hand]
      if (entry === undefined || !entry.evictable) continue
      if (entry.used) {
        entry.used = false
        continue
      }
      this.detach(entry)
      ring[this.#hand] = undefined
      this.#freeSlots.push(this.#hand)
      left -= entry.buffer.length
      this.#bytes -= entry.buffer.length
      this.#keepSpare(entry.buffer)
    }
  }

  #keepSpare(buffer: Buffer): void {
    const spare = this.#spare.get(buffer.length)
    if (spare === undefined) this.#spare.set(buffer.length, [buffer])
    // A few of each size: in the steady state each eviction is followed by an addition.
    else if (spare.length * buffer.length < 1024 * 1024) spare.push(buffer)
  }
}
