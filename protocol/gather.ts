/**
 * The next so many bytes of a stream that arrives in pieces. When one piece
 * holds them all they are used where they lie; otherwise they are collected in
 * a private buffer. Every decoder in this folder stands on this, and so none of
 * them cares how the stream was cut.
 */

/** A private buffer up to this size is kept for the next time. */
const scratchBytesKept = 1024 * 1024

export class Gather {
  /** True once the expected bytes are at `source[start]`; false again after `expect`. */
  done = false
  /** Valid until the piece that completed them is gone, and until the next `expect`. */
  source: Buffer = EMPTY
  start = 0
  #length = 0
  #gathered = 0
  #scratch: Buffer = EMPTY

  constructor(length: number) {
    this.#length = length
  }

  /** Bytes from here on are collected until there are `length`. Nothing is allocated before some have arrived. */
  expect(length: number): void {
    this.#length = length
    this.#gathered = 0
    this.done = false
  }

  /** Lets go of what `source` refers to. */
  release(): void {
    this.source = EMPTY
    if (this.#scratch.length > scratchBytesKept) this.#scratch = EMPTY
  }

  /** Takes what it needs from `piece[at]` on; returns the position after that. */
  take(piece: Buffer, at: number): number {
    const missing = this.#length - this.#gathered
    const available = piece.length - at
    if (this.#gathered === 0 && available >= missing) {
      this.source = piece
      this.start = at
      this.done = true
      return at + missing
    }
    if (available === 0) return at
    if (this.#scratch.length < this.#length) this.#scratch = Buffer.allocUnsafeSlow(this.#length)
    const taken = Math.min(missing, available)
    piece.copy(this.#scratch, this.#gathered, at, at + taken)
    this.#gathered += taken
    if (taken === missing) {
      this.source = this.#scratch
      this.start = 0
      this.done = true
    }
    return at + taken
  }
}

const EMPTY = Buffer.alloc(0)
