/**
 * Hydration: a restored lineage makes what it reads through its origin its own,
 * in the background and at a set rate, until it needs the origin no more.
 *
 * A chunk is to be copied as long as the oldest living generation of the lineage
 * has no row for it while the origin has one. The copy goes to generation 0,
 * which clients never write, so it can never cover what a client did. Reads do
 * not wait here: they are served through the origin, and what they fetched is
 * kept (see `ChunkLoader`).
 *
 * Progress is counted by pages of the chunk map, and only of what is durable:
 * pages that changed are counted anew after a sync of the log.
 */

import { holeRow } from './chunk-index.ts'
import { isView } from './chunk-loader.ts'
import type { HydrationState, Rate } from './contract.ts'
import type { Core } from './core.ts'
import { systemCode } from './errors.ts'
import { ancestry, isAncestry, type Lineage, type Origin, type View } from './lineage.ts'
import { PAGE_CHUNKS } from './page.ts'
import { RecordType } from './record.ts'
import { chunkKey, GENERATION_MAX, keyChunk, type Row, RowKind } from './row.ts'
import { Throttle } from './throttle.ts'

/** Chunks on their way at the same time: half of a thread pool of 16 at most, with the total of all disks in mind. */
const COPIES_MAX = 8
/** Chunks of one copy, when their records lie side by side, so that one read has them all. */
const GROUP_MAX = 16
/** What may lie between such records: their headers, and a small record of another kind. */
const GROUP_GAP_BYTES = 4096
/** One copy is at most what the rate allows in so long. */
const GROUP_MILLIS = 20
/** How often progress is made durable and counted. */
const COUNT_MILLIS = 200
const SPACE_MILLIS = 1000
const RETRY_MILLIS_MIN = 1000
const RETRY_MILLIS_MAX = 60_000
/** The rate shown is that of about so many milliseconds. */
const RATE_MILLIS = 4000

export interface HydrationOptions {
  readonly rate: Rate
  readonly paused: boolean
  /** All disks together. */
  readonly total: Throttle
  readonly inlineBytesMax: number
  /** Whether background work may still take space. */
  hasSpace(): Promise<boolean>
  onState(state: HydrationState, reason: string | null): void
  /** All is copied and durable: the origin can be cut. */
  finish(): Promise<void>
}

export class Hydration {
  readonly lineage: Lineage
  readonly #core: Core
  readonly #options: HydrationOptions
  readonly #throttle: Throttle
  /** Pages with chunks still to copy, and how many. */
  readonly #remaining = new Map<number, number>()
  /** Pages in which rows were set since they were counted. */
  readonly #stale = new Set<number>()
  /** Pages that the sweep has been through since they were counted. */
  readonly #swept = new Set<number>()
  #counting = -1
  #surveyed = false
  #totalChunks = 0
  #remainingChunks = 0
  #paused: boolean
  #state: HydrationState = 'surveying'
  #lastError: string | null = null
  #stopped = false
  #wake: (() => void) | undefined
  #running: Promise<void> | undefined
  #countTimer = false
  #copiedBytes = 0
  #rateMark = { millis: 0, bytes: 0, rate: 0 }

  constructor(core: Core, lineage: Lineage, options: HydrationOptions) {
    this.#core = core
    this.lineage = lineage
    this.#options = options
    this.#paused = options.paused
    this.#throttle = new Throttle(core.environment.clock, options.rate)
    this.#rateMark.millis = core.environment.clock.monotonicMillis()
  }

  get state(): HydrationState {
    return this.#state
  }
  get rate(): Rate {
    return this.#throttle.rate
  }
  get paused(): boolean {
    return this.#paused
  }
  get lastError(): string | null {
    return this.#lastError
  }
  /** Bytes; null while not counted. */
  get totalBytes(): number | null {
    return this.#surveyed ? this.#totalChunks * this.lineage.chunkBytes : null
  }
  get remainingBytes(): number | null {
    return this.#surveyed ? this.#remainingChunks * this.lineage.chunkBytes : null
  }

