/**
 * A device on an NBD server that may go away and come back. Requests wait while
 * it is away, and when it is back everything that it may have forgotten is sent
 * again: what it has not answered, and also what it has answered but nobody has
 * flushed since, because a server that crashes may forget that. So whoever is
 * in front of this device sees one that never fails, only one that is slow at
 * times; for the Linux kernel's NBD driver that is the difference between a
 * file system that goes on and one that is lost (test/machine/README.md).
 *
 * Sending a write again is harmless as long as every later write to the same
 * place is sent again after it. So a change is kept until it is durable and no
 * older one that it overlaps can be repeated any more, and changes that overlap
 * are repeated one after the other: a server may do what it has at a time in any
 * order. A write of another client in between would be lost; as with any disk,
 * only one may write at a time.
 */

import { NBD_CMD, NBD_CMD_FLAG } from '../../protocol/constants.ts'
import type { BlockDevice, Completion } from '../../protocol/export.ts'
import type { NbdClient } from '../../protocol/client/client.ts'
import type { ExportInfo } from '../../protocol/client/export-info.ts'
import { NbdError } from '../../protocol/client/nbd-error.ts'
import { describedId } from '../../daemon/export-description.ts'
import { costOf, isChange, overlap } from './kept-request.ts'
import type { KeptRequest } from './kept-request.ts'

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

const retryMillisMin = 50
const retryMillisMax = 1_000

/** Repeated at a time, so that what may overlap is looked for among few. */
const repeatedAtOnceMax = 128

/** At the end the server gets so long to say that it is done. */
const goodbyeMillisMax = 10_000

export class KeptDevice implements BlockDevice {
  readonly #options: KeptDeviceOptions
  readonly #volatileBytesMax: number
  readonly #info: ExportInfo
  /** Everything not known to be done and durable, in the order in which it came. */
  readonly #requests = new Set<KeptRequest>()
  #volatileBytes = 0
  #answers = 0
  /** Answered writes whose completion waits for room. */
  #held: Completion[] = []
  #flushing = false
  /** Where requests are sent as they come; null while the server is away, and until everything was repeated. */
  #client: NbdClient | null = null
  /** A write that was answered is gone, or the disk is another: said at every flush from then on. */
  #lost: Error | null = null
  /** The answer to everything once there is nothing to wait for any more. */
  #ended: Error | null = null
  #closed = false

