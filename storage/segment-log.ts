/**
 * The segment log: every byte and every decision of the store, in the order in
 * which they were taken.
 *
 *   append ──copy──> batch in memory ──write──> segment file ──fdatasync──> durable
 *          staged               written                     durable
 *
 * Three positions follow each other through the log. A record is readable as
 * soon as it is staged (from the batch until it is written), may be pointed to
 * by the index only once it is durable, and `sync` is the group commit that
 * makes everything staged before the call durable.
 *
 * Appends go one after another. One that finds the file system full stays where
 * it is and is tried again, at the same place, until there is room: nothing
 * staged is lost, and syncs meanwhile fail with NO_SPACE. Any other failure of an
 * append or of fdatasync ends the log (`failed`): after a failed fsync nobody
 * knows what the disk holds, and recovery, not hope, must decide.
 */

import type { Environment, Timer } from './environment.ts'
import { StoreError, systemCode } from './errors.ts'
import { offsetOf, type Position, positionOf, SEGMENT_ID_MAX, segmentOf } from './position.ts'
import {
  INCARNATION_BYTES,
  incarnationCrc,
  payloadOffset,
  recordBytes,
  type RecordHeader,
  sealRecord,
  SEGMENT_HEADER_BYTES,
  writeSegmentHeader,
} from './record.ts'
import type { Segment, SegmentFiles } from './segment-files.ts'

/** One write to a segment file. Larger than the largest record, large enough that system calls do not count. */
const BATCH_BYTES = 4 * 1024 * 1024
/** Batches that may wait to be written before `hasRoom` says no. */
const BATCHES_MAX = 6
/** A batch this full is written without waiting for the end of the event loop's turn. */
const BATCH_FULL_BYTES = 1024 * 1024
/** How often a full file system is tried again. */
const NO_SPACE_RETRY_MILLIS = 500

/** Bytes of a segment that are still in memory. */
export interface StagedBytes {
  readonly buffer: Buffer
  /** Where `buffer` starts in its segment. */
  readonly start: number
  /** crc32 of the segment's incarnation. */
  readonly incarnationCrc: number
}

interface Batch extends StagedBytes {
  segment: number
  start: number
  length: number
  incarnationCrc: number
}

export interface SegmentLogOptions {
  readonly segmentBytes: number
  /** An append or a sync failed for another reason than space. Called once. */
  onFailed(error: StoreError): void
  /** The file system is full (true), or has room again (false). */
  onNoSpace(full: boolean): void
}

interface SyncWaiter {
  readonly position: Position
  readonly done: (error: StoreError | null) => void
}

export class SegmentLog {
  readonly #environment: Environment
  readonly #files: SegmentFiles
  readonly #options: SegmentLogOptions
  readonly #freeBatches: Batch[] = []
  /** Full, or handed to the file system; the first is the one being written. */
  readonly #queue: Batch[] = []
  #open: Batch | undefined
  #openFile: Segment | undefined

  #stagedPosition: Position
  #writtenPosition: Position
  #durablePosition: Position

  #writing = false
  #scheduled = false
  #syncing = false
  readonly #unsynced = new Set<Segment>()
  readonly #syncWaiters: SyncWaiter[] = []
  readonly #roomWaiters: (() => void)[] = []
  #failure: StoreError | undefined
  #noSpace: StoreError | undefined
  #retryTimer: Timer | undefined
  /** Where the payload of the record that was begun belongs. */
  buffer: Buffer = Buffer.alloc(0)
  payloadAt = 0
  #recordAt = 0

  /** `nextSegment` is a number that no segment of this store ever had. */
  constructor(environment: Environment, files: SegmentFiles, nextSegment: number, options: SegmentLogOptions) {
    this.#environment = environment
    this.#files = files
    this.#options = options
    this.#stagedPosition = positionOf(nextSegment, 0)
    this.#writtenPosition = this.#stagedPosition
    this.#durablePosition = this.#stagedPosition
  }

