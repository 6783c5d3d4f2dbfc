/**
 * The chunk index: which record holds which version of which chunk.
 *
 *   set ──> overlay ──(log durable)──> LevelDB
 *             └──> pages in memory <──load── LevelDB + overlay
 *
 * A row becomes visible to readers at once (`set`) and reaches LevelDB later,
 * off every client's path, only after the record it points to is durable. The
 * checkpoint row, written last, says from where on the log must be replayed
 * after a crash; the overlay forgets a row only after that.
 *
 * LevelDB is not trusted after an error: the database is closed and opened
 * again, and everything since its last checkpoint is written once more. Should
 * it have lost its checkpoint too, the process must end and recover.
 */

import type { Environment, LevelDatabase, LevelIterator, Timer } from './environment.ts'
import { isNoSpace, StoreError, systemCode } from './errors.ts'
import type { Lineage, OverlayRow, View } from './lineage.ts'
import { Page, PAGE_CHUNKS } from './page.ts'
import { offsetOf, type Position, positionOf, segmentOf } from './position.ts'
import { Codec } from './record.ts'
import {
  checkpointKey,
  chunkKey,
  dataKey,
  decodeRow,
  encodeData,
  encodeRow,
  GENERATION_MAX,
  keyChunk,
  outdates,
  type Row,
  RowKind,
} from './row.ts'
import type { SegmentLog } from './segment-log.ts'

/** Rows of one LevelDB batch: measured best between calls and event loop time. */
const BATCH_ROWS = 512
const BATCH_BYTES_MAX = 4 * 1024 * 1024
/** Rows read in one call; more block the event loop for milliseconds. */
export const READ_ROWS = 128
/** A drain begins when this many rows wait, or this much log, or this long after the first. */
const DRAIN_ROWS = 32 * 1024
const DRAIN_LOG_SEGMENTS = 4
const DRAIN_MILLIS = 2000
/** Bulk writers stop while more rows than this wait. */
const QUEUE_ROWS_MAX = 128 * 1024
const REOPEN_MILLIS = 1000
/** Rows of other versions that a load walks over before it seeks. */
const WALK_ROWS_MAX = 8

export interface Checkpoint {
  /** The log must be replayed from here. */
  readonly segment: number
  readonly offset: number
  /** The highest sequence given out before this checkpoint. */
  readonly sequence: number
}

export interface ChunkIndexOptions {
  /** True: chunk bytes live in LevelDB, in data rows. */
  readonly dataRows: boolean
  /** Memory for pages, bytes. */
  readonly pageBytesMax: number
  /** Pages kept whatever they take: a look-up needs the pages of a whole ancestry at once, and others are at theirs. */
  readonly pagesMin: number
  /** The oldest record, not counting rows, that a replay needs: unfolded patches, undrained holes. */
  oldestNeeded(): Position
  /** Catalogue rows that changed since the last call; `undefined` values are removals. */
  takeCatalogueChanges(): Map<string, [key: Buffer, value: Buffer | undefined]>
  /** The newest sequence given out. */
  sequence(): number
  /** The stored bytes of a row. */
  readPayload(row: Row): Promise<Buffer>
  onCheckpoint(checkpoint: Checkpoint): void
  /** Whether the file system has what opening LevelDB may take. */
  hasRoomToOpen(): Promise<boolean>
  onError(error: Error): void
  onReopened(): void
  /** The index cannot be trusted any more: the process must end and recover. */
  onFailed(error: StoreError): void
}

interface Queued {
  readonly lineage: Lineage
  readonly overlay: OverlayRow
}

/** A row that a drain did not write: its lineage was deleted meanwhile, or (`error`) its record could not be read. */
interface LeftBehind {
  readonly queued: Queued
  readonly error: StoreError | null
}

