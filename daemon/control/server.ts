import type { Socket } from 'node:net'
import { ControlConnection, hangUp } from './connection.ts'
import { ControlError, errorObject } from './errors.ts'
import { ProgressFeed } from './progress-feed.ts'
import type { ControlTarget } from './target.ts'

/** People and scripts at one time. More is a script gone wild, and each could hold some MiB of answers. */
export const connectionsMax = 64

/**
 * The control protocol behind a listening socket that somebody else owns:
 * `net.createServer({ allowHalfOpen: true }, socket => control.accept(socket))`.
 * Half-open, so that `echo '...' | nc -N` gets its answer.
 */
export class ControlServer {
  readonly #target: ControlTarget
  readonly #progress: ProgressFeed
  readonly #connections = new Set<ControlConnection>()
  readonly #unlisten: () => void
  #stopping = false

  constructor(target: ControlTarget, options: { progressIntervalMillis?: number } = {}) {
    this.#target = target
    this.#progress = new ProgressFeed(target.store, options.progressIntervalMillis)
    this.#unlisten = target.onStoreEvent((event) => {
      if (event.type === 'hydration-state' || event.type === 'hydration-finished') this.#progress.changed(event.disk)
    })
  }

  accept(socket: Socket): void {
    if (this.#stopping || this.#connections.size >= connectionsMax) {
      socket.on('error', () => {})
      const error = new ControlError(
        'TOO_MANY_CONNECTIONS',
        `${connectionsMax} programs are connected already: close some`,
        { connectionsMax },
      )
      if (!this.#stopping) socket.write(`${JSON.stringify({ jsonrpc: '2.0', id: null, error: errorObject(error) })}\n`)
      return hangUp(socket)
    }
    const connection = new ControlConnection(socket, this.#target, this.#progress)
    this.#connections.add(connection)
    socket.once('close', () => this.#connections.delete(connection))
  }

  /** Ends subscriptions (`"stopping"`), lets every request being executed finish and be answered, and closes all connections. The store must still be open. */
  async close(): Promise<void> {
    this.#stopping = true
    this.#unlisten()
    this.#progress.close()
    await Promise.all([...this.#connections].map((connection) => connection.stop()))
  }
}
