/**
 * One client, from the greeting to the end, without its socket. An adapter
 * pushes in what it received and does what `Output` says; the rest of the
 * states are here:
 *
 *   negotiating -> transmitting -> finishing -> ended
 *        |              |             ^           (transport gone: over)
 *        +- ABORT ------+- DISC, EOF, shutdown
 *
 * Finishing means that no request is read any more, those in flight are
 * answered, and then the connection is closed in order.
 */

import type { Door } from './door.ts'
import type { ClientIdentity, ExportTable } from './export.ts'
import { Negotiation } from './negotiation.ts'
import type { NegotiationHost } from './negotiation.ts'
import type { ConnectionCounters, ConnectionObserver } from './observer.ts'
import { Outbox } from './outbox.ts'
import type { Output } from './output.ts'
import { ReplyArena, SlabPool } from './reply-arena.ts'
import { Transmission } from './transmission.ts'
import type { TransmissionHost } from './transmission.ts'

export interface ServerConnectionOptions {
  readonly exports: ExportTable
  readonly client: ClientIdentity
  readonly output: Output
  readonly observer?: ConnectionObserver
  /** Memory for replies, shared by the connections of a server. */
  readonly slabs?: SlabPool
  /** Milliseconds of a clock that never goes back. */
  readonly now?: () => number
}

export type ConnectionPhase = 'negotiating' | 'transmitting' | 'finishing' | 'ended' | 'over'

const EMPTY = Buffer.alloc(0)

export class ServerConnection implements NegotiationHost, TransmissionHost {
  readonly exports: ExportTable
  readonly client: ClientIdentity
  readonly observer: ConnectionObserver
  readonly arena: ReplyArena
  readonly outbox: Outbox
  readonly counters: ConnectionCounters = { requests: 0, errors: 0, bytesRead: 0, bytesWritten: 0 }
  readonly now: () => number
  readonly #output: Output
  readonly #negotiation: Negotiation
  #transmission: Transmission | null = null
  #phase: ConnectionPhase = 'negotiating'
  /** Received and not consumed, from `#at` on. */
  #input: Buffer = EMPTY
  #at = 0
  #advancing = false
  #readingPaused = false
  #flushAsked = false
  /** No more will come than what is in `#input`. */
  #inputEnded = false
  /** The export is held for this client. */
  #held = false
  #stopping = false

  constructor(options: ServerConnectionOptions) {
    this.exports = options.exports
    this.client = options.client
    this.observer = options.observer ?? {}
    this.now = options.now ?? (() => performance.now())
    this.#output = options.output
    this.arena = new ReplyArena(options.slabs ?? new SlabPool())
    this.outbox = new Outbox(options.output, this.arena)
    this.#negotiation = new Negotiation(this)
  }

  get phase(): ConnectionPhase {
    return this.#phase
  }

  /** The name of the export in use, or null while none was chosen. */
  get exportName(): string | null {
    return this.#transmission?.door.export.name ?? null
  }

  /** Says hello. Once, before anything else. */
  start(): void {
    this.#negotiation.start()
    this.outbox.flush()
  }

  /** Bytes from the client. The connection may keep `bytes` until it has consumed them. */
  push(bytes: Buffer): void {
    if (!this.#reading) return
    this.#input = this.#at < this.#input.length ? Buffer.concat([this.#input.subarray(this.#at), bytes]) : bytes
    this.#at = 0
    this.#advance()
  }

  /** The answer to `Output.flushSoon`. */
  flush(): void {
    this.#flushAsked = false
    this.outbox.flush()
    this.#settle()
  }

  /** The bytes of the last `Output.write` have left this process. */
  left(): void {
    if (this.#phase === 'over') return
    const { requests, payloadBytes } = this.outbox.left()
    this.#transmission?.left(requests, payloadBytes)
    if (this.#readingPaused && this.#reading) this.#advance()
    else this.flush()
  }

  /** The client will send no more (its FIN). What it asked for is still answered. */
  ended(): void {
    if (!this.#reading) return
    this.#inputEnded = true
    this.#settle()
  }

  /** The transport is gone, for whatever reason. */
  closed(): void {
    if (this.#phase === 'over') return
    this.#phase = 'over'
    this.#transmission?.abandon()
    this.#dropInput()
    this.outbox.close()
    this.#settle()
  }

  /** Has requests reported that the device has had for too long. To be called now and then. */
  reportHanging(): void {
    this.#transmission?.reportHanging()
  }

  /**
   * The server stops. While negotiating, options are answered with
   * ERR_SHUTDOWN and the client may say ABORT; when transmitting, the requests
   * that the device has are answered, later ones get ESHUTDOWN, and when none is
   * left the connection is closed.
   */
  shutdown(): void {
    if (this.#stopping) return
    this.#stopping = true
    this.#negotiation.stopping = true
    if (this.#transmission !== null) this.#transmission.stopping = true
    this.#settle()
  }

  /** Bytes are taken from the client. */
  get #reading(): boolean {
    return this.#phase === 'negotiating' || this.#phase === 'transmitting'
  }

  #advance(): void {
    this.#advancing = true
    let machine
    do {
      machine = this.#transmission ?? this.#negotiation
      this.#at = machine.consume(this.#input, this.#at)
    } while (this.#reading && machine !== (this.#transmission ?? this.#negotiation))
    this.#advancing = false
    const blocked = this.#reading && machine.blocked
    if (!blocked) this.#dropInput()
    if (blocked !== this.#readingPaused && this.#phase !== 'over') {
      this.#readingPaused = blocked
      if (blocked) this.#output.pauseReading()
      else this.#output.resumeReading()
    }
    this.outbox.flush()
    this.#settle()
  }

  #dropInput(): void {
    this.#input = EMPTY
    this.#at = 0
  }

  /** Goes on to the next phase when there is nothing left to do in this one. */
  #settle(): void {
    if (this.#advancing) return
    const executing = this.#transmission?.executing ?? 0
    if (this.#reading && !this.#readingPaused) {
      const stopped = this.#stopping && this.#phase === 'transmitting' && executing === 0
      if (this.#inputEnded || stopped) this.#phase = 'finishing'
    }
    if (executing > 0) return
    if (this.#phase === 'finishing') {
      this.outbox.flush()
      if (this.outbox.empty) {
        this.#phase = 'ended'
        this.#output.end()
      }
    }
    if (this.#phase === 'ended' || this.#phase === 'over') this.#release()
  }

  #release(): void {
    if (!this.#held) return
    this.#held = false
    const target = this.#transmission!.door.export
    target.release(this.client)
    this.observer.detached?.(target.name, this.counters)
  }

  // What the two machines report.

  chosen(door: Door): void {
    this.#transmission = new Transmission(door, this)
    this.#transmission.stopping = this.#stopping
    this.#phase = 'transmitting'
    this.#held = true
    door.export.hold(this.client)
    this.observer.attached?.(door.export.name)
  }

  exportRefused(name: string, reason: string): void {
    this.observer.refused?.(name, reason)
  }

  replied(): void {
    // Inside `#advance` and `left` a flush follows anyway; a closed connection has nowhere to send to.
    if (this.#phase === 'over') this.#settle()
    else if (!this.#advancing && !this.#flushAsked) {
      this.#flushAsked = true
      this.#output.flushSoon()
    }
  }

  disconnected(): void {
    this.#phase = 'finishing'
  }

  violated(reason: string): void {
    this.observer.violated?.(reason)
    // What was answered before is sent, so that it does not depend on how the stream was cut.
    this.outbox.flush()
    this.#output.destroy(reason)
    this.closed()
  }
}
