/**
 * Replies on their way out. They are gathered until `flush` and leave in one
 * write; while a write is under way the next ones wait here. Replies that lie
 * side by side in a slab leave as one piece.
 */

import type { Output } from './output.ts'
import type { ReplyArena, Slab } from './reply-arena.ts'

/** What leaves with one write. Three arrays side by side, because an object for each piece is garbage on the hot path. */
class Batch {
  readonly slabs: Slab[] = []
  readonly starts: number[] = []
  readonly ends: number[] = []
  /** Replies in each piece. */
  readonly counts: number[] = []
  readonly loose: Buffer[] = []
  looseBytes = 0
  requests = 0
  payloadBytes = 0

  clear(): void {
    this.slabs.length = 0
    this.starts.length = 0
    this.ends.length = 0
    this.counts.length = 0
    this.loose.length = 0
    this.looseBytes = 0
    this.requests = 0
    this.payloadBytes = 0
  }
}

export class Outbox {
  readonly #output: Output
  readonly #arena: ReplyArena
  #filling = new Batch()
  #leaving = new Batch()
  #underWay = false
  #closed = false

  constructor(output: Output, arena: ReplyArena) {
    this.#output = output
    this.#arena = arena
  }

  /** Nothing waits and nothing is under way. */
  get empty(): boolean {
    return !this.#underWay && !this.#waiting
  }

  /** Bytes given to `addLoose` that have not left. */
  get looseBytes(): number {
    return this.#filling.looseBytes + this.#leaving.looseBytes
  }

  get #waiting(): boolean {
    return this.#filling.slabs.length > 0 || this.#filling.loose.length > 0
  }

  /** One reply, `slab.buffer[start, end)`. `payloadBytes` is what its request is counted with. */
  add(slab: Slab, start: number, end: number, payloadBytes: number): void {
    if (this.#closed) {
      this.#arena.release(slab, 1)
      return
    }
    const batch = this.#filling
    batch.requests++
    batch.payloadBytes += payloadBytes
    const last = batch.slabs.length - 1
    if (last >= 0 && batch.slabs[last] === slab && batch.ends[last] === start) {
      batch.ends[last] = end
      batch.counts[last]!++
      return
    }
    batch.slabs.push(slab)
    batch.starts.push(start)
    batch.ends.push(end)
    batch.counts.push(1)
  }

  /** Bytes of the handshake, which live in buffers of their own. Never between replies to requests. */
  addLoose(bytes: Buffer): void {
    this.#filling.loose.push(bytes)
    this.#filling.looseBytes += bytes.length
  }

  /** Writes what waits, unless a write is under way: then it waits for `left`. */
  flush(): void {
    if (this.#underWay || this.#closed || !this.#waiting) return
    const batch = this.#filling
    this.#filling = this.#leaving
    this.#leaving = batch
    this.#underWay = true
    const pieces = batch.loose.slice()
    for (let i = 0; i < batch.slabs.length; i++) {
      pieces.push(batch.slabs[i]!.buffer.subarray(batch.starts[i], batch.ends[i]))
    }
    this.#output.write(pieces)
  }

  /** The write under way is over. Its replies are counted in `requests` and `payloadBytes` of the result until the next `flush`. */
  left(): { readonly requests: number; readonly payloadBytes: number } {
    const batch = this.#leaving
    this.#underWay = false
    for (let i = 0; i < batch.slabs.length; i++) this.#arena.release(batch.slabs[i]!, batch.counts[i]!)
    const { requests, payloadBytes } = batch
    batch.clear()
    return { requests, payloadBytes }
  }

  /** The transport is gone: what waits and what still comes is dropped. */
  close(): void {
    this.#closed = true
    const batch = this.#filling
    for (let i = 0; i < batch.slabs.length; i++) this.#arena.release(batch.slabs[i]!, batch.counts[i]!)
    batch.clear()
    // The socket may still hold on to these slabs: they are left to the garbage collector and never used again.
    this.#leaving.clear()
    this.#underWay = false
  }
}