  /** Bytes a second, over the last seconds. */
  get currentRate(): number {
    const now = this.#core.environment.clock.monotonicMillis()
    const mark = this.#rateMark
    const millis = now - mark.millis
    if (millis < RATE_MILLIS / 4 && mark.rate > 0) return mark.rate
    const rate = millis <= 0 ? 0 : ((this.#copiedBytes - mark.bytes) * 1000) / millis
    if (millis >= RATE_MILLIS) this.#rateMark = { millis: now, bytes: this.#copiedBytes, rate }
    return Math.round(rate)
  }

  start(): void {
    this.lineage.hydration = this
    this.#running = this.#run()
  }

  set(change: { rate?: Rate; paused?: boolean }): void {
    if (change.rate !== undefined) this.#throttle.rate = change.rate
    if (change.paused !== undefined) this.#paused = change.paused
    this.#wakeTakers()
    this.#wakeUp()
  }

  /** A row of the lineage was set: its page is to be counted again. */
  rowSet(chunk: number): void {
    const page = Math.floor(chunk / PAGE_CHUNKS)
    if (!this.#remaining.has(page) && page !== this.#counting) return
    this.#stale.add(page)
    this.#countSoon()
  }

  /** The oldest living generation changed: what it needs is to be counted again. */
  countAgain(): void {
    for (const page of this.#remaining.keys()) this.#stale.add(page)
    this.#countSoon()
  }

  /** Ends the copying, wherever it is; what was copied stays. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#wakeTakers()
    this.#wakeUp()
    await this.#running
  }

  #wakeTakers(): void {
    this.#throttle.wake()
    this.#options.total.wake()
  }

  async #run(): Promise<void> {
    let retryMillis = RETRY_MILLIS_MIN
    while (!this.#stopped) {
      try {
        if (!this.#surveyed) await this.#survey()
        if (this.#stopped || (await this.#step())) return
        retryMillis = RETRY_MILLIS_MIN
      } catch (error) {
        if (this.#stopped) return
        const code = systemCode(error)
        const message = (error as Error).message
        this.#lastError = code === undefined ? message : `${message} (${code})`
        this.#become('retrying', this.#lastError)
        this.#swept.clear()
        await this.#sleep(retryMillis)
        retryMillis = Math.min(retryMillis * 2, RETRY_MILLIS_MAX)
      }
    }
  }

  /** Does one piece of work, or waits for some; true when hydration is finished. */
  async #step(): Promise<boolean> {
    if (this.#remaining.size === 0 && this.#stale.size === 0) {
      await this.#options.finish()
      return true
    }
    if (this.#paused) {
      this.#become('paused', null)
      await this.#sleepUntilWoken()
      return false
    }
    if (this.#core.log.noSpace !== undefined || !(await this.#options.hasSpace())) {
      this.#become('paused: no space', 'the file system is nearly full')
      await this.#sleep(SPACE_MILLIS)
      return false
    }
    this.#become('running', null)
    const page = this.#nextPage()
    if (page !== undefined) await this.#copyPage(page)
    // Pages that were gone through are waiting to be counted. All may have been, while it was asked for space.
    else if (this.#remaining.size > 0 || this.#stale.size > 0) await this.#sleepUntilWoken()
    return false
  }

  #nextPage(): number | undefined {
    for (const page of this.#remaining.keys()) if (!this.#swept.has(page)) return page
    return undefined
  }

  /** Counts what there is to copy, page by page, stepping over ranges where no ancestor has anything. */
  async #survey(): Promise<void> {
    this.#become('surveying', null)
    this.#remaining.clear()
    this.#totalChunks = 0
    this.#remainingChunks = 0
    await this.#core.index.drain()
    for (
      let page = await this.#pageFrom(0);
      page !== undefined && !this.#stopped;
      page = await this.#pageFrom(page + 1)
    ) {
      const { total } = await this.#count(page)
      this.#totalChunks += total
    }
    if (!this.#stopped) this.#surveyed = true
  }

  /** The first page at or after `page` in which an ancestor has a row. */
  async #pageFrom(page: number): Promise<number | undefined> {
    for (;;) {
      const origins = ancestry(this.lineage)
      const found = await this.#pageIn(origins, page)
      // An ancestor may have taken the last of an origin's chunks, and cut it off, after it was asked itself.
      if (isAncestry(this.lineage, origins)) return found
    }
  }

  async #pageIn(origins: readonly Origin[], page: number): Promise<number | undefined> {
    const first = page * PAGE_CHUNKS
    let found = Number.POSITIVE_INFINITY
    let end = Number.POSITIVE_INFINITY
    for (const origin of origins) {
      end = Math.min(end, origin.chunkCount)
      if (first >= end) break
      const { id } = origin.view.lineage
      const iterator = await this.#core.index.iterate(
        chunkKey(id, first, GENERATION_MAX),
        chunkKey(id, end, GENERATION_MAX),
      )
      try {
        const [row] = await iterator.next(1)
        if (row !== undefined) found = Math.min(found, keyChunk(row[0]))
      } finally {
        await iterator.close()
      }
    }
    return found === Number.POSITIVE_INFINITY ? undefined : Math.floor(found / PAGE_CHUNKS)
  }

  /** Counts one page, exactly and as of one moment. */
  async #count(page: number): Promise<{ total: number }> {
    const { lineage } = this
    const origin = lineage.origin
    if (origin === null) return { total: 0 }
    const first = page * PAGE_CHUNKS
    const end = Math.min(first + PAGE_CHUNKS, origin.chunkCount)
    this.#counting = page
    for (;;) {
      const missing = this.#countLoaded(first, end)
      if (typeof missing === 'object' && 'total' in missing) {
        this.#counting = -1
        const before = this.#remaining.get(page) ?? 0
        if (missing.remaining === 0) this.#remaining.delete(page)
        else this.#remaining.set(page, missing.remaining)
        this.#remainingChunks += missing.remaining - before
        this.#swept.delete(page)
        return { total: missing.total }
      }
      await this.#core.index.loaded(missing.view, missing.chunk)
    }
  }