export class ChunkIndex {
  readonly #environment: Environment
  readonly #directory: string
  readonly #log: SegmentLog
  readonly #options: ChunkIndexOptions
  #database: LevelDatabase
  /** Set after an error of LevelDB until it is open again; meanwhile nothing is written to it. */
  #reopening: Promise<void> | undefined
  /** Set while there is no handle at all. */
  #absent: Promise<void> | undefined
  #queue: Queued[] = []
  #catalogueChanged = false
  #timer: Timer | undefined
  #draining: Promise<void> | undefined
  #drainedTo: Position
  /** Catalogue rows that the drain under way, or the next one, writes with its checkpoint. */
  #catalogueRows = new Map<string, [key: Buffer, value: Buffer | undefined]>()
  #checkpoint: Buffer | undefined
  /** The checkpoint that was written last. When that failed it may be there all the same, and is right: all before it is. */
  #unconfirmed: Buffer | undefined
  readonly #roomWaiters: (() => void)[] = []
  /** All pages, in the order of the eviction clock. */
  readonly #pages = new Map<Page, { view: View; number: number }>()
  #pageBytes = 0
  #closed = false

  constructor(
    environment: Environment,
    directory: string,
    database: LevelDatabase,
    log: SegmentLog,
    checkpoint: Buffer | undefined,
    options: ChunkIndexOptions,
  ) {
    this.#environment = environment
    this.#directory = directory
    this.#database = database
    this.#log = log
    this.#checkpoint = checkpoint
    this.#unconfirmed = checkpoint
    this.#options = options
    this.#drainedTo = log.stagedPosition
  }

  get hasRoom(): boolean {
    return this.#queue.length < QUEUE_ROWS_MAX
  }

  onRoom(run: () => void): void {
    this.#roomWaiters.push(run)
  }

  get waitingRows(): number {
    return this.#queue.length
  }

  /** From here on every reader finds `row`, whose record lies at `position` and need not be durable yet. */
  set(lineage: Lineage, row: Row, position: Position): void {
    const overlay = insert(lineage, row, position)
    if (overlay === undefined) return
    this.#queue.push({ lineage, overlay })
    this.#showInPages(lineage, row)
    lineage.hydration?.rowSet(row.chunk)
    this.#kick()
  }

  /** Catalogue changes were appended to the log: they want to reach LevelDB. */
  catalogueChanged(): void {
    this.#catalogueChanged = true
    this.#kick()
  }

  /**
   * The row that a view reads for a chunk; null when its lineage has none (then
   * its origin, or zeroes); undefined when the page is not in memory (`load` it).
   */
  find(view: View, chunk: number): Row | null | undefined {
    const page = view.pages.get(Math.floor(chunk / PAGE_CHUNKS))
    if (page === undefined || page.changes !== undefined) return undefined
    page.used = true
    const row = page.get(view.lineage.id, chunk)
    if (view.lineage.holes.length > 0) {
      const hole = holeOver(view, chunk, row)
      if (hole !== undefined) return hole
    }
    return row ?? null
  }

