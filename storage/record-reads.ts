/**
 * Reads of records from segment files. What is asked for in one turn of the event
 * loop and lies side by side in the log becomes one read of the file: a
 * sequential read then costs a system call, and a trip to the thread pool, for
 * many chunks instead of one for each. A call to the pool costs several times
 * what copying 16 KiB does.
 */

import { type FileHandle, READ_RECORDS_MAX, type ReadingThread, ReadOutcome } from './environment.ts'
import type { SegmentLog } from './segment-log.ts'

/** One read. Long enough that calls no longer count, short enough that several are under way. */
const RUN_BYTES_MAX = 256 * 1024
/** What lies between two records, and is read for nothing, if they are to become one read: a small record or two. */
const GAP_BYTES_MAX = 4096
/** Memory kept for the next reads. */
const SPARE_BYTES_MAX = 8 * 1024 * 1024
const SPARE_BYTES_MIN = 4096

/** The record lies in `bytes` from `at` on, until the call returns. `good`: its checksums are known to match. */
export type RecordRead = (error: Error | null, bytes: Buffer, at: number, incarnationCrc: number, good: boolean) => void

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
  /** Where each record begins, from `start` on. */
  readonly records: number[]
}

export class RecordReads {
  readonly #log: SegmentLog
  readonly #thread: ReadingThread | undefined
  /** Of this turn. */
  #runs: Run[] = []
  /** Buffers for the next reads, by their size, a power of two. */
  readonly #spare = new Map<number, Buffer[]>()
  #spareBytes = 0
  /** Reads of files, not counting those of the reading thread. */
  #underWay = 0
  readonly #idleWaiters: (() => void)[] = []

  constructor(log: SegmentLog, thread: ReadingThread | undefined) {
    this.#log = log
    this.#thread = thread
  }

  /** Reads `length` bytes at a place in the log where a record begins. The callback comes at once when they are still in memory. */
  read(segment: number, offset: number, length: number, done: RecordRead): void {
    const batch = this.#log.staged(segment, offset)
    if (batch !== undefined) return done(null, batch.buffer, offset - batch.start, batch.incarnationCrc, false)
    const last = this.#runs[this.#runs.length - 1]
    if (last !== undefined && last.segment === segment && offset >= last.end && offset <= last.end + GAP_BYTES_MAX) {
      const end = offset + length
      if (end - last.start <= RUN_BYTES_MAX && last.wanted.length < READ_RECORDS_MAX) {
        last.end = end
        last.wanted.push({ offset, length, done })
        last.records.push(offset - last.start)
        return
      }
    }
    if (this.#runs.length === 0) queueMicrotask(this.#start)
    this.#runs.push(runOf(segment, { offset, length, done }))
  }

  readonly #start = (): void => {
    const runs = this.#runs
    this.#runs = []
    for (const run of runs) this.#readRun(run)
  }

  #readRun(run: Run): void {
    const thread = this.#thread
    if (thread === undefined) return this.#readFromFile(run)
    this.#log.hold(run.segment, (error, file) => {
      // Reading from the file says what is wrong with it.
      if (error !== null) return this.#readFromFile(run)
      const handle = file.handle as FileHandle
      const incarnationCrc = file.incarnationCrc as number
      const length = run.end - run.start
      const taken = thread.read(handle, run.start, length, run.records, incarnationCrc, (outcome, memory, at) => {
        if (outcome === ReadOutcome.NOT_READ) this.#readFromFile(run)
        else {
          const good = outcome === ReadOutcome.GOOD
          for (const { offset, done } of run.wanted) done(null, memory, at + offset - run.start, incarnationCrc, good)
        }
        this.#log.release(file)
      })
      if (taken) return
      this.#log.release(file)
      this.#readFromFile(run)
    })
  }

  #readFromFile(run: Run): void {
    const buffer = this.#borrow(run.end - run.start)
    this.#underWay++
    this.#log.read(run.segment, run.start, run.end - run.start, buffer, (error, incarnationCrc) => {
      this.#underWay--
      if (error !== null && run.wanted.length > 1) {
        // One bad sector is no reason to fail its neighbours.
        for (const each of run.wanted) this.#readFromFile(runOf(run.segment, each))
      } else {
        for (const { offset, done } of run.wanted) done(error, buffer, offset - run.start, incarnationCrc, false)
      }
      this.#giveBack(buffer)
      if (this.#underWay === 0) for (const resolve of this.#idleWaiters.splice(0)) resolve()
    })
  }

  /** Resolves when no read of a file is under way. */
  idle(): Promise<void> {
    return this.#underWay === 0 ? Promise.resolve() : new Promise((resolve) => this.#idleWaiters.push(resolve))
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

function runOf(segment: number, wanted: Wanted): Run {
  return { segment, start: wanted.offset, end: wanted.offset + wanted.length, wanted: [wanted], records: [0] }
}
