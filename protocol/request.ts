/**
 * One request on its way through the device. It is itself the completion that
 * the device is given, so that nothing else is allocated for it.
 */

import { NBD_CMD, NBD_SIMPLE_REPLY_BYTES } from './constants.ts'
import type { Completion } from './export.ts'
import type { Slab } from './reply-arena.ts'
import type { RequestDecoder } from './request-decoder.ts'

/** The party that answers. */
export interface RequestOwner {
  finish(request: Request, error: Error | null): void
}

export class Request implements Completion {
  readonly type: number
  readonly flags: number
  readonly cookieHigh: number
  readonly cookieLow: number
  readonly offset: number
  readonly length: number
  /** When it was given to the device, milliseconds of the connection's clock. */
  startedMillis = 0
  /** The requests that the device was given before and after this one, of those that it still has. */
  older: Request | null = null
  newer: Request | null = null
  /** It was told that the device does not come back with it. */
  isToldHanging = false
  /** A READ: where its reply is built. Any other: null, its reply has only a header. */
  slab: Slab | null = null
  start = 0
  readonly #owner: RequestOwner
  #completed = false

  constructor(owner: RequestOwner, header: RequestDecoder) {
    this.#owner = owner
    this.type = header.type
    this.flags = header.flags
    this.cookieHigh = header.cookieHigh
    this.cookieLow = header.cookieLow
    this.offset = header.offset
    this.length = header.length
  }

  /** Payload that the request moves in either direction, bytes: what it is counted with while in flight. */
  get payloadBytes(): number {
    return payloadBytesOf(this.type, this.length)
  }

  /** Where the data of a READ go. */
  reserve(slab: Slab): Buffer {
    this.slab = slab
    this.start = slab.used
    const data = this.start + NBD_SIMPLE_REPLY_BYTES
    slab.used = data + this.length
    slab.living++
    return slab.buffer.subarray(data, slab.used)
  }

  complete(error: Error | null): void {
    // A second completion could send another request's bytes: better no process than that.
    if (this.#completed) throw new TypeError('a device completed a request twice')
    this.#completed = true
    this.#owner.finish(this, error)
  }
}

/** TRIM and its like carry a length but no payload. */
export function payloadBytesOf(type: number, length: number): number {
  return type === NBD_CMD.READ || type === NBD_CMD.WRITE ? length : 0
}
