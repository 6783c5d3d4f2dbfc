/**
 * The requests of a client in transmission, from any cut of the stream. It
 * decodes one thing at a time (`decode`, then look at `found`) and says nothing
 * twice: after a header of a request that carries a payload the caller decides
 * with `expectPayload` or `skipPayload`.
 *
 * It allocates nothing for a request; the fields are those of the last header.
 */

import { NBD_REQUEST_BYTES, NBD_REQUEST_MAGIC } from './constants.ts'
import type { RequestHeader } from './door.ts'
import { Gather } from './gather.ts'

export const RequestFound = {
  /** All bytes were consumed; more are needed. */
  nothing: 0,
  header: 1,
  /** `payload` is complete. */
  payload: 2,
  /** The stream is out of step; nothing after this makes sense. */
  badMagic: 3,
} as const
export type RequestFound = (typeof RequestFound)[keyof typeof RequestFound]

const State = { header: 0, payload: 1, skipping: 2 } as const
type State = (typeof State)[keyof typeof State]

const TWO_TO_32 = 0x1_0000_0000
/** The high word from which on an offset is no safe integer (2^53). */
const UNSAFE_HIGH = 0x20_0000

export class RequestDecoder implements RequestHeader {
  found: RequestFound = RequestFound.nothing
  flags = 0
  type = 0
  /** The client's cookie is eight opaque bytes; it goes back untouched. */
  cookieHigh = 0
  cookieLow = 0
  offset = 0
  wraps = false
  length = 0
  /** Valid until the next `decode`, and no longer than the piece given to this one. */
  payload: Buffer = EMPTY
  #state: State = State.header
  #header = new Gather(NBD_REQUEST_BYTES)
  #payload = new Gather(0)
  #skip = 0

  /** Decodes from `bytes[at]` up to the next thing found; returns the position after it. */
  decode(bytes: Buffer, at: number): number {
    this.found = RequestFound.nothing
    if (this.payload !== EMPTY) {
      this.payload = EMPTY
      this.#payload.release()
    }
    if (this.#state === State.skipping) {
      const skipped = Math.min(this.#skip, bytes.length - at)
      this.#skip -= skipped
      at += skipped
      if (this.#skip > 0) return at
      this.#state = State.header
    }
    if (this.#state === State.payload) {
      at = this.#payload.take(bytes, at)
      if (!this.#payload.done) return at
      const { source, start } = this.#payload
      this.payload = source.subarray(start, start + this.length)
      this.#state = State.header
      this.found = RequestFound.payload
      return at
    }
    at = this.#header.take(bytes, at)
    if (this.#header.done) this.#readHeader(this.#header.source, this.#header.start)
    return at
  }

  /** The header found is followed by `length` bytes that are wanted in one piece. */
  expectPayload(): void {
    this.#state = State.payload
    this.#payload.expect(this.length)
  }

  /** The header found is followed by `length` bytes that nobody wants. */
  skipPayload(): void {
    this.#state = State.skipping
    this.#skip = this.length
  }

  #readHeader(source: Buffer, start: number): void {
    this.#header.expect(NBD_REQUEST_BYTES)
    if (source.readUInt32BE(start) !== NBD_REQUEST_MAGIC) {
      this.found = RequestFound.badMagic
      return
    }
    this.flags = source.readUInt16BE(start + 4)
    this.type = source.readUInt16BE(start + 6)
    this.cookieHigh = source.readUInt32BE(start + 8)
    this.cookieLow = source.readUInt32BE(start + 12)
    const high = source.readUInt32BE(start + 16)
    const low = source.readUInt32BE(start + 20)
    this.length = source.readUInt32BE(start + 24)
    // The one place where 64 bits become a number.
    this.offset = high < UNSAFE_HIGH ? high * TWO_TO_32 + low : Infinity
    this.wraps = high === 0xffffffff && low + this.length >= TWO_TO_32
    this.found = RequestFound.header
  }
}

const EMPTY = Buffer.alloc(0)
