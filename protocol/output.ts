/**
 * The far side of a connection, as the protocol sees it: bytes out, reading
 * stopped and started, the end. An adapter over a socket implements it, and in
 * tests an array. None of these calls back into the connection before it
 * returns.
 */
export interface Output {
  /**
   * Sends the pieces in order, in one write when that can be. They stay
   * untouched until the adapter says `ServerConnection.left()`, which it does
   * once for each write; there is never a second write before that.
   */
  write(pieces: readonly Buffer[]): void
  /** Asks for one call of `ServerConnection.flush()` when this turn of the event loop is over. */
  flushSoon(): void
  /** No `push` until `resumeReading`, as far as it can be helped: what is pushed nevertheless is kept. */
  pauseReading(): void
  resumeReading(): void
  /** Everything was written and has left: close in order. */
  end(): void
  /** Close at once: the peer broke the rules, and there is no error that it would understand. */
  destroy(reason: string): void
}
