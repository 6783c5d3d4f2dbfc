/**
 * A rate limit for background copying. Time is the currency: each byte taken
 * moves the moment at which the next may be taken. A change of the rate is felt
 * at once, also by whoever is waiting.
 */

import type { Clock, Timer } from './environment.ts'

/** What was not taken can be made up for, but only so much: no burst after a pause. */
const CREDIT_MILLIS = 100

export class Throttle {
  readonly #clock: Clock
  #rate: number | null
  /** When the bytes taken so far are paid for. */
  #paidUntil: number
  #waiting: { timer: Timer; wake: () => void } | undefined
  #queue: Promise<void> = Promise.resolve()

  /** `rate` in bytes a second; null is unlimited. */
  constructor(clock: Clock, rate: number | null) {
    this.#clock = clock
    this.#rate = rate
    this.#paidUntil = clock.monotonicMillis()
  }

  get rate(): number | null {
    return this.#rate
  }

  set rate(rate: number | null) {
    const now = this.#clock.monotonicMillis()
    // What is still owed was reckoned at the old rate.
    if (this.#rate !== null && rate !== null && this.#paidUntil > now) {
      this.#paidUntil = now + ((this.#paidUntil - now) * this.#rate) / rate
    }
    this.#rate = rate
    this.wake()
  }

  /** Resolves when `bytes` may be copied; takers are served in their order. */
  take(bytes: number): Promise<void> {
    if (this.#rate === null && this.#waiting === undefined) return Promise.resolve()
    this.#queue = this.#queue.then(() => this.#takeNow(bytes))
    return this.#queue
  }

  /** Lets whoever waits look again: the rate changed, or they are to stop. */
  wake(): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.timer.cancel()
    waiting?.wake()
  }

  async #takeNow(bytes: number): Promise<void> {
    for (;;) {
      const rate = this.#rate
      if (rate === null) return
      const now = this.#clock.monotonicMillis()
      this.#paidUntil = Math.max(this.#paidUntil, now - CREDIT_MILLIS)
      if (this.#paidUntil <= now) {
        this.#paidUntil += (bytes * 1000) / rate
        return
      }
      const millis = this.#paidUntil - now
      await new Promise<void>((resolve) => {
        this.#waiting = { timer: this.#clock.after(millis, () => this.wake()), wake: resolve }
      })
    }
  }
}
