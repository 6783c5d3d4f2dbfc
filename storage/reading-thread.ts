/** The event loop's side of the reading thread: see `ReadingThread` in `environment.ts`. */

import { Worker } from 'node:worker_threads'
import { type CheckedRead, READ_RECORDS_MAX, ReadOutcome } from './environment.ts'
import {
  Counter,
  READ_FIELDS,
  RECORD_FIELDS,
  type Ring,
  ringIn,
  ringMemory,
  SLOT_BYTES,
  SLOTS,
} from './reading-ring.ts'

/** After a read that had to wait for the disk all reads go another way for this long; while that goes on, longer and longer. */
const AVOID_MILLIS_MIN = 10
const AVOID_MILLIS_MAX = 1000
/** Reads in a row that need not wait, for the disk to count as one whose pages are in memory. */
const GOOD_READS = 64
/** No answer for this long, with reads submitted: the thread waits for a disk that takes its time. */
const STUCK_MILLIS = 20

export class NodeReadingThread {
  readonly #ring: Ring
  readonly #worker: Worker
  /** The slot used last is used next: so few of them are ever touched, and those stay in the processor's cache. */
  readonly #free: number[] = Array.from({ length: SLOTS }, (_, slot) => slot)
  readonly #waiting: (CheckedRead | undefined)[] = Array.from({ length: SLOTS })
  #submitted = 0
  #answered = 0
  #scheduled = false
  #avoidUntil = 0
  #avoidMillis = AVOID_MILLIS_MIN
  #goodReads = 0
  #progressAt = 0
  readonly #onLost: (error: Error) => void
  /** It takes no reads any more. */
  #closing = false
  /** Nothing is answered any more. */
  #ended = false
  #drained: (() => void) | undefined

  constructor(onLost: (error: Error) => void) {
    this.#onLost = onLost
    const memory = ringMemory()
    this.#ring = ringIn(memory)
    this.#worker = new Worker(new URL('./reading-worker.js', import.meta.url), { workerData: memory })
    this.#worker.on('message', () => this.#answer())
    this.#worker.on('error', (error) => this.#lost(error))
    this.#worker.on('exit', (code) => this.#lost(new Error(`the reading thread ended with ${code}`)))
    // It keeps the process alive only while somebody waits for it.
    this.#worker.unref()
  }

  read(
    fd: number,
    position: number,
    length: number,
    recordsAt: readonly number[],
    incarnationCrc: number,
    done: CheckedRead,
  ): boolean {
    if (this.#closing || this.#ended || length > SLOT_BYTES || recordsAt.length > READ_RECORDS_MAX) return false
    const now = performance.now()
    if (now < this.#avoidUntil) return false
    const slot = this.#free[this.#free.length - 1]
    if (slot === undefined) return false
    if (this.#submitted === this.#answered) {
      this.#progressAt = now
      this.#worker.ref()
    } else if (now - this.#progressAt > STUCK_MILLIS) return false

    this.#free.pop()
    const { reads, records, order } = this.#ring
    const at = slot * READ_FIELDS
    reads[at] = fd
    reads[at + 1] = position
    reads[at + 2] = length
    reads[at + 3] = incarnationCrc
    const first = slot * RECORD_FIELDS
    records[first] = recordsAt.length
    for (let i = 0; i < recordsAt.length; i++) records[first + 1 + i] = recordsAt[i] as number
    order[this.#submitted & (SLOTS - 1)] = slot
    this.#submitted = (this.#submitted + 1) | 0
    this.#waiting[slot] = done
    // All reads of one turn wake the thread once.
    if (!this.#scheduled) {
      this.#scheduled = true
      queueMicrotask(this.#submit)
    }
    return true
  }

  async close(): Promise<void> {
    this.#closing = true
    if (this.#submitted !== this.#answered) await new Promise<void>((resolve) => (this.#drained = resolve))
    this.#ended = true
    this.#worker.ref()
    await this.#worker.terminate()
  }

  readonly #submit = (): void => {
    this.#scheduled = false
    const { control } = this.#ring
    Atomics.store(control, Counter.AWAITED, 1)
    Atomics.store(control, Counter.SUBMITTED, this.#submitted)
    Atomics.notify(control, Counter.SUBMITTED)
  }

  #answer(): void {
    const { control, order, outcomes, memory } = this.#ring
    // A message may still come while the thread is being closed.
    if (this.#ended) return
    for (;;) {
      const done = Atomics.load(control, Counter.DONE)
      if (done === this.#answered) {
        if (this.#answered === this.#submitted) break
        // Asked again after this: what was done before it is known to be awaited would come without a message.
        Atomics.store(control, Counter.AWAITED, 1)
        if (Atomics.load(control, Counter.DONE) === done) break
        continue
      }
      this.#progressAt = performance.now()
      while (this.#answered !== done) {
        const slot = order[this.#answered & (SLOTS - 1)] as number
        const outcome = outcomes[slot] as ReadOutcome
        if (outcome === ReadOutcome.NOT_READ) this.#avoid(this.#progressAt)
        else if (++this.#goodReads >= GOOD_READS) this.#avoidMillis = AVOID_MILLIS_MIN
        this.#complete(slot, outcome, memory)
      }
    }
    if (this.#answered === this.#submitted) this.#idle()
  }

  #avoid(now: number): void {
    this.#goodReads = 0
    if (now < this.#avoidUntil) return
    this.#avoidUntil = now + this.#avoidMillis
    this.#avoidMillis = Math.min(2 * this.#avoidMillis, AVOID_MILLIS_MAX)
  }

  #idle(): void {
    this.#worker.unref()
    this.#drained?.()
  }

  #complete(slot: number, outcome: ReadOutcome, memory: Buffer): void {
    this.#answered = (this.#answered + 1) | 0
    const done = this.#waiting[slot] as CheckedRead
    this.#waiting[slot] = undefined
    try {
      done(outcome, memory, slot * SLOT_BYTES)
    } finally {
      this.#free.push(slot)
    }
  }

  /** The thread ended by itself: what it did not answer is read another way, as all from now on. */
  #lost(error: Error): void {
    if (this.#ended) return
    this.#ended = true
    this.#onLost(error)
    const { order, memory } = this.#ring
    while (this.#answered !== this.#submitted) {
      this.#complete(order[this.#answered & (SLOTS - 1)] as number, ReadOutcome.NOT_READ, memory)
    }
    this.#drained?.()
  }
}
