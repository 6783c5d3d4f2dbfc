/**
 * The transmission phase of one connection: requests in, simple replies out.
 * Each request is validated (`Door`), then executed (the device), then answered
 * (`finish`), and these are three functions: the first never touches the
 * device, and the last may come at any time and in any order.
 *
 * A request is in flight from its header to the moment its reply has left. When
 * there are too many of them, or their payload is too large, the next one waits
 * with its header decoded (`blocked`) and its bytes are read no further.
 */

import { NBD_CMD, NBD_CMD_FLAG, NBD_ERROR, NBD_SIMPLE_REPLY_BYTES, nameOf } from './constants.ts'
import type { Door } from './door.ts'
import type { ExportTable } from './export.ts'
import { bytesInFlightMax, payloadBytesMax, requestsInFlightMax } from './limits.ts'
import type { ConnectionCounters, ConnectionObserver, RequestReport } from './observer.ts'
import type { Outbox } from './outbox.ts'
import type { ReplyArena } from './reply-arena.ts'
import { Request, payloadBytesOf } from './request.ts'
import { RequestDecoder, RequestFound } from './request-decoder.ts'
import { writeSimpleReply } from './simple-reply.ts'

/** A request that the device holds for longer is reported. */
export const slowRequestMillis = 1000

/** One that is not back after so long is reported while it is under way, for it may never come back. */
export const hangingRequestMillis = 10_000

/** What transmission needs of the connection around it. */
export interface TransmissionHost {
  readonly outbox: Outbox
  readonly arena: ReplyArena
  readonly exports: ExportTable
  readonly observer: ConnectionObserver
  readonly counters: ConnectionCounters
  /** Milliseconds of a clock that never goes back. */
  now(): number
  /** A reply is in the outbox, and it is not sure that anybody is about to flush it. */
  replied(): void
  /** No request is read after this: the client said DISC. */
  disconnected(): void
  violated(reason: string): void
}

export class Transmission {
  readonly door: Door
  /** The next request is decoded but there is no room for it. */
  blocked = false
  /** Requests that the device has and has not completed. */
  executing = 0
  /** Every further request is answered with ESHUTDOWN. */
  stopping = false
  readonly #host: TransmissionHost
  readonly #decoder = new RequestDecoder()
  /** A WRITE that waits for its payload. */
  #writing: Request | null = null
  #requestsInFlight = 0
  #bytesInFlight = 0
  /** The clock at the last `consume`: near enough, and read once for all requests of a piece. */
  #nowMillis = 0
  #consuming = false
  #over = false
  /** The ends of the list of requests that the device has, in the order in which it was given them. */
  #oldest: Request | null = null
  #newest: Request | null = null

  constructor(door: Door, host: TransmissionHost) {
    this.door = door
    this.#host = host
  }

