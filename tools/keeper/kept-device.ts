/**
 * A device on an NBD server that may go away and come back. Requests wait while
 * it is away, and when it is back everything that it may have forgotten is sent
 * again: what it has not answered, and also what it has answered but nobody has
 * flushed since, because a server that crashes may forget that. So whoever is
 * in front of this device sees one that never fails, only one that is slow at
 * times; for the Linux kernel's NBD driver that is the difference between a
 * file system that goes on and one that is lost (test/machine/README.md).
 *
 * Sending a write again is harmless: its range belongs to this one client, and
 * later writes to the same place are sent again after it.
 */

import { NBD_CMD, NBD_CMD_FLAG } from '../../protocol/constants.ts'
import type { BlockDevice, Completion } from '../../protocol/export.ts'
import type { NbdClient } from '../../protocol/client/client.ts'
import type { ExportInfo } from '../../protocol/client/export-info.ts'
import { NbdError } from '../../protocol/client/nbd-error.ts'

export interface Upstream {
  readonly client: NbdClient
  readonly info: ExportInfo
}

export interface KeptDeviceOptions {
  /** Connects and chooses the export; rejects while the server is away. */
  connect(): Promise<Upstream>
  /** Already connected, so that a first failure is the caller's to tell. */
  readonly first: Upstream
  log(sentence: string): void
  readonly volatileBytesMax?: number
}

/** Written data kept until they are flushed. Beyond it the device flushes by itself, and beyond twice that no write is answered until that is done. */
const volatileBytesMaxDefault = 64 * 1024 * 1024

/** What a request costs beside its payload; a stream of tiny writes or discards is bounded by it as well. */
const requestBytes = 4096

const retryMillisMin = 50
const retryMillisMax = 1_000

interface Request {
  readonly type: number
  readonly flags: number
  readonly offset: number
  readonly length: number
  readonly payload: Buffer | undefined
  /** Where the data of a read go. */
  readonly into: Buffer | undefined
  readonly completion: Completion | undefined
  /** The server has answered it; it is kept until that is durable. 0 before. */
  answeredAt: number
  /** Of a flush: what had been answered when it was sent is durable when it is answered. */
  coversUntil: number
}

export class KeptDevice implements BlockDevice {
  readonly #options: KeptDeviceOptions
  readonly #volatileBytesMax: number
  readonly #size: number
  readonly #readOnly: boolean
  /** Everything not known to be done and durable, in the order in which it came. */
  readonly #requests = new Set<Request>()
  #volatileBytes = 0
  #answers = 0
  /** Answered writes whose completion waits for room. */
  #held: Completion[] = []
  #flushing = false
  #client: NbdClient | null = null
  /** A write that was answered is gone, or the disk is another: said at every flush from then on. */
  #lost: Error | null = null
  /** There is nothing to wait for any more. */
  #ended = false
  #closed = false

  constructor(options: KeptDeviceOptions) {
    this.#options = options
    this.#volatileBytesMax = options.volatileBytesMax ?? volatileBytesMaxDefault
    this.#size = options.first.info.size
    this.#readOnly = options.first.info.readOnly
    void this.#keep(options.first)
  }

  read(offset: number, into: Buffer, completion: Completion): void {
    this.#submit({ type: NBD_CMD.READ, flags: 0, offset, length: into.length, into, completion })
  }

  write(offset: number, payload: Buffer, fua: boolean, completion: Completion): void {
    const { length } = payload
    const flags = fua ? NBD_CMD_FLAG.FUA : 0
    this.#submit({ type: NBD_CMD.WRITE, flags, offset, length, payload: Buffer.from(payload), completion })
  }

  trim(offset: number, length: number, fua: boolean, completion: Completion): void {
    this.#submit({ type: NBD_CMD.TRIM, flags: fua ? NBD_CMD_FLAG.FUA : 0, offset, length, completion })
  }

  writeZeroes(offset: number, length: number, noHole: boolean, fua: boolean, completion: Completion): void {
    const flags = (fua ? NBD_CMD_FLAG.FUA : 0) | (noHole ? NBD_CMD_FLAG.NO_HOLE : 0)
    this.#submit({ type: NBD_CMD.WRITE_ZEROES, flags, offset, length, completion })
  }

  flush(completion: Completion): void {
    if (this.#lost !== null) completion.complete(this.#lost)
    else this.#submit({ type: NBD_CMD.FLUSH, flags: 0, offset: 0, length: 0, completion })
  }

  /** Says goodbye to the server. What it has answered it has. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#client?.disconnect()
  }

  #submit(fields: Pick<Request, 'type' | 'flags' | 'offset' | 'length'> & Partial<Request>): void {
    if (this.#ended) {
      fields.completion?.complete(this.#lost)
      return
    }
    const request: Request = {
      payload: undefined,
      into: undefined,
      completion: undefined,
      ...fields,
      answeredAt: 0,
      coversUntil: 0,
    }
    this.#requests.add(request)
    if (this.#client !== null) void this.#send(this.#client, request)
  }

  /** Resolves when the request is answered, or when there is no answer to come from this client. */
  async #send(client: NbdClient, request: Request): Promise<void> {
    const { type, flags, offset, length, payload } = request
    request.coversUntil = this.#answers
    try {
      const data = await client.request({ type, flags, offset, length, ...(payload === undefined ? {} : { payload }) })
      this.#answered(request, data)
    } catch (error) {
      // It waits for the next connection.
      if (!isDeparture(error)) this.#refused(request, error as Error)
    }
  }