  constructor(options: KeptDeviceOptions) {
    this.#options = options
    this.#volatileBytesMax = options.volatileBytesMax ?? volatileBytesMaxDefault
    this.#info = options.first.info
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

  /**
   * Nobody asks any more. What the server has got is finished; what waits for
   * one that is away is given up, because whoever asked for it is gone and may
   * have been told that it failed.
   */
  async close(): Promise<void> {
    this.#closed = true
    const client = this.#client
    if (client === null) return this.#end(gone())
    this.#client = null
    const timer = setTimeout(() => client.destroy(), goodbyeMillisMax)
    await client.disconnect()
    clearTimeout(timer)
  }

  #submit(fields: Pick<KeptRequest, 'type' | 'flags' | 'offset' | 'length'> & Partial<KeptRequest>): void {
    if (this.#ended !== null) {
      fields.completion?.complete(this.#ended)
      return
    }
    const request: KeptRequest = {
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
  async #send(client: NbdClient, request: KeptRequest): Promise<void> {
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

  #answered(request: KeptRequest, data: Buffer): void {
    // Given up meanwhile.
    if (!this.#requests.has(request)) return
    const { type, into, completion } = request
    if (type === NBD_CMD.FLUSH) {
      this.#requests.delete(request)
      this.#durable(request.coversUntil)
      // A write may have been lost while this one was under way.
      completion?.complete(this.#lost)
    } else if (type === NBD_CMD.READ) {
      this.#requests.delete(request)
      if (into !== undefined) data.copy(into)
      completion?.complete(null)
    } else if (request.answeredAt === 0) {
      // Also with FUA: it is durable, but an older one that is not may be repeated, and then this one must follow.
      request.answeredAt = ++this.#answers
      this.#volatileBytes += costOf(request)
      if (this.#volatileBytes > this.#volatileBytesMax) this.#makeRoom()
      if (this.#volatileBytes > 2 * this.#volatileBytesMax && completion !== undefined) this.#held.push(completion)
      else completion?.complete(null)
    }
  }

  #refused(request: KeptRequest, error: Error): void {
    if (!this.#requests.delete(request)) return
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
    const staying: KeptRequest[] = []
    for (const request of this.#requests) {
      if (!isChange(request)) continue
      const isDurable = request.answeredAt !== 0 && request.answeredAt <= until
      if (isDurable && !staying.some((older) => overlap(older, request))) {
        this.#requests.delete(request)
        this.#volatileBytes -= costOf(request)
      } else {
        staying.push(request)
      }
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
    const { log } = this.#options
    for (let upstream: Upstream | null = first; upstream !== null;) {
      await this.#repeat(upstream.client)
      await upstream.client.closed
      this.#client = null
      if (this.#closed) break
      log('the server is gone; requests wait until it is back')
      upstream = await this.#reconnect()
      if (upstream !== null) log(`the server is back; ${this.#requests.size} requests are repeated`)
    }
    this.#end(gone())
  }

  /** First what the new server may have forgotten, so that a read that waits finds it, then what waits. */
  async #repeat(client: NbdClient): Promise<void> {
    let underWay: { request: KeptRequest; sent: Promise<void> }[] = []
    for (const request of [...this.#requests]) {
      if (request.answeredAt === 0) continue
      if (underWay.length === repeatedAtOnceMax || underWay.some((other) => overlap(other.request, request))) {
        await Promise.all(underWay.map(({ sent }) => sent))
        underWay = []
      }
      underWay.push({ request, sent: this.#send(client, request) })
    }
    await Promise.all(underWay.map(({ sent }) => sent))
    if (this.#closed) return client.destroy()
    for (const request of this.#requests) if (request.answeredAt === 0) void this.#send(client, request)
    // What comes from here on is sent as it comes.
    this.#client = client
  }

  /** Null when there is nothing to go back to. */
  async #reconnect(): Promise<Upstream | null> {
    let isMissing = false
    for (let millis = retryMillisMin; !this.#closed; millis = Math.min(2 * millis, retryMillisMax)) {
      let upstream: Upstream
      try {
        upstream = await this.#options.connect()
      } catch (error) {
        if ((error as NbdError).code === 'ERR_UNKNOWN' && !isMissing) {
          isMissing = true
          this.#options.log('the server is back, but there is no such disk; requests wait until there is')
        }
        await new Promise((resolve) => setTimeout(resolve, millis))
        continue
      }
      const difference = this.#closed ? null : differenceOf(this.#info, upstream.info)
      if (!this.#closed && difference === null) return upstream
      upstream.client.destroy()
      if (difference !== null) this.#end(this.#lose(difference))
      return null
    }
    return null
  }

  /** Nothing that waits will come to pass. */
  #end(reason: Error): void {
    if (this.#ended !== null) return
    this.#ended = reason
    const requests = [...this.#requests]
    this.#requests.clear()
    this.#volatileBytes = 0
    for (const { answeredAt, completion } of requests) if (answeredAt === 0) completion?.complete(reason)
    for (const completion of this.#held) completion.complete(null)
    this.#held = []
  }

  /** Returns what is said at every flush from now on. */
  #lose(why: string): Error {
    if (this.#lost === null) this.#options.log(why)
    return (this.#lost ??= new NbdError('EIO', why))
  }
}

/** Why an export is not the one that it was; null when it is. One that has grown goes on with the size that the client knows. */
function differenceOf(first: ExportInfo, now: ExportInfo): string | null {
  const [firstId, nowId] = [describedId(first.description), describedId(now.description)]
  if (firstId !== null && nowId !== null && firstId !== nowId) return 'another disk has this name now'
  if (now.size < first.size) return 'the disk is smaller now'
  return now.readOnly === first.readOnly ? null : 'the disk can be written no more, or only now'
}

function gone(): NbdError {
  return new NbdError('DISCONNECTED', 'nobody waits for the server any more')
}

/** Not an answer: the server is ending, or the connection is. */
function isDeparture(error: unknown): boolean {
  const { code } = error as NbdError
  return code === 'DISCONNECTED' || code === 'PROTOCOL' || code === 'ESHUTDOWN'
}
