import type { Socket } from 'node:net'
import { StoreError } from '../../storage/errors.ts'
import { ControlError, errorObject } from './errors.ts'
import { linesOf, tooLong } from './lines.ts'
import type { Correspondent } from './method.ts'
import { execute } from './methods.ts'
import type { ProgressFeed } from './progress-feed.ts'
import { parseRequest, RequestRefused } from './request.ts'
import type { ControlRequest } from './request.ts'
import type { ControlTarget } from './target.ts'
import { requestBytesMax } from './wire.ts'
import type { ControlNotifications, RequestId } from './wire.ts'

/** Answers waiting for a client that does not read; beyond it nothing more is read from it. */
export const unsentBytesMax = 1024 * 1024

/** How long a client that was hung up on has to read the reason. */
const lingerMillis = 1000

/**
 * One client of the control socket. Requests are executed one after another:
 * the socket is read only while none is, which bounds what a client can have
 * under way without a queue.
 */
export class ControlConnection implements Correspondent {
  readonly #subscriptions = new Map<number, () => void>()
  readonly #socket: Socket
  readonly #target: ControlTarget
  readonly #progress: ProgressFeed
  readonly #ended: Promise<void>
  #lastSubscription = 0
  #stopping = false
  #executing = false
  #wakeUp: () => void = () => {}

  constructor(socket: Socket, target: ControlTarget, progress: ProgressFeed) {
    this.#socket = socket
    this.#target = target
    this.#progress = progress
    // A client that is gone is no event; what it asked for is finished all the same.
    socket.on('error', () => {})
    socket.on('drain', () => this.#wakeUp())
    socket.on('close', () => {
      this.#wakeUp()
      for (const end of [...this.#subscriptions.values()]) end()
    })
    this.#ended = new Promise((resolve) => socket.once('close', () => resolve()))
    this.#converse().catch((error: unknown) => {
      if (!socket.destroyed)
        target.log.error(`control connection: ${error instanceof Error ? error.message : String(error)}`)
      socket.destroy()
    })
  }

  get congested(): boolean {
    return this.#socket.writableLength > unsentBytesMax
  }

  async drained(): Promise<void> {
    while (this.congested && !this.#socket.destroyed && !this.#stopping) {
      await this.#woken()
    }
    if (this.#stopping) throw new StoreError('STORE_STOPPING', 'the daemon is stopping')
    if (this.#socket.destroyed) throw new StoreError('STORE_STOPPING', 'the client is gone')
  }

  get subscriptionCount(): number {
    return this.#subscriptions.size
  }

  subscribed(end: () => void): number {
    this.#lastSubscription += 1
    this.#subscriptions.set(this.#lastSubscription, end)
    return this.#lastSubscription
  }

  unsubscribed(subscription: number): void {
    if (this.#subscriptions.delete(subscription)) this.#wakeUp()
  }

  endSubscription(subscription: number): void {
    this.#subscriptions.get(subscription)?.()
  }

  notify<N extends keyof ControlNotifications>(method: N, params: ControlNotifications[N]): void {
    this.#send({ method, params })
  }

  /** Finishes the request being executed, answers it and hangs up. */
  async stop(): Promise<void> {
    this.#stopping = true
    this.#wakeUp()
    if (!this.#executing) hangUp(this.#socket)
    await this.#ended
  }

  async #converse(): Promise<void> {
    const pieces = this.#socket.iterator({ destroyOnReturn: false })
    try {
      for await (const line of linesOf(pieces, requestBytesMax)) {
        if (this.#stopping) break
        if (line === tooLong) {
          const reason = `a request may have ${requestBytesMax} bytes`
          this.#answer(null, { error: errorObject(new ControlError('REQUEST_TOO_LONG', reason, { requestBytesMax })) })
          break
        }
        if (line.length === 0) continue
        this.#executing = true
        await this.#serve(line)
        this.#executing = false
        await this.drained()
      }
    } catch (error) {
      // Reading ends with an error when the client vanishes or we hang up.
      if (!this.#socket.destroyed && !this.#stopping) throw error
    }
    // Half-closed by a client that still listens: it gets what it subscribed to.
    while (this.#subscriptions.size > 0 && !this.#stopping) await this.#woken()
    hangUp(this.#socket)
  }

  async #serve(line: Buffer): Promise<void> {
    let request: ControlRequest
    try {
      request = parseRequest(line)
    } catch (error) {
      if (!(error instanceof RequestRefused)) throw error
      return this.#answer(error.id, { error: errorObject(error.cause) })
    }
    const { id, method } = request
    const context = { target: this.#target, progress: this.#progress, connection: this, requestId: id ?? null }
    try {
      const result = await execute(request, context)
      if (id !== undefined) this.#answer(id, { result })
    } catch (error) {
      const object = errorObject(error)
      if (object.data.code === 'INTERNAL_ERROR') {
        this.#target.log.error(
          `${method.slice(0, 64)}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
        )
      } else if (!this.#socket.destroyed) {
        this.#target.log.info(`${method.slice(0, 64)} refused: ${object.data.code}: ${object.message}`)
      }
      if (id !== undefined) this.#answer(id, { error: object })
    }
  }

  /** Something changed that somebody here may wait for; only one ever does. */
  #woken(): Promise<void> {
    return new Promise((resolve) => (this.#wakeUp = resolve))
  }

  #answer(id: RequestId, outcome: { result: unknown } | { error: unknown }): void {
    this.#send({ id, ...outcome })
  }

  #send(message: object): void {
    if (!this.#socket.writable) return
    this.#socket.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`)
  }
}

/** Says no more, lets the client read what was said, and closes. What it still sends is thrown away. */
export function hangUp(socket: Socket): void {
  if (socket.destroyed) return
  socket.end()
  socket.resume()
  const timer = setTimeout(() => socket.destroy(), lingerMillis)
  socket.once('close', () => clearTimeout(timer))
}