  /** Brings the page of a chunk into memory. */
  load(view: View, chunk: number, done: (error: Error | null) => void): void {
    const number = Math.floor(chunk / PAGE_CHUNKS)
    let page = view.pages.get(number)
    if (page !== undefined) {
      if (page.changes === undefined) return done(null)
      page.waiting.push(done)
      return
    }
    page = new Page()
    page.waiting.push(done)
    view.pages.set(number, page)
    this.#loadPage(view, number, page).then(
      () => this.#loaded(view, number, page, null),
      (error: Error) => this.#loaded(view, number, page, error),
    )
  }

  loaded(view: View, chunk: number): Promise<void> {
    return new Promise((resolve, reject) =>
      this.load(view, chunk, (error) => (error === null ? resolve() : reject(error))),
    )
  }

  /** The data row of a chunk. */
  async readDataRow(row: Row): Promise<Buffer | undefined> {
    return this.#read((database) => database.get(dataKey(row.lineage, row.chunk, row.generation)))
  }

  /** Reads for a client, which shall not notice when LevelDB is closed meanwhile, to be opened again. */
  async #read<T>(read: (database: LevelDatabase) => Promise<T>): Promise<T> {
    for (;;) {
      await this.#absent
      const database = this.#database
      try {
        return await read(database)
      } catch (error) {
        if (database === this.#database && this.#absent === undefined) throw error
      }
    }
  }

  /** Rows in LevelDB as they are now; rows in overlays are not among them. */
  async iterate(from: Buffer, to: Buffer): Promise<LevelIterator> {
    await this.#absent
    return this.#database.iterate(from, to)
  }

  /** Removes rows, durably. */
  async remove(keys: readonly Buffer[]): Promise<void> {
    await this.#reopening
    const batch = this.#database.batch()
    for (const key of keys) batch.remove(key)
    try {
      await batch.write()
    } catch (error) {
      this.#reopen(error as Error)
      throw error
    }
  }

  /** Forgets the pages of a view that nobody will read any more. */
  forget(view: View): void {
    for (const page of view.pages.values()) this.#dropPage(page)
    view.pages.clear()
  }

  /** Everything set so far is in LevelDB, and the checkpoint says so, when this resolves. Rejects when a row stayed behind. */
  async drain(): Promise<void> {
    // A drain that is under way took its rows before this call.
    if (this.#draining !== undefined) await this.#draining.catch(() => {})
    await this.#startDrain()
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#timer?.cancel()
    await this.#draining?.catch(() => {})
    await this.#reopening?.catch(() => {})
    await this.#database.close()
  }

  #kick(): void {
    if (this.#draining !== undefined || this.#closed) return
    const logSegments = segmentOf(this.#log.stagedPosition) - segmentOf(this.#drainedTo)
    if (this.#queue.length >= DRAIN_ROWS || logSegments >= DRAIN_LOG_SEGMENTS) {
      this.#startDrain().catch(() => {})
      return
    }
    this.#kickLater()
  }

  #kickLater(): void {
    if (this.#closed) return
    this.#timer ??= this.#environment.clock.after(DRAIN_MILLIS, () => {
      this.#timer = undefined
      this.#startDrain().catch(() => {})
    })
  }

  #startDrain(): Promise<void> {
    if (this.#draining !== undefined) return this.#draining
    this.#timer?.cancel()
    this.#timer = undefined
    const ended = (again: () => void) => {
      this.#draining = undefined
      if (this.#queue.length > 0 || this.#catalogueChanged) again()
      for (const run of this.#roomWaiters.splice(0)) run()
    }
    const drain = this.#drainOnce().then(
      () => ended(() => this.#kick()),
      (error: unknown) => {
        // Never at once: a full file system fails without a wait, and the event loop must turn until there is room.
        ended(() => this.#kickLater())
        throw error
      },
    )
    this.#draining = drain
    return drain
  }

  async #drainOnce(): Promise<void> {
    await this.#reopening
    // In one step: everything before `target` is in this queue, or held back by `needed`. What is replaced, folded or
    // covered from here on gets a row in the next queue, and until that is written a replay needs what there is now.
    const target = this.#log.stagedPosition
    const needed = Math.min(target, this.#options.oldestNeeded())
    // What is deleted by now needs no rows, for this checkpoint has its deletion as well.
    const queue = this.#queue.filter(({ lineage, overlay }) => !overlay.replaced && !lineage.dead)
    this.#queue = []
    this.#catalogueChanged = false
    for (const [name, row] of this.#options.takeCatalogueChanges()) this.#catalogueRows.set(name, row)
    const behind: LeftBehind[] = []
    try {
      await this.#log.synced()
      const moved = await this.#writeRows(queue, behind)
      const left = new Set(behind.map(({ queued }) => queued))
      const checkpoint = await this.#writeCheckpoint(
        behind.reduce((oldest, { queued }) => Math.min(oldest, queued.overlay.position), needed),
      )
      this.#drainedTo = target
      for (const queued of queue) if (!left.has(queued)) remove(queued.lineage, queued.overlay)
      for (const [lineage, row] of moved) this.#showInPages(lineage, row)
      this.#queue = [...left, ...this.#queue]
      this.#options.onCheckpoint(checkpoint)
    } catch (error) {
      this.#queue = queue.concat(this.#queue)
      this.#catalogueChanged = true
      const code = error instanceof StoreError ? error.code : undefined
      if (code !== 'NO_SPACE' && code !== 'STORE_FAILED') this.#reopen(error as Error)
      throw error
    }
    const unreadable = behind.find(({ error }) => error !== null)
    if (unreadable !== undefined) throw unreadable.error
  }

  /**
   * Where LevelDB is to hold the bytes, a row whose record cannot be read for now stays in the queue, and its record in the
   * log: it goes to `behind`.
   */
  async #writeRows(queue: readonly Queued[], behind: LeftBehind[]): Promise<[Lineage, Row][]> {
    const moved: [Lineage, Row][] = []
    let batch = this.#database.batch()
    let bytes = 0
    for (const queued of queue) {
      const { lineage, overlay } = queued
      if (lineage.dead) {
        // Deleted since the drain began: it needs no rows once that is durable, and its records until then.
        behind.push({ queued, error: null })
        continue
      }
      let row = overlay.row
      if (this.#options.dataRows) {
        const key = dataKey(row.lineage, row.chunk, row.generation)
        const payload = row.kind === RowKind.CHUNK && row.inline === undefined ? await this.#payload(row) : undefined
        if (payload instanceof Error) {
          behind.push({ queued, error: payload })
          continue
        }
        if (payload === undefined) batch.remove(key)
        else {
          row = { ...row, dataRow: true }
          moved.push([lineage, row])
          const data = encodeData(row, payload)
          batch.put(key, data)
          bytes += data.length
        }
      }
      const value = encodeRow(row)
      bytes += value.length
      batch.put(chunkKey(row.lineage, row.chunk, row.generation), value)
      if (batch.length >= BATCH_ROWS || bytes >= BATCH_BYTES_MAX) {
        await batch.write()
        batch = this.#database.batch()
        bytes = 0
      }
    }
    if (batch.length > 0) await batch.write()
    return moved
  }

  /**
   * The stored bytes of a row; undefined when its record is damaged: then reading the chunk says so, and the others go on.
   * An error when it could not be read, which says nothing of what is there.
   */
  async #payload(row: Row): Promise<Buffer | undefined | StoreError> {
    try {
      return await this.#options.readPayload(row)
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== 'CHUNK_DAMAGED') throw error
      return systemCode(error) === undefined ? undefined : error
    }
  }

  /** Catalogue rows and the checkpoint, which says that a replay needs the log from `from` on. */
  async #writeCheckpoint(from: Position): Promise<Checkpoint> {
    const checkpoint = { segment: segmentOf(from), offset: offsetOf(from), sequence: this.#options.sequence() }
    const batch = this.#database.batch()
    for (const [key, value] of this.#catalogueRows.values()) {
      if (value === undefined) batch.remove(key)
      else batch.put(key, value)
    }
    const bytes = Buffer.from(JSON.stringify(checkpoint))
    batch.put(checkpointKey, bytes)
    this.#unconfirmed = bytes
    await batch.write()
    this.#catalogueRows.clear()
    this.#checkpoint = bytes
    return checkpoint
  }

  #reopen(error: Error): void {
    if (this.#reopening !== undefined || this.#closed) return
    this.#options.onError(error)
    this.#reopening = this.#reopenUntilItWorks(isNoSpace(error)).finally(() => {
      this.#reopening = undefined
    })
    // Whoever waits for it hears of it; it only rejects when the index is closed meanwhile.
    this.#reopening.catch(() => {})
  }

  async #reopenUntilItWorks(full: boolean): Promise<void> {
    // Opening takes space, because what LevelDB's log holds becomes a table. Until there is some, the old handle is
    // good for reading: what it failed to write is in the queue, and reads must go on while the file system is full.
    while (full && !this.#closed && !(await this.#options.hasRoomToOpen())) await this.#pause()
    if (this.#closed) throw new Error('the index was closed')
    this.#absent = this.#openUntilItWorks().finally(() => {
      this.#absent = undefined
    })
    await this.#absent
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => this.#environment.clock.after(REOPEN_MILLIS, resolve))
  }

  async #openUntilItWorks(): Promise<void> {
    // The handle is useless whether or not it closes cleanly.
    await this.#database.close().catch(() => {})
    for (;;) {
      await this.#pause()
      let database: LevelDatabase | undefined
      try {
        database = await this.#environment.level.open(this.#directory)
        const checkpoint = await database.get(checkpointKey)
        this.#database = database
        if (sameBytes(checkpoint, this.#unconfirmed)) this.#checkpoint = checkpoint
        else if (!sameBytes(checkpoint, this.#checkpoint)) {
          this.#options.onFailed(
            new StoreError(
              'STORE_FAILED',
              'the index lost rows that it had confirmed: restart, and recovery replays the log',
            ),
          )
        }
        this.#options.onReopened()
        return
      } catch (error) {
        // Its lock would keep the next attempt out.
        await database?.close().catch(() => {})
        if (this.#closed) throw error
        this.#options.onError(error as Error)
      }
    }
  }

  #loadPage(view: View, number: number, page: Page): Promise<void> {
    const first = number * PAGE_CHUNKS
    const end = first + PAGE_CHUNKS
    const { lineage, generation } = view
    return this.#read(async (database) => {
      // In one step with the opening of the iterator: what is not in LevelDB now is in the overlay, and what comes later is in `changes`.
      if (lineage.overlay.size > 0) {
        for (let chunk = first; chunk < end; chunk++) {
          for (let at = lineage.overlay.get(chunk); at !== undefined; at = at.older) page.changes?.push(at.row)
        }
      }
      const iterator = database.iterate(
        chunkKey(lineage.id, first, generation),
        chunkKey(lineage.id, end, GENERATION_MAX),
      )
      try {
        await readNewest(iterator, view, (row) => page.apply(row))
      } finally {
        await iterator.close()
      }
    })
  }

  #loaded(view: View, number: number, page: Page, error: Error | null): void {
    const changes = page.changes ?? []
    page.changes = undefined
    if (error === null) {
      for (const row of changes) if (row.generation <= view.generation) page.apply(row)
      this.#pages.set(page, { view, number })
      this.#pageBytes += page.bytes
      this.#evictPages()
    } else {
      view.pages.delete(number)
    }
    const failure =
      error === null || error instanceof StoreError
        ? error
        : new StoreError('CHUNK_DAMAGED', `cannot read the index: ${systemCode(error) ?? error.message}`, {
            cause: error,
          })
    for (const done of page.waiting.splice(0)) done(failure)
  }

  #showInPages(lineage: Lineage, row: Row): void {
    const number = Math.floor(row.chunk / PAGE_CHUNKS)
    this.#showInPage(lineage.head, number, row)
    for (const view of lineage.views.values()) {
      if (row.generation <= view.generation) this.#showInPage(view, number, row)
    }
  }

  #showInPage(view: View, number: number, row: Row): void {
    const page = view.pages.get(number)
    if (page === undefined) return
    if (page.changes !== undefined) {
      page.changes.push(row)
      return
    }
    const before = page.bytes
    page.apply(row)
    if (page.bytes === before) return
    this.#pageBytes += page.bytes - before
    this.#evictPages()
  }

  #evictPages(): void {
    for (const [page, { view, number }] of this.#pages) {
      if (this.#pageBytes <= this.#options.pageBytesMax || this.#pages.size <= this.#options.pagesMin) return
      if (page.used) {
        page.used = false
        this.#pages.delete(page)
        this.#pages.set(page, { view, number })
      } else {
        this.#dropPage(page)
        if (view.pages.get(number) === page) view.pages.delete(number)
      }
    }
  }

  #dropPage(page: Page): void {
    if (this.#pages.delete(page)) this.#pageBytes -= page.bytes
  }
}