  #countLoaded(first: number, end: number): { total: number; remaining: number } | { view: View; chunk: number } {
    let total = 0
    let remaining = 0
    const origin = (this.lineage.origin as NonNullable<Lineage['origin']>).view
    const own = this.lineage.oldestView()
    for (let chunk = first; chunk < end; chunk++) {
      const found = this.#core.loader.resolve(origin, chunk)
      if (isView(found)) return { view: found, chunk }
      if (found.row === null) continue
      total++
      const row = this.#core.index.find(own, chunk)
      if (row === undefined) return { view: own, chunk }
      if (row === null) remaining++
    }
    return { total, remaining }
  }

  async #copyPage(page: number): Promise<void> {
    const first = page * PAGE_CHUNKS
    const end = Math.min(first + PAGE_CHUNKS, this.lineage.origin?.chunkCount ?? 0)
    const copies = new Set<Promise<void>>()
    const idle = () => this.#stopped || this.#paused
    let failure: unknown
    const isGoingOn = () => !idle() && failure === undefined
    const begin = async (group: readonly Row[]) => {
      const bytes = group.length * this.lineage.chunkBytes
      await this.#throttle.take(bytes, idle)
      await this.#options.total.take(bytes, idle)
      if (!(await this.#room()) || !isGoingOn()) return
      const copy = Promise.all(group.map((row) => this.#copy(row.chunk, row)))
        .catch((error: unknown) => {
          failure ??= error
        })
        .then(() => void copies.delete(copy))
      copies.add(copy)
      if (copies.size >= COPIES_MAX) await Promise.race(copies)
    }
    // Neighbours of the disk are mostly neighbours in the log: copied together, they are read in one.
    let group: Row[] = []
    for (let chunk = first; chunk < end && isGoingOn(); chunk++) {
      const row = await this.#toCopy(chunk)
      if (row === undefined) continue
      const last = group[group.length - 1]
      if (last !== undefined && (group.length >= this.#groupMax() || !this.#follows(row, last))) {
        await begin(group)
        group = []
      }
      group.push(row)
    }
    if (group.length > 0 && isGoingOn()) await begin(group)
    await Promise.all(copies)
    if (failure !== undefined) throw failure
    if (!idle()) {
      this.#swept.add(page)
      this.#stale.add(page)
      this.#countSoon()
    }
  }

  /** Chunks that are copied in one go: not so many that a slow rate would come in jolts. */
  #groupMax(): number {
    const rate = Math.min(this.#throttle.rate ?? Infinity, this.#options.total.rate ?? Infinity)
    return Math.max(1, Math.min(GROUP_MAX, Math.floor((rate * GROUP_MILLIS) / 1000 / this.lineage.chunkBytes)))
  }

  /** Whether a record lies right behind another, or is in the index and needs no read. */
  #follows(row: Row, last: Row): boolean {
    if (row.inline !== undefined) return true
    const distance = row.offset - last.offset
    return row.segment === last.segment && distance > 0 && distance <= this.lineage.chunkBytes + GROUP_GAP_BYTES
  }

  /** The origin's row of a chunk that is still to be copied. */
  async #toCopy(chunk: number): Promise<Row | undefined> {
    for (;;) {
      const own = this.lineage.oldestView()
      const ownRow = this.#core.index.find(own, chunk)
      if (ownRow === undefined) {
        await this.#core.index.loaded(own, chunk)
        continue
      }
      if (ownRow !== null) return undefined
      const origin = this.lineage.origin
      if (origin === null) return undefined
      const found = this.#core.loader.resolve(origin.view, chunk)
      if (!isView(found)) return found.row ?? undefined
      await this.#core.index.loaded(found, chunk)
    }
  }

  /** Appends the origin's stored bytes, as they are, as this lineage's generation 0. */
  async #copy(chunk: number, from: Row): Promise<void> {
    let row = from
    let payload: Buffer
    for (;;) {
      try {
        payload = await this.#core.reader.copyPayload(row)
        break
      } catch (error) {
        // Cleaning may have moved it meanwhile.
        const again = await this.#toCopy(chunk)
        if (again === undefined) return
        if (again.segment === row.segment && again.offset === row.offset && again.dataRow === row.dataRow) throw error
        row = again
      }
    }
    if ((await this.#toCopy(chunk)) === undefined || this.lineage.dead) return
    const { lineage } = this
    const sequence = ++this.#core.sequence
    const position = this.#core.log.append(
      {
        type: RecordType.CHUNK,
        codec: row.codec,
        sequence,
        lineage: lineage.id,
        generation: 0,
        chunk,
        extent: 0,
        payloadBytes: payload.length,
        chunkBytes: lineage.chunkBytes,
        durableSegment: 0,
        durableOffset: 0,
      },
      payload,
    )
    this.#core.index.set(
      lineage,
      {
        ...holeRow(lineage.id, chunk, 0, sequence, position),
        kind: RowKind.CHUNK,
        codec: row.codec,
        payloadBytes: payload.length,
        inline: payload.length <= this.#options.inlineBytesMax ? payload : undefined,
      },
      position,
    )
    this.#copiedBytes += lineage.chunkBytes
  }

  /** Waits until the log takes bulk appends; false when it does not for now. */
  async #room(): Promise<boolean> {
    const { log, index } = this.#core
    while (!this.#stopped && log.failure === undefined && log.noSpace === undefined) {
      if (!log.hasRoom) await new Promise<void>((resolve) => log.onRoom(resolve))
      else if (!index.hasRoom) await new Promise<void>((resolve) => index.onRoom(resolve))
      else return true
    }
    return false
  }

  #countSoon(): void {
    if (this.#countTimer || this.#stopped) return
    this.#countTimer = true
    this.#core.environment.clock.after(COUNT_MILLIS, () => {
      this.#countStale()
        .catch((error: Error) => {
          this.#lastError = error.message
        })
        .finally(() => {
          this.#countTimer = false
          if (this.#stale.size > 0) this.#countSoon()
          this.#wakeUp()
        })
    })
  }

  /** Counts the pages that changed, after making sure that what changed is durable. */
  async #countStale(): Promise<void> {
    const pages = [...this.#stale]
    let counted = 0
    this.#stale.clear()
    try {
      await this.#core.log.synced()
      for (; counted < pages.length && !this.#stopped; counted++) await this.#count(pages[counted] as number)
    } finally {
      for (const page of pages.slice(counted)) this.#stale.add(page)
    }
  }

  #become(state: HydrationState, reason: string | null): void {
    if (this.#state === state) return
    this.#state = state
    this.#options.onState(state, reason)
  }

  #wakeUp(): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }

  #sleepUntilWoken(): Promise<void> {
    if (this.#stopped) return Promise.resolve()
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  #sleep(millis: number): Promise<void> {
    if (this.#stopped) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = this.#core.environment.clock.after(millis, resolve)
      this.#wake = () => {
        timer.cancel()
        resolve()
      }
    })
  }
}
