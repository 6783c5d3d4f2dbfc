/** The client's side of the control protocol (`daemon/CONTROL.md`). */
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { linesOf, tooLong } from '../daemon/control/lines.ts'
import type {
  ControlMethod,
  ControlNotifications,
  ErrorObject,
  ParamsOf,
  RequestId,
  ResultOf,
} from '../daemon/control/wire.ts'

/** The longest line that is taken from a daemon: a list of some hundred thousand snapshots. */
const answerBytesMax = 64 * 1024 * 1024

/** The daemon refused. `code` is stable (`DISK_NOT_FOUND`, ...), `message` is one line for people. */
export class ControlRefusal extends Error {
  readonly code: string
  readonly details: Readonly<Record<string, unknown>>

  constructor({ message, data }: ErrorObject) {
    super(message)
    this.name = 'ControlRefusal'
    this.code = data.code
    this.details = data.details
  }
}

/** The connection ended before the answer came. Whether the request was executed is not known. */
export class ControlConnectionLost extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'ControlConnectionLost'
  }
}

type NotificationName = keyof ControlNotifications
type Listener = (method: NotificationName, params: ControlNotifications[NotificationName]) => void

interface Pending {
  resolve(result: unknown): void
  reject(error: Error): void
}

interface Message {
  readonly id?: RequestId
  readonly method?: string
  readonly params?: unknown
  readonly result?: unknown
  readonly error?: ErrorObject
}

/** One connection. Requests go out as they are made; the daemon executes them one after another. */
export class ControlClient implements AsyncDisposable {
  readonly #socket: Socket
  readonly #pending = new Map<RequestId, Pending>()
  readonly #listeners = new Set<Listener>()
  readonly #ended: Promise<void>
  #lost: ControlConnectionLost | null = null
  #lastId = 0

  /** Rejects with the system's error (ENOENT, EACCES, ECONNREFUSED, ...). A path over 107 bytes is the caller's mistake: Node would cut it. */
  static connect(path: string): Promise<ControlClient> {
    return new Promise((resolve, reject) => {
      const socket = connect(path)
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        resolve(new ControlClient(socket))
      })
    })
  }

  private constructor(socket: Socket) {
    this.#socket = socket
    // Why it ended is told by the end of reading.
    socket.on('error', () => {})
    this.#ended = this.#read()
  }

  /** Rejects with ControlRefusal or ControlConnectionLost. */
  call<M extends ControlMethod>(method: M, params: ParamsOf<M>): Promise<ResultOf<M>> {
    return new Promise((resolve, reject) => {
      if (this.#lost !== null) return reject(this.#lost)
      const id = ++this.#lastId
      this.#pending.set(id, { resolve: resolve as (result: unknown) => void, reject })
      this.#socket.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`)
    })
  }

  /** Calls `listener` with the parameters of every such notification until the returned function is called. */
  on<N extends NotificationName>(method: N, listener: (params: ControlNotifications[N]) => void): () => void {
    const each: Listener = (name, params) => {
      if (name === method) listener(params as ControlNotifications[N])
    }
    this.#listeners.add(each)
    return () => this.#listeners.delete(each)
  }

  /** Resolves when the connection has ended, whoever ended it. */
  get ended(): Promise<void> {
    return this.#ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#lost ??= new ControlConnectionLost('the connection was closed')
    this.#socket.destroy()
    await this.#ended
  }

  async #read(): Promise<void> {
    let cause: unknown
    try {
      for await (const line of linesOf(this.#socket, answerBytesMax)) {
        if (line === tooLong) throw new Error(`an answer has over ${answerBytesMax} bytes`)
        this.#take(JSON.parse(line.toString()) as Message)
      }
    } catch (error) {
      cause = error
    }
    this.#socket.destroy()
    this.#lost ??= new ControlConnectionLost('the daemon closed the connection before it answered', { cause })
    for (const { reject } of this.#pending.values()) reject(this.#lost)
    this.#pending.clear()
  }

  #take({ id, method, params, result, error }: Message): void {
    if (method !== undefined) {
      for (const listener of [...this.#listeners])
        listener(method as NotificationName, params as ControlNotifications[NotificationName])
      return
    }
    const pending = this.#pending.get(id ?? null)
    if (pending !== undefined) {
      this.#pending.delete(id ?? null)
      if (error === undefined) pending.resolve(result)
      else pending.reject(new ControlRefusal(error))
      return
    }
    // Said of no request: too many connections, a line too long. The end of the connection follows.
    if (error !== undefined) for (const { reject } of this.#pending.values()) reject(new ControlRefusal(error))
  }
}
