/**
 * The handshake phase of one connection: flags and options in, replies out,
 * until the client chooses an export or leaves. Nothing behind the export table
 * is touched before that.
 */

import { NBD_FLAG_C_FIXED_NEWSTYLE, NBD_FLAG_C_NO_ZEROES, NBD_OPT, NBD_REP } from './constants.ts'
import type { Door } from './door.ts'
import type { ExportTable } from './export.ts'
import { HandshakeDecoder, HandshakeFound } from './handshake-decoder.ts'
import { encodeErrorText, encodeGreeting, encodeOptionReply } from './handshake-encoder.ts'
import { optionReplyBytesWaitingMax, optionsMax } from './limits.ts'
import type { OptionContext } from './options/option.ts'
import { optionHandlers } from './options/table.ts'
import type { Outbox } from './outbox.ts'

/** What negotiation needs of the connection around it. */
export interface NegotiationHost {
  readonly outbox: Outbox
  readonly exports: ExportTable
  /** Transmission begins with the next byte. */
  chosen(door: Door): void
  exportRefused(name: string, reason: string): void
  /** No option is read after this; close when everything has left. */
  disconnected(): void
  violated(reason: string): void
}

const EMPTY = Buffer.alloc(0)
const CLIENT_FLAGS = NBD_FLAG_C_FIXED_NEWSTYLE | NBD_FLAG_C_NO_ZEROES

export class Negotiation implements OptionContext {
  /** The client takes no replies at the moment; no option is read. */
  blocked = false
  /** Every option but ABORT is answered with NBD_REP_ERR_SHUTDOWN. */
  stopping = false
  option = 0
  noZeroes = false
  readonly exports: ExportTable
  readonly #host: NegotiationHost
  readonly #decoder = new HandshakeDecoder()
  #optionsLeft = optionsMax
  #listed = false
  #over = false

  constructor(host: NegotiationHost) {
    this.#host = host
    this.exports = host.exports
  }

  start(): void {
    this.replyBare(encodeGreeting())
  }

  /** Takes bytes from `bytes[at]` on; returns the position after what was taken. Stops early when `blocked` or when it is over. */
  consume(bytes: Buffer, at: number): number {
    const decoder = this.#decoder
    while (!this.#over) {
      this.blocked = this.#host.outbox.looseBytes > optionReplyBytesWaitingMax
      if (this.blocked) break
      at = decoder.decode(bytes, at)
      switch (decoder.found) {
        case HandshakeFound.nothing:
          return at
        case HandshakeFound.clientFlags:
          this.#clientFlags(decoder.clientFlags)
          break
        case HandshakeFound.option:
          this.#answer(decoder.option, decoder.data)
          break
        case HandshakeFound.badMagic:
          this.disconnect('an option has the wrong magic number')
          break
        case HandshakeFound.absurdLength:
          this.disconnect(`option ${decoder.option} announces ${decoder.length} bytes`)
          break
      }
    }
    return at
  }

  #clientFlags(flags: number): void {
    if ((flags & ~CLIENT_FLAGS) !== 0) {
      this.disconnect(`unknown client flags 0x${flags.toString(16)}`)
      return
    }
    this.noZeroes = (flags & NBD_FLAG_C_NO_ZEROES) !== 0
  }

  #answer(option: number, data: Buffer | null): void {
    this.option = option
    if (option === NBD_OPT.ABORT) {
      optionHandlers.get(option)!(this, data)
      return
    }
    if (this.#optionsLeft-- === 0) {
      this.disconnect('too many options')
      return
    }
    if (this.stopping) {
      if (option === NBD_OPT.EXPORT_NAME) this.disconnect('EXPORT_NAME while stopping')
      else this.refuse(NBD_REP.ERR_SHUTDOWN, 'The server is stopping.')
      return
    }
    const handler = optionHandlers.get(option)
    if (handler === undefined) this.refuse(NBD_REP.ERR_UNSUP, `Option ${option} is not supported.`)
    else handler(this, data)
  }

  reply(type: number, data: Buffer = EMPTY): void {
    this.replyBare(encodeOptionReply(this.option, type, data))
  }

  refuse(type: number, text: string): void {
    this.reply(type, encodeErrorText(text))
  }

  replyBare(bytes: Buffer): void {
    this.#host.outbox.addLoose(bytes)
  }

  choose(door: Door): void {
    this.#over = true
    this.#host.chosen(door)
  }

  exportRefused(name: string, reason: string): void {
    this.#host.exportRefused(name, reason)
  }

  admitOptions(count: number): void {
    if (this.#listed) return
    this.#listed = true
    this.#optionsLeft += count
  }

  finish(): void {
    this.#over = true
    this.#host.disconnected()
  }

  disconnect(reason: string): void {
    this.#over = true
    this.#host.violated(reason)
  }
}