  /** Takes bytes from `bytes[at]` on; returns the position after what was taken. Stops early when `blocked` or after the end. */
  consume(bytes: Buffer, at: number): number {
    const decoder = this.#decoder
    this.#nowMillis = this.#host.now()
    this.#consuming = true
    if (this.blocked && this.#hasRoom()) {
      this.blocked = false
      this.#accept()
    }
    while (!this.blocked && !this.#over) {
      at = decoder.decode(bytes, at)
      const { found } = decoder
      if (found === RequestFound.nothing) break
      if (found === RequestFound.header) {
        if (this.#hasRoom()) this.#accept()
        else this.blocked = true
      } else if (found === RequestFound.payload) {
        const request = this.#writing!
        this.#writing = null
        this.#execute(request, decoder.payload)
      } else {
        this.#over = true
        this.#host.violated('a request has the wrong magic number')
      }
    }
    this.#consuming = false
    return at
  }

  /** Replies have left. */
  left(requests: number, payloadBytes: number): void {
    this.#requestsInFlight -= requests
    this.#bytesInFlight -= payloadBytes
  }

  /** The client went away: what it still wanted is forgotten. */
  abandon(): void {
    this.#over = true
    this.#writing = null
  }

  #hasRoom(): boolean {
    if (this.#requestsInFlight === 0) return true
    if (this.#requestsInFlight >= requestsInFlightMax) return false
    return this.#bytesInFlight + payloadBytesOf(this.#decoder.type, this.#decoder.length) <= bytesInFlightMax
  }

  /** A header: validated, and then refused, executed, or made to wait for its payload. */
  #accept(): void {
    const decoder = this.#decoder
    if (decoder.type === NBD_CMD.DISC) {
      this.#over = true
      this.#host.disconnected()
      return
    }
    this.#host.counters.requests++
    this.#requestsInFlight++
    const writes = decoder.type === NBD_CMD.WRITE
    if (writes && decoder.length > payloadBytesMax) {
      this.#over = true
      this.#host.violated(`a WRITE of ${decoder.length} bytes; at most ${payloadBytesMax} are accepted`)
      return
    }
    const refusal = this.stopping ? NBD_ERROR.ESHUTDOWN : this.door.check(decoder)
    if (refusal !== 0) {
      if (writes) decoder.skipPayload()
      this.#reply(decoder.cookieHigh, decoder.cookieLow, refusal)
      return
    }
    const request = new Request(this, decoder)
    this.#bytesInFlight += request.payloadBytes
    if (writes) {
      this.#writing = request
      decoder.expectPayload()
    } else {
      this.#execute(request, null)
    }
  }

  #execute(request: Request, payload: Buffer | null): void {
    const { device } = this.door.export
    const { offset, length } = request
    const fua = (request.flags & NBD_CMD_FLAG.FUA) !== 0
    this.executing++
    this.#link(request)
    request.startedMillis = this.#nowMillis
    // Nothing to do is done; devices see lengths of at least 1.
    if (length === 0 && request.type !== NBD_CMD.FLUSH && request.type !== NBD_CMD.READ) {
      request.complete(null)
      return
    }
    switch (request.type) {
      case NBD_CMD.READ: {
        const data = request.reserve(this.#host.arena.slabFor(NBD_SIMPLE_REPLY_BYTES + length))
        if (length === 0) request.complete(null)
        else device.read(offset, data, request)
        return
      }
      case NBD_CMD.WRITE:
        device.write(offset, payload!, fua, request)
        return
      case NBD_CMD.FLUSH:
        device.flush(request)
        return
      case NBD_CMD.TRIM:
        device.trim(offset, length, fua, request)
        return
      case NBD_CMD.WRITE_ZEROES:
        device.writeZeroes(offset, length, (request.flags & NBD_CMD_FLAG.NO_HOLE) !== 0, fua, request)
        return
    }
  }

  /** The device is done with a request. */
  finish(request: Request, error: Error | null): void {
    const host = this.#host
    const { counters, outbox } = host
    this.executing--
    this.#unlink(request)
    const number = error === null ? 0 : this.#failed(request, error)
    // Inside `consume` no time has passed that the clock would show.
    if (!this.#consuming) this.#reportIfSlow(request)
    let { slab, start } = request
    let end = start + NBD_SIMPLE_REPLY_BYTES
    if (slab === null) {
      slab = host.arena.slabFor(NBD_SIMPLE_REPLY_BYTES)
      start = slab.used
      slab.used = end = start + NBD_SIMPLE_REPLY_BYTES
      slab.living++
      if (number === 0 && request.type === NBD_CMD.WRITE) counters.bytesWritten += request.length
    } else if (number === 0) {
      end += request.length
      counters.bytesRead += request.length
    }
    writeSimpleReply(slab.buffer, start, number, request.cookieHigh, request.cookieLow)
    outbox.add(slab, start, end, request.payloadBytes)
    if (!this.#consuming) host.replied()
  }

  /** The answer to a request that was refused. */
  #reply(cookieHigh: number, cookieLow: number, error: number): void {
    const { arena, counters, outbox } = this.#host
    counters.errors++
    const slab = arena.slabFor(NBD_SIMPLE_REPLY_BYTES)
    const start = slab.used
    slab.used += NBD_SIMPLE_REPLY_BYTES
    slab.living++
    writeSimpleReply(slab.buffer, start, error, cookieHigh, cookieLow)
    outbox.add(slab, start, slab.used, 0)
  }

  #failed(request: Request, error: Error): number {
    this.#host.counters.errors++
    this.#host.observer.failed?.(this.#report(request), error)
    const number = this.#host.exports.errorNumber(error)
    return number === 0 ? NBD_ERROR.EIO : number
  }

  #reportIfSlow(request: Request): void {
    const millis = this.#host.now() - request.startedMillis
    if (millis > slowRequestMillis) this.#host.observer.slow?.(this.#report(request), millis)
  }

  /** Reports requests that the device has had for too long, each once. To be called now and then: no request has a timer. */
  reportHanging(): void {
    const now = this.#host.now()
    for (let request = this.#oldest; request !== null; request = request.newer) {
      const millis = now - request.startedMillis
      if (millis <= hangingRequestMillis) return
      if (request.isToldHanging) continue
      request.isToldHanging = true
      this.#host.observer.hanging?.(this.#report(request), millis)
    }
  }

  #link(request: Request): void {
    const newest = this.#newest
    request.older = newest
    if (newest === null) this.#oldest = request
    else newest.newer = request
    this.#newest = request
  }

  #unlink(request: Request): void {
    const { older, newer } = request
    if (older === null) this.#oldest = newer
    else older.newer = newer
    if (newer === null) this.#newest = older
    else newer.older = older
  }

  #report(request: Request): RequestReport {
    const { type, offset, length } = request
    return { exportName: this.door.export.name, command: nameOf(NBD_CMD, type), offset, length }
  }
}
