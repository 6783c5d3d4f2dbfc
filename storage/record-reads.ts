/**
 * Reads of records from segment files. What is asked for in one turn of the event
 * loop and lies side by side in the log becomes one read of the file: a
 * sequential read then costs a system call, and a trip to the thread pool, for
 * many chunks instead of one for each. A call to the pool costs several times
 * what copying 16 KiB does.
 */

import type { SegmentLog } from './segment-log.ts'

/** One read. Long enough that calls no longer count, short enough that several are under way. */
const RUN_BYTES_MAX = 256 * 1024
/** What lies between two records, and is read for nothing, if they are to become one read: a small record or two. */
const GAP_BYTES_MAX = 4096
/** Memory kept for the next reads. */
const SPARE_BYTES_MAX = 8 * 1024 * 1024
const SPARE_BYTES_MIN = 4096

/** The record lies in `bytes` from `at` on, until the call returns. */
export type RecordRead = (error: Error | null, bytes: Buffer, at: number, incarnationCrc: number) => void

interface Wanted {
  readonly offset: number
  readonly length: number
  readonly done: RecordRead
}

interface Run {
  readonly segment: number
  readonly start: number
  end: number
  readonly wanted: Wanted[]
}

export class RecordReads {
  readonly #log: SegmentLog
  /** Of this turn. */
  #runs: Run[] = []
  /** Buffers for the next reads, by their size, a power of two. */
  readonly #spare = new Map<number, Buffer[]>()
  #spareBytes = 0

  constructor(log: SegmentLog) {
    this.#log = log
  }

  /** Reads `length` bytes at a place in the log where a record begins. The callback comes at once when they are still in memory. */
  read(segment: number, offset: number, length: number, done: RecordRead): void {
    const batch = this.#log.staged(segment, offset)
    if (batch !== undefined) return done(null, batch.buffer, offset - batch.start, batch.incarnationCrc)
    const last = this.#runs[this.#runs.length - 1]
    if (last !== undefined && last.segment === segment && offset >= last.end && offset <= last.end + GAP_BYTES_MAX) {
      const end = offset + length
      if (end - last.start <= RUN_BYTES_MAX) {
        last.end = end
        last.wanted.push({ offset, length, done })
        return
      }
    }
    if (this.#runs.length === 0) queueMicrotask(this.#start)
    this.#runs.push({ segment, start: offset, end: offset + length, wanted: [{ offset, length, done }] })
  }

  readonly #start = (): void => {
    const runs = this.#runs
    this.#runs = []
    for (const run of runs) this.#readRun(run)
  }

  #readRun(run: Run): void {
    const length = run.end - run.start
    const buffer = this.#borrow(length)
    this.#log.read(run.segment, run.start, length, buffer, (error, incarnationCrc) => {
      if (error !== null && run.wanted.length > 1) {
        // One bad sector is no reason to fail its neighbours.
        for (const each of run.wanted) {
          this.#readRun({ segment: run.segment, start: each.offset, end: each.offset + each.length, wanted: [each] })
        }
      } else {
        for (const { offset, done } of run.wanted) done(error, buffer, offset - run.start, incarnationCrc)
      }
      this.#giveBack(buffer)
    })
  }

  #borrow(length: number): Buffer {
    let bytes = SPARE_BYTES_MIN
    while (bytes < length) bytes *= 2
    const spare = this.#spare.get(bytes)?.pop()
    if (spare === undefined) return Buffer.allocUnsafeSlow(bytes)
    this.#spareBytes -= bytes
    return spare
  }

  #giveBack(buffer: Buffer): void {
    if (this.#spareBytes + buffer.length > SPARE_BYTES_MAX) return
    this.#spareBytes += buffer.length
    const spare = this.#spare.get(buffer.length)
    if (spare === undefined) this.#spare.set(buffer.length, [buffer])
    else spare.push(buffer)
  }
}
