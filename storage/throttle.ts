/**
 * A rate limit for background copying. Time is the currency: each byte taken
 * moves the moment at which the next may be taken. A change of the rate is felt
 * at once, also by whoever is waiting.
 */

import type { Clock, Timer } from './environment.ts'

/** What was not taken can be made up for, but only so much: no burst after a pause. */
const CREDIT_MILLIS = 100

interface Taker {
  readonly bytes: number
  readonly gaveUp: () => boolean
  readonly served: () => void
}

export class Throttle {
  readonly #clock: Clock
  #rate: number | null
  /** When the bytes taken so far are paid for. */
  #paidUntil: number
  #takers: Taker[] = []
  /** For the first of the takers. */
  #timer: Timer | undefined

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

  /** Resolves when `bytes` may be copied, or once `gaveUp` is true when asked at a `wake`; takers are served in their order. */
  take(bytes: number, gaveUp: () => boolean): Promise<void> {
    if (this.#rate === null && this.#takers.length === 0) return Promise.resolve()
    return new Promise((served) => {
      this.#takers.push({ bytes, gaveUp, served })
      if (this.#timer === undefined) this.#serve()
    })
  }

  /** The rate changed, or some takers may have given up. */
  wake(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    const staying: Taker[] = []
    for (const taker of this.#takers) {
      if (taker.gaveUp()) taker.served()
      else staying.push(taker)
    }
    this.#takers = staying
    this.#serve()
  }

  #serve(): void {
    for (;;) {
      const first = this.#takers[0]
      if (first === undefined) return
      if (this.#rate !== null) {
        const now = this.#clock.monotonicMillis()
        this.#paidUntil = Math.max(this.#paidUntil, now - CREDIT_MILLIS)
        if (this.#paidUntil > now) {
          this.#timer = this.#clock.after(this.#paidUntil - now, () => {
            this.#timer = undefined
            this.#serve()
          })
          return
        }
        this.#paidUntil += (first.bytes * 1000) / this.#rate
      }
      this.#takers.shift()
      first.served()
    }
  }
}
