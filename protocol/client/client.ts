/**
 * An NBD client: options one after another, then any number of requests at a
 * time, each a promise. It is for tools and tests; the hot path is the server's.
 * It has no socket: `connect.ts` gives it one.
 */

import {
  NBD_CMD,
  NBD_CMD_FLAG,
  NBD_FLAG_C_FIXED_NEWSTYLE,
  NBD_FLAG_C_NO_ZEROES,
  NBD_FLAG_FIXED_NEWSTYLE,
  NBD_FLAG_NO_ZEROES,
  NBD_INFO,
  NBD_OPT,
  NBD_REP,
  NBD_REP_FLAG_ERROR,
  nameOf,
} from '../constants.ts'
import { encodeClientFlags, encodeInfoRequest, encodeOption, encodeRequest } from './encoder.ts'
import { parseExportInfo } from './export-info.ts'
import type { ExportInfo } from './export-info.ts'
import { HandshakeReplyDecoder, HandshakeReplyFound } from './handshake-reply-decoder.ts'
import { NbdError, optionRefused, requestRefused } from './nbd-error.ts'
import { ReplyDecoder, ReplyFound } from './reply-decoder.ts'

/** Where the client's bytes go. */
export interface ClientTransport {
  write(pieces: readonly Buffer[]): void
  /** Close in order once all is written. */
  end(): void
  destroy(): void
}

export interface ListedExport {
  readonly name: string
  readonly description: string
}

export interface OptionReply {
  /** NBD_REP.* */
  readonly type: number
  readonly data: Buffer
}

interface Waiting<T> {
  resolve(value: T): void
  reject(error: Error): void
}

interface PendingOption extends Waiting<OptionReply[]> {
  readonly option: number
  readonly replies: OptionReply[]
}

interface PendingRequest extends Waiting<Buffer> {
  readonly command: string
  /** Where the data of a READ go; empty for others. */
  readonly into: Buffer
}

const EMPTY = Buffer.alloc(0)
const TWO_TO_32 = 0x1_0000_0000
const ALL_INFO = [NBD_INFO.NAME, NBD_INFO.DESCRIPTION, NBD_INFO.BLOCK_SIZE]

export class NbdClient {
  /** Resolves when the server has greeted and was greeted back. */
  readonly ready: Promise<void>
  readonly #transport: ClientTransport
  readonly #handshake = new HandshakeReplyDecoder()
  readonly #replies = new ReplyDecoder()
  readonly #requests = new Map<number, PendingRequest>()
  readonly #closed: Promise<void>
  #greeted!: Waiting<void>
  #resolveClosed!: () => void
  #option: PendingOption | null = null
  /** The READ whose data are arriving. */
  #arriving: PendingRequest | null = null
  #transmitting = false
  #cookie = 0
  #failure: Error | null = null

