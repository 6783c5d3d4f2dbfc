/** What a server says before transmission, from any cut of the stream: a greeting, then replies to options. */

import {
  IHAVEOPT_HIGH,
  IHAVEOPT_LOW,
  NBDMAGIC_HIGH,
  NBDMAGIC_LOW,
  NBD_GREETING_BYTES,
  NBD_OPTION_REPLY_HEADER_BYTES,
  NBD_REP_MAGIC_HIGH,
  NBD_REP_MAGIC_LOW,
} from '../constants.ts'
import { Gather } from '../gather.ts'

/** No reply of a sensible server is longer than two strings. */
const replyBytesMax = 64 * 1024

export const HandshakeReplyFound = {
  nothing: 0,
  /** `handshakeFlags`. */
  greeting: 1,
  /** `option`, `type` and `data`. */
  reply: 2,
  /** `problem` says what; nothing after this makes sense. */
  nonsense: 3,
} as const
export type HandshakeReplyFound = (typeof HandshakeReplyFound)[keyof typeof HandshakeReplyFound]

const State = { greeting: 0, header: 1, data: 2 } as const
type State = (typeof State)[keyof typeof State]

export class HandshakeReplyDecoder {
  found: HandshakeReplyFound = HandshakeReplyFound.nothing
  handshakeFlags = 0
  option = 0
  type = 0
  /** A copy. */
  data: Buffer = Buffer.alloc(0)
  problem = ''
  #state: State = State.greeting
  #length = 0
  #gather = new Gather(NBD_GREETING_BYTES)

  /** Decodes from `bytes[at]` up to the next thing found; returns the position after it. */
  decode(bytes: Buffer, at: number): number {
    this.found = HandshakeReplyFound.nothing
    at = this.#gather.take(bytes, at)
    if (!this.#gather.done) return at
    const { source, start } = this.#gather
    switch (this.#state) {
      case State.greeting:
        this.#greeting(source, start)
        return at
      case State.header:
        this.#header(source, start)
        return this.found === HandshakeReplyFound.nothing ? this.decode(bytes, at) : at
      case State.data:
        this.data = Buffer.from(source.subarray(start, start + this.#length))
        this.#expectHeader()
        this.found = HandshakeReplyFound.reply
        return at
    }
  }

  #greeting(source: Buffer, start: number): void {
    if (source.readUInt32BE(start) !== NBDMAGIC_HIGH || source.readUInt32BE(start + 4) !== NBDMAGIC_LOW) {
      this.#nonsense('this is not an NBD server')
      return
    }
    if (source.readUInt32BE(start + 8) !== IHAVEOPT_HIGH || source.readUInt32BE(start + 12) !== IHAVEOPT_LOW) {
      this.#nonsense('the server speaks only the old handshake')
      return
    }
    this.handshakeFlags = source.readUInt16BE(start + 16)
    this.#expectHeader()
    this.found = HandshakeReplyFound.greeting
  }

  #header(source: Buffer, start: number): void {
    if (source.readUInt32BE(start) !== NBD_REP_MAGIC_HIGH || source.readUInt32BE(start + 4) !== NBD_REP_MAGIC_LOW) {
      this.#nonsense('a reply to an option has the wrong magic number')
      return
    }
    this.option = source.readUInt32BE(start + 8)
    this.type = source.readUInt32BE(start + 12)
    this.#length = source.readUInt32BE(start + 16)
    if (this.#length > replyBytesMax) {
      this.#nonsense(`a reply to an option announces ${this.#length} bytes`)
      return
    }
    this.#state = State.data
    this.#gather.expect(this.#length)
  }

  #expectHeader(): void {
    this.#state = State.header
    this.#gather.expect(NBD_OPTION_REPLY_HEADER_BYTES)
  }

  #nonsense(problem: string): void {
    this.problem = problem
    this.found = HandshakeReplyFound.nonsense
  }
}