/** Rows that a view reads, out of all versions of a run of chunks: steps over the others, and seeks where they are many. */
export async function readNewest(iterator: LevelIterator, view: View, found: (row: Row) => void): Promise<void> {
  let newest = -1
  let walked = 0
  for (;;) {
    const rows = await iterator.next(READ_ROWS)
    if (rows.length === 0) return
    for (const [key, value] of rows) {
      const chunk = keyChunk(key)
      if (chunk === newest) {
        walked++
        continue
      }
      const row = decodeRow(key, value)
      if (row.generation > view.generation) {
        walked++
        continue
      }
      newest = chunk
      walked = 0
      found(row)
    }
    if (walked >= WALK_ROWS_MAX) {
      const [lastKey] = rows[rows.length - 1] as [Buffer, Buffer]
      const chunk = keyChunk(lastKey)
      const next = chunk === newest ? chunk + 1 : chunk
      iterator.seek(chunkKey(view.lineage.id, next, view.generation))
      walked = 0
    }
  }
}

/** The newest hole that covers a chunk and outdates its row, as a row. */
function holeOver(view: View, chunk: number, row: Row | undefined): Row | undefined {
  let best: Row | undefined = row
  for (const hole of view.lineage.holes) {
    if (chunk < hole.first || chunk >= hole.first + hole.count || hole.generation > view.generation) continue
    const candidate = holeRow(view.lineage.id, chunk, hole.generation, hole.sequence, hole.position)
    if (best === undefined || outdates(candidate, best)) best = candidate
  }
  return best === row ? undefined : best
}

