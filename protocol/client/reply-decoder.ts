/**
 * Simple replies, from any cut of the stream. After a header the caller says
 * with `expectData` where data go, if there are any: they are put there directly.
 */

import { NBD_SIMPLE_REPLY_BYTES, NBD_SIMPLE_REPLY_MAGIC } from '../constants.ts'
import { Gather } from '../gather.ts'

export const ReplyFound = {
  nothing: 0,
  /** `error`, `cookieHigh`, `cookieLow`. */
  header: 1,
  /** The buffer given to `expectData` is full. */
  data: 2,
  badMagic: 3,
} as const
export type ReplyFound = (typeof ReplyFound)[keyof typeof ReplyFound]

export class ReplyDecoder {
  found: ReplyFound = ReplyFound.nothing
  error = 0
  cookieHigh = 0
  cookieLow = 0
  readonly #header = new Gather(NBD_SIMPLE_REPLY_BYTES)
  #into: Buffer | null = null
  #filled = 0

  /** Decodes from `bytes[at]` up to the next thing found; returns the position after it. */
  decode(bytes: Buffer, at: number): number {
    this.found = ReplyFound.nothing
    if (this.#into !== null) {
      const taken = bytes.copy(this.#into, this.#filled, at)
      this.#filled += taken
      if (this.#filled === this.#into.length) {
        this.#into = null
        this.found = ReplyFound.data
      }
      return at + taken
    }
    at = this.#header.take(bytes, at)
    if (!this.#header.done) return at
    const { source, start } = this.#header
    this.#header.expect(NBD_SIMPLE_REPLY_BYTES)
    if (source.readUInt32BE(start) !== NBD_SIMPLE_REPLY_MAGIC) {
      this.found = ReplyFound.badMagic
      return at
    }
    this.error = source.readUInt32BE(start + 4)
    this.cookieHigh = source.readUInt32BE(start + 8)
    this.cookieLow = source.readUInt32BE(start + 12)
    this.found = ReplyFound.header
    return at
  }

  expectData(into: Buffer): void {
    this.#into = into
    this.#filled = 0
  }
}
