import type { StoreContract, StoreEvent } from '../../storage/contract.ts'
import type { ClientInfo, ListenerInfo } from './wire.ts'

/** All that the control server needs of the process around it. The daemon assembles one and hands it over. */
export interface ControlTarget {
  readonly store: StoreContract
  readonly version: string
  readonly startedAt: Date
  /** The NBD connections that hold an export at this moment. */
  clients(): readonly ClientInfo[]
  /** Where NBD is spoken. */
  listeners(): readonly ListenerInfo[]
  /** Sentences for `status` beside those of the store; that a TCP listener has no TLS is added by `status` itself. */
  warnings(): readonly string[]
  /** Calls `listener` for every event of the store until the function that it returns is called. */
  onStoreEvent(listener: (event: StoreEvent) => void): () => void
  readonly log: ControlLog
}

/** One line an event: what was changed is `notice`, refusals are `info`, faults of ours are `error`. Names and numbers, never data. */
export interface ControlLog {
  info(message: string): void
  notice(message: string): void
  error(message: string): void
}
