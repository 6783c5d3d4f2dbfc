/** What a connection tells about itself, for logs, `status` and counters. Everything but the counters is off the hot path. */

/** A request as it is reported. */
export interface RequestReport {
  readonly exportName: string
  /** `READ`, `WRITE`, ... */
  readonly command: string
  /** Bytes. */
  readonly offset: number
  readonly length: number
}

export interface ConnectionObserver {
  /** A client entered transmission. */
  attached?(exportName: string): void
  /** It left, and nothing of it is under way any more. Follows each `attached`. */
  detached?(exportName: string, counters: ConnectionCounters): void
  /** An export was asked for and not given. */
  refused?(exportName: string, reason: string): void
  /** The client broke the protocol and was disconnected. */
  violated?(reason: string): void
  /** The device gave an error. */
  failed?(request: RequestReport, error: Error): void
  /** The device took longer than a second. */
  slow?(request: RequestReport, millis: number): void
  /** The device has had it for so long, and has it still. Once for each request. */
  hanging?(request: RequestReport, millis: number): void
}

export interface ConnectionCounters {
  /** All, also refused ones. */
  requests: number
  /** Requests answered with an error. */
  errors: number
  /** Payload of successful READ and WRITE. */
  bytesRead: number
  bytesWritten: number
}