  /** Everything appended so far lies before this. */
  get stagedPosition(): Position {
    return this.#stagedPosition
  }
  get durablePosition(): Position {
    return this.#durablePosition
  }
  get failure(): StoreError | undefined {
    return this.#failure
  }
  /** Set while the file system is full. */
  get noSpace(): StoreError | undefined {
    return this.#noSpace
  }

  /** Whether bulk writers may append now. Small records are always taken. */
  get hasRoom(): boolean {
    return this.#queue.length < BATCHES_MAX && this.#noSpace === undefined
  }

  /** Calls back once, when `hasRoom` may be true again (or the log failed). */
  onRoom(run: () => void): void {
    this.#roomWaiters.push(run)
  }

  /** Appends a record whose payload is copied from `payload`; returns where it begins. */
  append(header: RecordHeader, payload: Buffer): Position {
    this.begin(header.type, header.codec, payload.length)
    payload.copy(this.buffer, this.payloadAt)
    return this.finish(header)
  }

  /** First half of an append: afterwards the caller puts `payloadBytes` into `buffer` at `payloadAt`, and calls `finish`. */
  begin(type: number, codec: number, payloadBytes: number): void {
    const bytes = recordBytes(type, codec, payloadBytes)
    let batch = this.#open
    if (batch === undefined || batch.length + bytes > BATCH_BYTES || this.#segmentIsFull(batch, bytes)) {
      batch = this.#nextBatch(bytes)
    }
    this.buffer = batch.buffer
    this.#recordAt = batch.length
    this.payloadAt = batch.length + payloadOffset(type, codec, payloadBytes)
  }