  constructor(transport: ClientTransport) {
    this.#transport = transport
    this.ready = new Promise((resolve, reject) => (this.#greeted = { resolve, reject }))
    // Whoever does not wait for it hears the same from the first option.
    this.ready.catch(() => {})
    this.#closed = new Promise((resolve) => (this.#resolveClosed = resolve))
  }

  /** Resolves when the connection is gone, for whatever reason. */
  get closed(): Promise<void> {
    return this.#closed
  }

  /** What the server can serve. */
  async list(): Promise<ListedExport[]> {
    const replies = await this.option(NBD_OPT.LIST, EMPTY)
    return replies
      .filter(({ type }) => type === NBD_REP.SERVER)
      .map(({ data }) => {
        const end = 4 + data.readUInt32BE(0)
        return { name: data.toString('utf8', 4, end), description: data.toString('utf8', end) }
      })
  }

  /** What there is to know of an export; the empty name is the default one. */
  async info(name: string): Promise<ExportInfo> {
    return this.#ask(NBD_OPT.INFO, name)
  }

  /** Chooses an export: from here on requests may be sent, and options no more. */
  async go(name: string): Promise<ExportInfo> {
    return this.#ask(NBD_OPT.GO, name)
  }

  /** Leaves without choosing. Resolves when the connection is closed. */
  async abort(): Promise<void> {
    await this.option(NBD_OPT.ABORT, EMPTY)
    this.#transport.end()
    await this.#closed
  }

  /** Any option: all its replies. One at a time. Rejects with the code of the error reply, `ERR_UNKNOWN`, ... */
  option(option: number, data: Buffer): Promise<OptionReply[]> {
    if (this.#transmitting || this.#option !== null) throw new TypeError('options go one at a time, before requests')
    return new Promise((resolve, reject) => {
      if (this.#failure !== null) {
        reject(this.#failure)
        return
      }
      this.#option = { option, replies: [], resolve, reject }
      this.#transport.write([encodeOption(option, data)])
    })
  }

  read(offset: number, length: number): Promise<Buffer> {
    return this.request({ type: NBD_CMD.READ, offset, length })
  }

  async write(offset: number, payload: Buffer, { fua = false } = {}): Promise<void> {
    const flags = fua ? NBD_CMD_FLAG.FUA : 0
    await this.request({ type: NBD_CMD.WRITE, flags, offset, length: payload.length, payload })
  }

  async trim(offset: number, length: number, { fua = false } = {}): Promise<void> {
    await this.request({ type: NBD_CMD.TRIM, flags: fua ? NBD_CMD_FLAG.FUA : 0, offset, length })
  }

  async writeZeroes(offset: number, length: number, { fua = false, noHole = false } = {}): Promise<void> {
    const flags = (fua ? NBD_CMD_FLAG.FUA : 0) | (noHole ? NBD_CMD_FLAG.NO_HOLE : 0)
    await this.request({ type: NBD_CMD.WRITE_ZEROES, flags, offset, length })
  }

  async flush(): Promise<void> {
    await this.request({ type: NBD_CMD.FLUSH })
  }

  /** Any request, sensible or not. Resolves with the data of a READ, rejects with the code of the reply, `EINVAL`, ... */
  request(fields: {
    readonly type: number
    readonly flags?: number
    readonly offset?: number | bigint
    readonly length?: number
    readonly payload?: Buffer
  }): Promise<Buffer> {
    if (!this.#transmitting) throw new TypeError('requests come after go()')
    const { type, length = 0, payload } = fields
    return new Promise((resolve, reject) => {
      if (this.#failure !== null) {
        reject(this.#failure)
        return
      }
      const cookie = ++this.#cookie
      const into = type === NBD_CMD.READ ? Buffer.allocUnsafe(length) : EMPTY
      this.#requests.set(cookie, { command: nameOf(NBD_CMD, type), into, resolve, reject })
      const header = encodeRequest({ ...fields, cookie })
      this.#transport.write(payload === undefined ? [header] : [header, payload])
    })
  }

  /** Says DISC; the server finishes what it has and closes. Resolves when the connection is closed. */
  async disconnect(): Promise<void> {
    if (this.#failure === null) {
      if (this.#transmitting) this.#transport.write([encodeRequest({ type: NBD_CMD.DISC, cookie: 0 })])
      this.#transport.end()
    }
    await this.#closed
  }

  /** Cuts the connection. */
  destroy(): void {
    this.#transport.destroy()
  }

  // For the adapter.

  push(bytes: Buffer): void {
    let at = 0
    while (!this.#transmitting && this.#failure === null) {
      at = this.#handshake.decode(bytes, at)
      if (this.#handshake.found === HandshakeReplyFound.nothing) return
      this.#handshakeFound()
    }
    while (this.#failure === null) {
      at = this.#replies.decode(bytes, at)
      if (this.#replies.found === ReplyFound.nothing) return
      this.#replyFound()
    }
  }

  /** The transport is gone. `cause` is its error, if it had one. */
  gone(cause?: Error): void {
    this.#fail(new NbdError('DISCONNECTED', 'the server closed the connection', { cause }))
    this.#resolveClosed()
  }

  async #ask(option: number, name: string): Promise<ExportInfo> {
    const replies = await this.option(option, encodeInfoRequest(name, ALL_INFO))
    return parseExportInfo(replies.filter(({ type }) => type === NBD_REP.INFO).map(({ data }) => data))
  }

  #handshakeFound(): void {
    const { found, handshakeFlags, option, type, data, problem } = this.#handshake
    if (found === HandshakeReplyFound.nonsense) {
      this.#nonsense(problem)
      return
    }
    if (found === HandshakeReplyFound.greeting) {
      if ((handshakeFlags & NBD_FLAG_FIXED_NEWSTYLE) === 0) {
        this.#nonsense('the server does not speak the fixed newstyle handshake')
        return
      }
      const noZeroes = (handshakeFlags & NBD_FLAG_NO_ZEROES) === 0 ? 0 : NBD_FLAG_C_NO_ZEROES
      this.#transport.write([encodeClientFlags(NBD_FLAG_C_FIXED_NEWSTYLE | noZeroes)])
      this.#greeted.resolve()
      return
    }
    const pending = this.#option
    if (pending === null || pending.option !== option) {
      this.#nonsense('a reply to an option that was not sent')
      return
    }
    if (type >= NBD_REP_FLAG_ERROR) {
      this.#option = null
      pending.reject(optionRefused(nameOf(NBD_OPT, option), type, data.toString()))
    } else if (type === NBD_REP.ACK) {
      this.#option = null
      // Here and not after the promise: the first reply to a request may be in the same piece.
      if (option === NBD_OPT.GO) this.#transmitting = true
      pending.resolve(pending.replies)
    } else {
      pending.replies.push({ type, data })
    }
  }

  #replyFound(): void {
    const { found, error, cookieHigh, cookieLow } = this.#replies
    if (found === ReplyFound.badMagic) {
      this.#nonsense('a reply has the wrong magic number')
      return
    }
    if (found === ReplyFound.data) {
      this.#arriving!.resolve(this.#arriving!.into)
      this.#arriving = null
      return
    }
    const cookie = cookieHigh * TWO_TO_32 + cookieLow
    const pending = this.#requests.get(cookie)
    if (pending === undefined) {
      this.#nonsense('a reply to a request that was not sent, or was answered already')
      return
    }
    this.#requests.delete(cookie)
    if (error !== 0) {
      pending.reject(requestRefused(pending.command, error))
    } else if (pending.into.length === 0) {
      pending.resolve(pending.into)
    } else {
      this.#arriving = pending
      this.#replies.expectData(pending.into)
    }
  }

  #nonsense(problem: string): void {
    this.#fail(new NbdError('PROTOCOL', problem))
    this.#transport.destroy()
  }

  /** Everything that waits hears why; the first reason is the one that counts. */
  #fail(error: Error): void {
    if (this.#failure !== null) return
    this.#failure = error
    this.#greeted.reject(error)
    this.#option?.reject(error)
    this.#arriving?.reject(error)
    for (const pending of this.#requests.values()) pending.reject(error)
    this.#requests.clear()
  }
}
