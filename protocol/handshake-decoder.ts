/**
 * What a client says before it has chosen an export: its flags, then options.
 * Feed it any cut of the stream with `decode` and look at `found`.
 */

import { IHAVEOPT_HIGH, IHAVEOPT_LOW, NBD_CLIENT_FLAGS_BYTES, NBD_OPTION_HEADER_BYTES } from './constants.ts'
import { Gather } from './gather.ts'
import { optionBytesMax, optionBytesSkippedMax } from './limits.ts'

export const HandshakeFound = {
  /** All bytes were consumed; more are needed. */
  nothing: 0,
  /** `clientFlags`. */
  clientFlags: 1,
  /** `option`, `length` and `data`. */
  option: 2,
  /** The peer does not speak this protocol; nothing after this makes sense. */
  badMagic: 3,
  /** An option longer than `optionBytesSkippedMax`: `option` and `length`. */
  absurdLength: 4,
} as const
export type HandshakeFound = (typeof HandshakeFound)[keyof typeof HandshakeFound]

const State = { clientFlags: 0, header: 1, data: 2, skipping: 3 } as const
type State = (typeof State)[keyof typeof State]

export class HandshakeDecoder {
  found: HandshakeFound = HandshakeFound.nothing
  clientFlags = 0
  option = 0
  /** Bytes of data that the option came with. */
  length = 0
  /** The option's data, valid until the next `decode`; null when they were longer than `optionBytesMax` and skipped. */
  data: Buffer | null = null
  #state: State = State.clientFlags
  #gather = new Gather(NBD_CLIENT_FLAGS_BYTES)
  #skip = 0

  /** Decodes from `bytes[at]` up to the next thing found; returns the position after it. */
  decode(bytes: Buffer, at: number): number {
    this.found = HandshakeFound.nothing
    if (this.#state === State.skipping) return this.#skipData(bytes, at)
    at = this.#gather.take(bytes, at)
    if (!this.#gather.done) return at
    const { source, start } = this.#gather
    switch (this.#state) {
      case State.clientFlags:
        this.clientFlags = source.readUInt32BE(start)
        this.#expectHeader()
        this.found = HandshakeFound.clientFlags
        return at
      case State.header:
        return this.#header(source, start, bytes, at)
      case State.data:
        this.data = source.subarray(start, start + this.length)
        this.#expectHeader()
        this.found = HandshakeFound.option
        return at
    }
  }

  #expectHeader(): void {
    this.#state = State.header
    this.#gather.expect(NBD_OPTION_HEADER_BYTES)
  }

  #header(source: Buffer, start: number, bytes: Buffer, at: number): number {
    this.option = source.readUInt32BE(start + 8)
    this.length = source.readUInt32BE(start + 12)
    if (source.readUInt32BE(start) !== IHAVEOPT_HIGH || source.readUInt32BE(start + 4) !== IHAVEOPT_LOW) {
      this.found = HandshakeFound.badMagic
      return at
    }
    if (this.length > optionBytesSkippedMax) {
      this.found = HandshakeFound.absurdLength
      return at
    }
    if (this.length > optionBytesMax) {
      this.#state = State.skipping
      this.#skip = this.length
    } else {
      this.#state = State.data
      this.#gather.expect(this.length)
    }
    return this.decode(bytes, at)
  }

  #skipData(bytes: Buffer, at: number): number {
    const skipped = Math.min(this.#skip, bytes.length - at)
    this.#skip -= skipped
    if (this.#skip === 0) {
      this.data = null
      this.#expectHeader()
      this.found = HandshakeFound.option
    }
    return at + skipped
  }
}