  #answered(request: Request, data: Buffer): void {
    const { type, flags, into, completion } = request
    if (type === NBD_CMD.FLUSH) {
      this.#requests.delete(request)
      this.#durable(request.coversUntil)
      completion?.complete(null)
    } else if (type === NBD_CMD.READ || (flags & NBD_CMD_FLAG.FUA) !== 0) {
      this.#requests.delete(request)
      if (into !== undefined) data.copy(into)
      if (request.answeredAt === 0) completion?.complete(null)
    } else if (request.answeredAt === 0) {
      request.answeredAt = ++this.#answers
      this.#volatileBytes += costOf(request)
      if (this.#volatileBytes > this.#volatileBytesMax) this.#makeRoom()
      if (this.#volatileBytes > 2 * this.#volatileBytesMax && completion !== undefined) this.#held.push(completion)
      else completion?.complete(null)
    }
  }

  #refused(request: Request, error: Error): void {
    this.#requests.delete(request)
    if (request.answeredAt === 0) {
      request.completion?.complete(error)
      return
    }
    // It was answered by a server that is gone, and its successor does not take it.
    this.#volatileBytes -= costOf(request)
    this.#lose(`a write that the server had answered could not be repeated (${error.message})`)
  }

  /** What was answered until then cannot be forgotten any more. */
  #durable(until: number): void {
    for (const request of this.#requests) {
      if (request.answeredAt === 0 || request.answeredAt > until) continue
      this.#requests.delete(request)
      this.#volatileBytes -= costOf(request)
    }
    if (this.#volatileBytes > 2 * this.#volatileBytesMax) return
    const held = this.#held
    this.#held = []
    for (const completion of held) completion.complete(null)
  }

  #makeRoom(): void {
    if (this.#flushing) return
    this.#flushing = true
    const complete = (error: Error | null): void => {
      const again = (): void => {
        this.#flushing = false
        if (this.#volatileBytes > this.#volatileBytesMax) this.#makeRoom()
      }
      // A server that cannot flush is about to end; there is no use in asking at once.
      if (error === null) again()
      else setTimeout(again, retryMillisMax).unref()
    }
    this.#submit({ type: NBD_CMD.FLUSH, flags: 0, offset: 0, length: 0, completion: { complete } })
  }

  /** From one connection to the next. */
  async #keep(first: Upstream): Promise<void> {
    let upstream = first
    for (;;) {
      await this.#repeat(upstream.client)
      await upstream.client.closed
      this.#client = null
      if (this.#closed) return
      this.#options.log('the server is gone; requests wait until it is back')
      const next = await this.#reconnect()
      if (next === null) return
      this.#options.log(`the server is back; ${this.#requests.size} requests are repeated`)
      upstream = next
    }
  }

  /**
   * First what the new server may have forgotten, so that a read that waits
   * finds it, then what waits. A server may take requests that are under way in
   * any order, so of two writes to one place the first must be done before the
   * second is sent.
   */
  async #repeat(client: NbdClient): Promise<void> {
    let underWay: { request: Request; sent: Promise<void> }[] = []
    for (const request of [...this.#requests].filter(({ answeredAt }) => answeredAt !== 0)) {
      if (underWay.some((other) => overlap(other.request, request))) {
        await Promise.all(underWay.map(({ sent }) => sent))
        underWay = []
      }
      underWay.push({ request, sent: this.#send(client, request) })
    }
    await Promise.all(underWay.map(({ sent }) => sent))
    for (const request of this.#requests) if (request.answeredAt === 0) void this.#send(client, request)
    // What comes from here on is sent as it comes.
    this.#client = client
  }

  /** Null when there is nothing to go back to. */
  async #reconnect(): Promise<Upstream | null> {
    for (let millis = retryMillisMin; !this.#closed; millis = Math.min(2 * millis, retryMillisMax)) {
      try {
        const upstream = await this.#options.connect()
        const { size, readOnly } = upstream.info
        // One that has grown goes on with the size that the client knows.
        if (size >= this.#size && readOnly === this.#readOnly) return upstream
        upstream.client.destroy()
        this.#lose(size < this.#size ? 'the disk is smaller now' : 'the disk can be written no more, or only now')
        this.#end()
        return null
      } catch {
        await new Promise((resolve) => setTimeout(resolve, millis))
      }
    }
    return null
  }

  #end(): void {
    this.#ended = true
    const requests = [...this.#requests]
    this.#requests.clear()
    for (const { answeredAt, completion } of requests) if (answeredAt === 0) completion?.complete(this.#lost)
    for (const completion of this.#held) completion.complete(null)
  }

  #lose(why: string): void {
    this.#options.log(why)
    this.#lost ??= new NbdError('EIO', why)
  }
}

/** Not an answer: the server is ending, or the connection is. */
function isDeparture(error: unknown): boolean {
  const { code } = error as NbdError
  return code === 'DISCONNECTED' || code === 'PROTOCOL' || code === 'ESHUTDOWN'
}

function overlap(a: Request, b: Request): boolean {
  return a.offset < b.offset + b.length && b.offset < a.offset + a.length
}

function costOf({ payload }: Request): number {
  return requestBytes + (payload?.length ?? 0)
}