  finish(header: RecordHeader): Position {
    const batch = this.#open as Batch
    header.durableSegment = segmentOf(this.#durablePosition)
    header.durableOffset = offsetOf(this.#durablePosition)
    sealRecord(batch.buffer, this.#recordAt, header, batch.incarnationCrc)
    const position = positionOf(batch.segment, batch.start + this.#recordAt)
    batch.length += recordBytes(header.type, header.codec, header.payloadBytes)
    this.#stagedPosition = positionOf(batch.segment, batch.start + batch.length)
    if (batch.length >= BATCH_FULL_BYTES) this.#submit()
    else this.#schedule()
    return position
  }

  /**
   * Calls back when everything appended before this call is durable, or with
   * NO_SPACE or STORE_FAILED. Calls at once when it already is.
   */
  sync(done: (error: StoreError | null) => void): void {
    if (this.#failure !== undefined) return done(this.#failure)
    if (this.#durablePosition >= this.#stagedPosition) return done(null)
    if (this.#noSpace !== undefined) return done(this.#noSpace)
    this.#syncWaiters.push({ position: this.#stagedPosition, done })
    this.#submit()
    this.#startSync()
  }

  synced(): Promise<void> {
    return new Promise((resolve, reject) => this.sync((error) => (error === null ? resolve() : reject(error))))
  }

  /** What has the bytes of a record that is not yet written to its file; undefined when they are there. */
  staged(segment: number, offset: number): StagedBytes | undefined {
    if (positionOf(segment, offset) < this.#writtenPosition) return undefined
    const open = this.#open
    if (open !== undefined && open.segment === segment && offset >= open.start) return open
    return this.#queue.find(
      (batch) => batch.segment === segment && offset >= batch.start && offset < batch.start + batch.length,
    )
  }

  /** Reads `length` bytes at a place in a segment file to the start of `into`. */
  read(
    segment: number,
    offset: number,
    length: number,
    into: Buffer,
    done: (error: Error | null, incarnationCrc: number) => void,
  ): void {
    this.#files.hold(segment, (error, file) => {
      if (error !== null || file.handle === undefined) return done(error ?? new Error('segment is closed'), 0)
      let filled = 0
      const handle = file.handle
      const more = (error: Error | null, bytesRead: number) => {
        filled += bytesRead
        if (error === null && filled < length && bytesRead > 0) {
          handle.read(into, filled, length - filled, offset + filled, more)
          return
        }
        const crc = file.incarnationCrc ?? 0
        this.#files.release(file)
        if (error === null && filled < length) error = new Error(`segment ${segment} ends before ${offset + length}`)
        done(error, crc)
      }
      handle.read(into, 0, length, offset, more)
    })
  }

  /** See `SegmentFiles.hold`. */
  hold(segment: number, ready: (error: Error | null, file: Segment) => void): void {
    this.#files.hold(segment, ready)
  }

  release(file: Segment): void {
    this.#files.release(file)
  }

  /** Writes and syncs what is staged, then forgets the open segment. */
  async close(): Promise<void> {
    try {
      if (this.#failure === undefined) await this.synced()
    } finally {
      this.#retryTimer?.cancel()
      if (this.#openFile !== undefined) this.#files.release(this.#openFile)
      this.#openFile = undefined
    }
  }

  #segmentIsFull(batch: Batch, bytes: number): boolean {
    return batch.start + batch.length + bytes > this.#options.segmentBytes
  }

  /** Puts the open batch into the queue and opens one that has room for `bytes`, in a new segment when the old one is full. */
  #nextBatch(bytes: number): Batch {
    const before = this.#open
    if (before !== undefined) this.#enqueueOpen()
    const batch = this.#freeBatches.pop() ?? newBatch()
    if (before !== undefined && !this.#segmentIsFull(before, bytes)) {
      batch.segment = before.segment
      batch.start = before.start + before.length
      batch.length = 0
      batch.incarnationCrc = before.incarnationCrc
    } else {
      this.#beginSegment(batch, before)
    }
    this.#open = batch
    return batch
  }

  #beginSegment(batch: Batch, before: Batch | undefined): void {
    // Before anything else: when `before` was empty, `batch` is the same object.
    const previousEnd = before === undefined ? 0 : positionOf(before.segment, before.start + before.length)
    batch.segment = before === undefined ? segmentOf(this.#stagedPosition) : before.segment + 1
    if (batch.segment > SEGMENT_ID_MAX) throw new Error('the segment numbers of this store are used up')
    batch.start = 0
    const incarnation = this.#environment.random.bytes(INCARNATION_BYTES)
    batch.incarnationCrc = incarnationCrc(incarnation)
    writeSegmentHeader(batch.buffer, 0, { id: batch.segment, incarnation, previousEnd })
    batch.length = SEGMENT_HEADER_BYTES
  }

  /** A batch that is not full is written at the end of the event loop's turn, with all that joins it until then. */
  #schedule(): void {
    if (this.#scheduled || this.#writing) return
    this.#scheduled = true
    this.#environment.clock.soon(() => {
      this.#scheduled = false
      this.#submit()
    })
  }

  #submit(): void {
    if (this.#writing) return
    if (this.#queue.length === 0) {
      if (this.#open === undefined || this.#open.length === 0) return
      this.#continueInNewBatch()
    }
    this.#writeFirst()
  }

  /** The open batch goes to the queue; the next record begins a batch that follows it in the same segment. */
  #continueInNewBatch(): void {
    const before = this.#open as Batch
    this.#enqueueOpen()
    const batch = this.#freeBatches.pop() ?? newBatch()
    batch.segment = before.segment
    batch.start = before.start + before.length
    batch.length = 0
    batch.incarnationCrc = before.incarnationCrc
    this.#open = batch
  }

  #enqueueOpen(): void {
    const batch = this.#open as Batch
    this.#open = undefined
    if (batch.length > 0) this.#queue.push(batch)
    else this.#freeBatches.push(batch)
  }

  #writeFirst(): void {
    const batch = this.#queue[0]
    if (batch === undefined || this.#writing || this.#failure !== undefined) return
    this.#writing = true
    if (this.#openFile?.id === batch.segment) return this.#writeRest(batch, this.#openFile, 0)
    if (this.#openFile !== undefined) this.#files.release(this.#openFile)
    this.#openFile = undefined
    this.#files.create(batch.segment, batch.incarnationCrc).then(
      (file) => {
        this.#openFile = file
        this.#writeRest(batch, file, 0)
      },
      (error: Error) => this.#writeFailed(error),
    )
  }

  #writeRest(batch: Batch, file: Segment, from: number): void {
    if (file.handle === undefined) return this.#writeFailed(new Error('the open segment has no handle'))
    file.handle.write(batch.buffer, from, batch.length - from, batch.start + from, (error, written) => {
      if (error !== null) return this.#writeFailed(error)
      const rest = from + written
      if (rest < batch.length) return this.#writeRest(batch, file, rest)
      this.#written(batch, file)
    })
  }

  #written(batch: Batch, file: Segment): void {
    this.#writing = false
    this.#queue.shift()
    this.#writtenPosition = positionOf(batch.segment, batch.start + batch.length)
    if (!this.#unsynced.has(file)) {
      this.#unsynced.add(file)
      file.holders++
    }
    this.#files.grew(file, batch.length)
    if (this.#freeBatches.length < BATCHES_MAX) this.#freeBatches.push(batch)
    if (this.#noSpace !== undefined) {
      this.#noSpace = undefined
      this.#options.onNoSpace(false)
    }
    this.#submit()
    this.#startSync()
    this.#wakeRoomWaiters()
  }

  #writeFailed(error: Error): void {
    this.#writing = false
    const code = systemCode(error)
    if (code === 'ENOSPC' || code === 'EDQUOT') return this.#outOfSpace(error)
    this.#fail('append to the segment log', error)
  }

  #outOfSpace(cause: Error): void {
    const first = this.#noSpace === undefined
    this.#noSpace = new StoreError(
      'NO_SPACE',
      'the file system of the data directory is full: make room; the store goes on by itself',
      {
        cause,
      },
    )
    const waiting = this.#syncWaiters.splice(0)
    for (const { done } of waiting) done(this.#noSpace)
    if (first) this.#options.onNoSpace(true)
    for (const run of this.#roomWaiters.splice(0)) run()
    this.#retryTimer?.cancel()
    this.#retryTimer = this.#environment.clock.after(NO_SPACE_RETRY_MILLIS, () => this.retry())
  }

  /** Tries at once what failed for lack of space; called when something was removed. */
  retry(): void {
    if (this.#noSpace !== undefined) this.#writeFirst()
  }

  #startSync(): void {
    const first = this.#syncWaiters[0]
    if (this.#syncing || first === undefined || this.#writtenPosition < first.position) return
    this.#syncing = true
    const covered = this.#writtenPosition
    const files = [...this.#unsynced]
    this.#unsynced.clear()
    let left = files.length
    let failure: Error | null = null
    const finished = (error: Error | null) => {
      failure ??= error
      if (--left > 0) return
      for (const file of files) this.#files.release(file)
      this.#synced(covered, failure)
    }
    for (const file of files) {
      if (file.handle === undefined) finished(new Error(`segment ${file.id} was closed before it was synced`))
      else file.handle.sync(finished)
    }
  }

  #synced(covered: Position, error: Error | null): void {
    this.#syncing = false
    if (error !== null) return this.#fail('sync the segment log', error)
    this.#durablePosition = covered
    const waiters = this.#syncWaiters
    let done = 0
    while (done < waiters.length && (waiters[done] as SyncWaiter).position <= covered) done++
    for (const waiter of waiters.splice(0, done)) waiter.done(null)
    this.#startSync()
  }

  #fail(what: string, cause: Error): void {
    if (this.#failure !== undefined) return
    const failure = new StoreError('STORE_FAILED', `cannot ${what}: ${cause.message}`, { cause })
    this.#failure = failure
    for (const { done } of this.#syncWaiters.splice(0)) done(failure)
    this.#options.onFailed(failure)
    this.#wakeRoomWaiters()
  }

  #wakeRoomWaiters(): void {
    if (this.#roomWaiters.length === 0 || (!this.hasRoom && this.#failure === undefined)) return
    for (const run of this.#roomWaiters.splice(0)) run()
  }
}

function newBatch(): Batch {
  return { buffer: Buffer.allocUnsafeSlow(BATCH_BYTES), segment: 0, start: 0, length: 0, incarnationCrc: 0 }
}
