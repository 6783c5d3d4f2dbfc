import type { Fields } from './parameters.ts'
import type { ProgressFeed } from './progress-feed.ts'
import type { ControlTarget } from './target.ts'
import type { ControlMethod, ControlNotifications, ParamsOf, RequestId, ResultOf } from './wire.ts'

/** One row of the method table. */
export interface Method<M extends ControlMethod> {
  readonly fields: Fields<ParamsOf<M>>
  run(params: ParamsOf<M>, context: MethodContext): ResultOf<M> | Promise<ResultOf<M>>
  /** What to log after it was done; absent for methods that change nothing. */
  readonly logLine?: (params: ParamsOf<M>, result: ResultOf<M>) => string
}

export type Methods<M extends ControlMethod> = { readonly [N in M]: Method<N> }

/** What a method sees of the daemon and of the connection that asks. */
export interface MethodContext {
  readonly target: ControlTarget
  readonly progress: ProgressFeed
  readonly connection: Correspondent
  /** Of the request being executed; null when it has none. */
  readonly requestId: RequestId
}

/** The other end of a connection, as methods and subscriptions see it. */
export interface Correspondent {
  notify<N extends keyof ControlNotifications>(method: N, params: ControlNotifications[N]): void
  /** More is waiting to be sent than a client that reads would leave. */
  readonly congested: boolean
  /** Resolves when it is not congested any more. Rejects when the connection or the daemon ends. */
  drained(): Promise<void>
  readonly subscriptionCount: number
  /** Registers one; `end` is called when the connection closes or the client ends it. Returns its number, never used before on this connection. */
  subscribed(end: () => void): number
  /** It ended, for whatever reason. */
  unsubscribed(subscription: number): void
  /** The client asks for its end. One that is not there has just ended, which is what was asked for. */
  endSubscription(subscription: number): void
}
