/**
 * What the protocol needs of a device, and of the table of devices. The daemon
 * supplies both; nothing in this folder knows what stands behind them.
 *
 * The I/O methods take callbacks in the shape of an object (`Completion`), not
 * promises, because a request that finds its data in memory must go from the
 * parser to the reply without yielding and without allocating: the request
 * object itself is the completion.
 */

/** The party that waits for one I/O. `complete` is called exactly once, and may be called before the method that was given the completion returns. */
export interface Completion {
  /** `null` when the I/O was done; otherwise why not. */
  complete(error: Error | null): void
}

/**
 * The I/O of one device. Callers have checked the range against the size and
 * the device's read-only state (see `door.ts`): offsets and lengths are safe
 * integers, lengths at least 1, and the range lies inside the device.
 */
export interface BlockDevice {
  /** Fills all of `into` with the bytes at `offset`. `into` belongs to the device until `completion` is called. */
  read(offset: number, into: Buffer, completion: Completion): void
  /**
   * Writes `payload` at `offset`. The payload is valid only until this method
   * returns: it is a view of a receive buffer, and a device that cannot take it
   * at once must copy it. With `fua` the completion means that it is durable.
   */
  write(offset: number, payload: Buffer, fua: boolean, completion: Completion): void
  /** The range may be forgotten; afterwards it reads as zeroes (the specification allows anything; thaw promises this). */
  trim(offset: number, length: number, fua: boolean, completion: Completion): void
  /** The range reads as zeroes afterwards. With `noHole` the space must stay allocated. */
  writeZeroes(offset: number, length: number, noHole: boolean, fua: boolean, completion: Completion): void
  /** Completes when everything answered before this call, on any connection, is durable. */
  flush(completion: Completion): void
}

/** Who is at the other end, for the log, `status` and access rules. */
export interface ClientIdentity {
  /** `127.0.0.1:40312`, or `unix` with what is known of the peer. */
  readonly address: string
  /** Where it came in: `127.0.0.1:10809` or the path of the unix socket. */
  readonly listener?: string
}

/** One export as a client sees it. What it can do is fixed while a client holds it. */
export interface Export {
  readonly name: string
  /** One line for people, or the empty string. */
  readonly description: string
  /** Bytes. */
  readonly size: number
  readonly readOnly: boolean
  /** The block size with the least work for the device, a power of two, at least 512. */
  readonly preferredBlockBytes: number
  readonly device: BlockDevice
  /** A client has entered transmission. Called once for each connection; `release` is its counterpart. */
  hold(client: ClientIdentity): void
  release(client: ClientIdentity): void
}

/** The exports of a server. */
export interface ExportTable {
  /** In the order in which a client should see them. */
  list(): Iterable<Export>
  /**
   * The export of that name; the empty string asks for the default export.
   * `undefined` when there is none.
   */
  find(name: string): Export | undefined
  /** The NBD error number (`protocol/constants.ts`) for an error that a device gave. */
  errorNumber(error: Error): number
}