/** The row of a chunk that the HOLE record at `position` covers. */
export function holeRow(lineage: number, chunk: number, generation: number, sequence: number, position: Position): Row {
  return {
    lineage,
    chunk,
    generation,
    sequence,
    kind: RowKind.HOLE,
    codec: Codec.RAW,
    segment: segmentOf(position),
    offset: offsetOf(position),
    payloadBytes: 0,
    inline: undefined,
    dataRow: false,
  }
}

/** Puts a row into its lineage's overlay; undefined when one that is there outdates it. */
function insert(lineage: Lineage, row: Row, position: Position): OverlayRow | undefined {
  const first = lineage.overlay.get(row.chunk)
  let newer: OverlayRow | undefined
  let at = first
  while (at !== undefined && at.row.generation > row.generation) {
    newer = at
    at = at.older
  }
  let older = at
  if (at !== undefined && at.row.generation === row.generation) {
    if (at.row.sequence > row.sequence) return undefined
    at.replaced = true
    older = at.older
  }
  const overlay: OverlayRow = { row, position, older, replaced: false }
  if (newer === undefined) lineage.overlay.set(row.chunk, overlay)
  else newer.older = overlay
  return overlay
}

function remove(lineage: Lineage, overlay: OverlayRow): void {
  const chunk = overlay.row.chunk
  const first = lineage.overlay.get(chunk)
  if (first === overlay) {
    if (overlay.older === undefined) lineage.overlay.delete(chunk)
    else lineage.overlay.set(chunk, overlay.older)
    return
  }
  for (let at = first; at !== undefined; at = at.older) {
    if (at.older === overlay) {
      at.older = overlay.older
      return
    }
  }
}

function sameBytes(a: Buffer | undefined, b: Buffer | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  return a.equals(b)
}

/** Where a replay of the log begins. */
export function replayFrom(checkpoint: Checkpoint | undefined): Position {
  return checkpoint === undefined ? 0 : positionOf(checkpoint.segment, checkpoint.offset)
}
