/**
 * The NBD server of the process: takes the clients of any number of sockets that
 * listen, counts and limits them, and tells who is there. It knows sockets and
 * time; the protocol is in `ServerConnection`, the exports are given.
 */

import type { Socket } from 'node:net'
import type { ExportTable } from '../protocol/export.ts'
import { handshakeMillisMax } from '../protocol/limits.ts'
import type { ConnectionCounters, RequestReport } from '../protocol/observer.ts'
import { SlabPool } from '../protocol/reply-arena.ts'
import { NbdSocket } from './nbd-socket.ts'

/** Clients at a time, over all listeners (as in qemu); each may cost `bytesInFlightMax`. */
export const connectionsMaxDefault = 100

/** At `stop`, a client that has not chosen an export has nothing at stake and gets no longer than this, milliseconds. */
const negotiatingGraceMillis = 500

/** At `stop`, until the last request is answered and taken, milliseconds. */
const stopGraceMillisDefault = 10_000

/** Where a listener is. */
export interface BoundPlace {
  /** `127.0.0.1:10809` or the path of a unix socket. */
  readonly name: string
  /** Null for a unix socket. */
  readonly port: number | null
}

/** A client as `status` shows it. */
export interface NbdClient {
  /** Counts up from 1 in the life of the process. */
  readonly id: number
  /** `127.0.0.1:40312` or `unix`. */
  readonly address: string
  /** Where it came in: `127.0.0.1:10809` or the path of the unix socket. */
  readonly listener: string
  /** Null while it negotiates. */
  readonly exportName: string | null
  /** When it connected. */
  readonly since: Date
  readonly counters: Readonly<ConnectionCounters>
}

/** What happens, for the log. All are optional, and none may throw. */
export interface NbdListenerEvents {
  attached?(client: NbdClient): void
  detached?(client: NbdClient): void
  /** A client sends no more, or is gone; its last requests may be under way still. May come twice. */
  leaving?(client: NbdClient): void
  /** A connection or an export was not given. */
  refused?(client: Pick<NbdClient, 'address'>, exportName: string | null, reason: string): void
  /** A client broke the protocol and was disconnected. */
  violated?(client: NbdClient, reason: string): void
  /** The device gave an error. */
  failed?(client: NbdClient, request: RequestReport, error: Error): void
  /** The device took longer than a second. */
  slow?(client: NbdClient, request: RequestReport, millis: number): void
  /** The device has had it for many seconds, and has it still. */
  hanging?(client: NbdClient, request: RequestReport, millis: number): void
  /** A socket failed. */
  error?(error: Error): void
}

export interface NbdListenerOptions {
  readonly exports: ExportTable
  readonly events?: NbdListenerEvents
  readonly connectionsMax?: number
  readonly handshakeMillisMax?: number
}

export class NbdListener {
  readonly #exports: ExportTable
  readonly #events: NbdListenerEvents
  readonly #connectionsMax: number
  readonly #handshakeMillisMax: number
  readonly #slabs = new SlabPool()
  readonly #clients = new Map<NbdClient, NbdSocket>()
  /** Attached clients whose last request the device may still hold. */
  #attached = 0
  #idLast = 0
  #stopping: Promise<void> | null = null
  #emptied: (() => void) | null = null

  constructor(options: NbdListenerOptions) {
    this.#exports = options.exports
    this.#events = options.events ?? {}
    this.#connectionsMax = options.connectionsMax ?? connectionsMaxDefault
    this.#handshakeMillisMax = options.handshakeMillisMax ?? handshakeMillisMax
  }

  /** Who is connected, in the order in which they came. */
  clients(): Iterable<NbdClient> {
    return this.#clients.keys()
  }

  /** Has requests reported that hang; to be called about once a second. */
  reportHanging(): void {
    for (const { connection } of this.#clients.values()) connection.reportHanging()
  }

  /**
   * Accepts nobody any more, lets what the devices hold be answered, and closes
   * every connection; one that is not done after `graceMillis` is cut off.
   * Called twice it is the same stop.
   */
  stop(graceMillis: number = stopGraceMillisDefault): Promise<void> {
    return (this.#stopping ??= this.#stop(graceMillis))
  }

  async #stop(graceMillis: number): Promise<void> {
    const empty = new Promise<void>((resolve) => (this.#emptied = resolve))
    for (const socket of this.#clients.values()) socket.connection.shutdown()
    this.#checkEmpty()
    const negotiating = setTimeout(
      () => {
        for (const socket of this.#clients.values()) if (socket.connection.phase === 'negotiating') socket.destroy()
      },
      Math.min(graceMillis, negotiatingGraceMillis),
    )
    const cutOff = setTimeout(() => {
      for (const socket of this.#clients.values()) socket.destroy()
      this.#emptied!()
    }, graceMillis)
    await empty
    clearTimeout(negotiating)
    clearTimeout(cutOff)
  }

  #checkEmpty(): void {
    if (this.#clients.size === 0 && this.#attached === 0) this.#emptied?.()
  }

  /** A client that came in at `listener`. It must be half-open (`allowHalfOpen`). */
  accept(socket: Socket, listener: BoundPlace): void {
    // A client that has gone again has no address any more.
    const address = listener.port === null ? 'unix' : hostAndPort(socket.remoteAddress ?? '?', socket.remotePort ?? 0)
    if (this.#stopping !== null || this.#clients.size >= this.#connectionsMax) {
      const reason = this.#stopping !== null ? 'stopping' : `there are ${this.#connectionsMax} connections already`
      this.#events.refused?.({ address }, null, reason)
      socket.on('error', () => {})
      socket.destroy()
      return
    }
    const events = this.#events
    const id = ++this.#idLast
    const since = new Date()
    const nbdSocket = new NbdSocket({
      socket,
      client: { address, listener: listener.name },
      exports: this.#exports,
      slabs: this.#slabs,
      handshakeMillisMax: this.#handshakeMillisMax,
      observer: {
        attached: () => {
          this.#attached++
          events.attached?.(client)
        },
        detached: () => {
          this.#attached--
          events.detached?.(client)
          this.#checkEmpty()
        },
        refused: (exportName, reason) => events.refused?.(client, exportName, reason),
        violated: (reason) => events.violated?.(client, reason),
        failed: (request, error) => events.failed?.(client, request, error),
        slow: (request, millis) => events.slow?.(client, request, millis),
        hanging: (request, millis) => events.hanging?.(client, request, millis),
      },
      leaving: () => events.leaving?.(client),
      closed: () => {
        events.leaving?.(client)
        this.#clients.delete(client)
        this.#checkEmpty()
      },
      failed: (error) => events.error?.(error),
    })
    const { connection } = nbdSocket
    const client: NbdClient = {
      id,
      address,
      listener: listener.name,
      since,
      counters: connection.counters,
      get exportName() {
        return connection.exportName
      },
    }
    this.#clients.set(client, nbdSocket)
  }
}

function hostAndPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
