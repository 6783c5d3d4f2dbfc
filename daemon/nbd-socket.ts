/**
 * One accepted socket and its `ServerConnection`: bytes in, bytes out, pauses,
 * time limits. Every decision about the protocol is made on the other side.
 */

import type { Socket } from 'node:net'
import type { ClientIdentity, ExportTable } from '../protocol/export.ts'
import type { ConnectionObserver } from '../protocol/observer.ts'
import type { Output } from '../protocol/output.ts'
import type { SlabPool } from '../protocol/reply-arena.ts'
import { ServerConnection } from '../protocol/server-connection.ts'

/**
 * After our FIN the peer has so long to take the last replies and to close its
 * side, milliseconds. A socket closed with unread bytes in it would send a
 * reset, and that can destroy replies on their way.
 */
const lingerMillisMax = 2000

export interface NbdSocketOptions {
  readonly socket: Socket
  readonly client: ClientIdentity
  readonly exports: ExportTable
  readonly observer: ConnectionObserver
  readonly slabs: SlabPool
  readonly handshakeMillisMax: number
  /** The client will send no more. What it asked for is still answered. */
  leaving(): void
  /** The socket is closed. */
  closed(): void
  /** The socket failed otherwise than by the peer going away. */
  failed(error: Error): void
}

/** Ways in which clients leave without saying so. */
const departures = new Set([
  'EPIPE',
  'ECONNRESET',
  'ECONNABORTED',
  'ERR_STREAM_PREMATURE_CLOSE',
  'ERR_STREAM_DESTROYED',
])

export class NbdSocket implements Output {
  readonly connection: ServerConnection
  readonly #socket: Socket
  readonly #handshakeTimer: NodeJS.Timeout
  #lingerTimer: NodeJS.Timeout | undefined

  constructor(options: NbdSocketOptions) {
    const { socket, client, exports, slabs } = options
    this.#socket = socket
    this.#handshakeTimer = setTimeout(() => {
      this.connection.violated('no export was chosen in time')
    }, options.handshakeMillisMax)
    const observer: ConnectionObserver = {
      ...options.observer,
      attached: (exportName) => {
        clearTimeout(this.#handshakeTimer)
        options.observer.attached?.(exportName)
      },
    }
    this.connection = new ServerConnection({ exports, client, output: this, observer, slabs })
    // A static receive buffer (`onread`) was measured too: no difference at 4 KiB, a little more at 128 KiB. Node offers
    // it for accepted sockets only through private parts, and pieces that are ours to keep make pausing simple.
    socket.on('data', (bytes: Buffer) => this.connection.push(bytes))
    socket.on('end', () => {
      this.connection.ended()
      options.leaving()
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (!departures.has(error.code ?? '')) options.failed(error)
    })
    socket.on('close', () => {
      clearTimeout(this.#handshakeTimer)
      clearTimeout(this.#lingerTimer)
      this.connection.closed()
      options.closed()
    })
    this.connection.start()
  }

  write(pieces: readonly Buffer[]): void {
    const last = pieces.length - 1
    if (last > 0) {
      this.#socket.cork()
      for (let i = 0; i < last; i++) this.#socket.write(pieces[i]!)
    }
    this.#socket.write(pieces[last]!, this.#written)
    if (last > 0) this.#socket.uncork()
  }

  readonly #written = (error?: Error | null): void => {
    // After an error comes 'close'.
    if (!(error instanceof Error)) this.connection.left()
  }

  /** After the poll phase, so that all completions of one turn leave together. */
  flushSoon(): void {
    setImmediate(this.#flush)
  }

  readonly #flush = (): void => this.connection.flush()

  pauseReading(): void {
    this.#socket.pause()
  }

  resumeReading(): void {
    this.#socket.resume()
  }

  end(): void {
    this.#socket.end()
    // What still comes is read and dropped.
    this.#socket.resume()
    this.#lingerTimer = setTimeout(() => this.#socket.destroy(), lingerMillisMax)
  }

  destroy(): void {
    this.#socket.destroy()
  }
}
