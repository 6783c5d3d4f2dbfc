/**
 * The way of written bytes from memory into the log.
 *
 *   clean ──write──> unlogged ──FLUSH of a small write: PATCH──> patched
 *     ^                  │                                          │
 *     └──────────────────┴───────── fold: a whole CHUNK ────────────┘
 *
 * FLUSH and FUA append what is new, as PATCH where it is a small part of its
 * chunk (no read needed), and sync the log. Folding, in the background, completes
 * a chunk from what is stored and appends it whole; only that makes an entry
 * clean. It keeps the dirty bytes below their bound, the replay after a crash
 * short, and nothing dirty for longer than some seconds.
 */

import { type Core } from './core.ts'
import { countSectors, eachRun, type Entry, SECTORS, WHOLE } from './entry.ts'
import { StoreError } from './errors.ts'
import { holeRow } from './chunk-index.ts'
import type { Lineage } from './lineage.ts'
import { offsetOf, type Position, segmentOf } from './position.ts'
import { Codec, RecordType } from './record.ts'
import { RowKind } from './row.ts'
import { KIB } from './units.ts'

/** Folds under way at the same time. */
const FOLDS_MAX = 64
/**
 * Up to this size a chunk is compressed on the event loop. A trip to the thread pool, with the copy that it
 * needs, was measured to take more of the event loop's time (20 to 45 us) than compressing 16 KiB (3 to 28 us).
 */
const COMPRESS_HERE_BYTES_MAX = 32 * KIB
/** Folds begun in one turn of the event loop: a quarter of a millisecond of it, or one where chunks are compressed. */
const FOLDS_PER_TURN = 32
/** Folding begins at this part of the dirty bytes allowed, and goes on down to the other. */
const HIGH_WATER = 0.5
const LOW_WATER = 0.25
/** Patches are folded when they are this far behind the log's end, in segments. */
const PATCH_TAIL_SEGMENTS = 4
const TICK_MILLIS = 1000
/** Nothing stays dirty longer than this, in ticks. */
const AGE_TICKS = 5
/** A patch when at most this many of a chunk's 32 sectors are new. */
const PATCH_SECTORS_MAX = SECTORS / 2
/** Compressed bytes are kept when they save at least an eighth. */
const SHRINK_MAX = 7 / 8
/** After data that did not shrink, up to this many chunks are not tried. */
const COMPRESS_SKIP_MAX = 256

export interface WriteBackOptions {
  /** Dirty bytes of all lineages together. */
  readonly dirtyBytesMax: number
  readonly compress: boolean
  /** Chunks of at most this stored size are copied into their index rows. */
  readonly inlineBytesMax: number
  /** The log's segment size, for the length of its tail. */
  readonly segmentBytes: number
  onDamaged(lineage: Lineage, chunk: number, error: Error): void
}

/** Marks of folded patches that are kept before the list is cut. */
const PATCHES_FORGOTTEN_MAX = 8192

interface PatchMark {
  readonly entry: Entry
  readonly position: Position
}

export class WriteBack {
  readonly #core: Core
  readonly #options: WriteBackOptions
  #dirtyBytes = 0
  /** Lineages with dirty bytes, in the order in which folding visits them. */
  readonly #dirty = new Set<Lineage>()
  readonly #blocked = new Set<Lineage>()
  #folding = 0
  readonly #idleWaiters: (() => void)[] = []
  /** Folding goes on until the low water mark. */
  #draining = false
  #waitingForRoom = false
  #waking = false
  #pumping = false
  #tick = 0
  /** Chunks of large writes that were compressed in this turn of the event loop. */
  #compressedThrough = 0
  #ticking = false
  /** Until recovery is over nothing may be appended. */
  #stopped = true
  /** Patches in the order of the log; those folded since are skipped when they come first. */
  #patches: PatchMark[] = []
  #patchesFirst = 0

  constructor(core: Core, options: WriteBackOptions) {
    this.#core = core
    this.#options = options
  }

  get dirtyBytes(): number {
    return this.#dirtyBytes
  }

  /** Whether a lineage has its fair share of the dirty bytes, or more. */
  isFull(lineage: Lineage): boolean {
    const max = this.#options.dirtyBytesMax
    return this.#dirtyBytes >= max || lineage.dirtyBytes * Math.max(1, this.#dirty.size) >= max
  }

  /** Calls back, in order, when the lineage has room among the dirty bytes. */
  wait(lineage: Lineage, run: () => void): void {
    lineage.waiting.push(run)
    this.#blocked.add(lineage)
    this.#draining = true
    this.#pump()
  }

  /**
   * The answer of a read whose chunks are to be kept: at once, or when the log
   * has caught up. That is a wait for memory, never for a throttle, and none
   * when the log takes nothing for now.
   */
  afterRoom(lineage: Lineage, answer: () => void): void {
    const { log } = this.#core
    if (log.failure !== undefined || log.noSpace !== undefined || !this.isFull(lineage)) answer()
    else this.wait(lineage, answer)
  }

  /** Why a write cannot be taken: the log has failed, its file system is full, or too many bases cannot be read. */
  refusal(lineage: Lineage): StoreError | undefined {
    const { log } = this.#core
    return log.failure ?? log.noSpace ?? (lineage.stuck.size === 0 ? undefined : this.#stuckRefusal(lineage))
  }

  /** `mask` sectors of an entry were written. Assigns the sequence. */
  touch(entry: Entry, mask: number): void {
    const { lineage } = entry.view
    entry.valid |= mask
    entry.unlogged |= mask
    entry.unfolded |= mask
    entry.generation = lineage.generation
    entry.sequence = ++this.#core.sequence
    entry.promote = false
    entry.used = true
    if (lineage.patched.size > 0) lineage.patched.delete(entry)
    lineage.unlogged.add(entry)
    this.#becameDirty(entry)
  }

  /** An entry was read from the origin and is to be kept as this lineage's own. */
  promote(entry: Entry): void {
    if (entry.unfolded !== 0 || entry.promote) return
    entry.promote = true
    entry.view.lineage.unlogged.add(entry)
    this.#becameDirty(entry)
  }

  /**
   * Appends a whole chunk of a large write at once, past the cache: what is written in bulk is seldom written again
   * soon. Assigns the sequence. False when it has to go through the cache: the log takes nothing in bulk now, or it
   * would be compressed and is too large for that, or enough were in this turn of the event loop.
   */
  appendThrough(lineage: Lineage, chunk: number, source: Buffer, from: number): boolean {
    if (!this.#takesThrough(lineage)) return false
    const payload = source.subarray(from, from + lineage.chunkBytes)
    const entry = lineage.head.entries.get(chunk)
    if (entry !== undefined) this.supersede(entry, lineage.generation)
    const sequence = ++this.#core.sequence
    if (isZero(payload)) this.#appendHole(lineage, chunk, lineage.generation, sequence)
    else {
      const compressed = this.#tryToCompress(lineage)
        ? this.#core.environment.compression.compressNow(payload)
        : undefined
      const shrank = compressed !== undefined && this.#shrank(lineage, compressed)
      const [codec, stored] = shrank ? [Codec.LZ4, compressed] : [Codec.RAW, payload]
      this.#appendRecord(lineage, chunk, lineage.generation, sequence, codec, stored)
    }
    return true
  }

  #takesThrough(lineage: Lineage): boolean {
    const { log, index, environment } = this.#core
    if (lineage.dead || !log.hasRoom || !index.hasRoom || log.failure !== undefined) return false
    if (!this.#options.compress || lineage.compressSkip > 0) return true
    if (lineage.chunkBytes > COMPRESS_HERE_BYTES_MAX || this.#compressedThrough >= FOLDS_PER_TURN) return false
    if (this.#compressedThrough++ === 0) environment.clock.soon(() => (this.#compressedThrough = 0))
    return true
  }

  /** A newer version of the entry's chunk, of `generation`, comes into the log: only what an older generation needs of it is kept, and no reader of the head sees it. */
  supersede(entry: Entry, generation: number): void {
    const { frozen } = entry.view.lineage
    const isRead = entry.generation !== generation && frozen.some((reader) => reader >= entry.generation)
    if (entry.unfolded === 0 || !isRead) this.drop(entry)
    // Of one chunk, an older generation comes first in the log.
    else this.logEntry(entry)
    this.#core.cache.detach(entry)
  }

  /** The entry's bytes need not be kept: discarded, or its lineage is gone. */
  drop(entry: Entry): void {
    entry.unlogged = 0
    entry.unfolded = 0
    this.#becameClean(entry)
  }

  /** Recovery found a patch: `mask` sectors of the entry, with their bytes in place, are in the log at `position`. */
  recovered(entry: Entry, patch: { mask: number; generation: number; sequence: number; position: Position }): void {
    entry.valid |= patch.mask
    entry.unfolded |= patch.mask
    entry.generation = patch.generation
    entry.sequence = patch.sequence
    this.#becameDirty(entry)
    this.#patched(entry, patch.position)
  }

  /** Appends what is new in an entry, as PATCH or CHUNK. */
  logEntry(entry: Entry): void {
    if (entry.promote) return this.#appendChunk(entry, 0, ++this.#core.sequence, Codec.RAW, entry.buffer)
    if (entry.unlogged === 0) return
    if (entry.valid === WHOLE && countSectors(entry.unlogged) > PATCH_SECTORS_MAX) {
      return this.#appendChunk(entry, entry.generation, entry.sequence, Codec.RAW, entry.buffer)
    }
    this.#appendPatch(entry)
  }

  /** Everything answered before this call is durable when `done` gets no error. */
  flush(lineage: Lineage, done: (error: Error | null) => void): void {
    const { log } = this.#core
    if (lineage.unlogged.size === 0) return log.sync(done)
    const entries = [...lineage.unlogged]
    let next = 0
    /** Folds under way, and this loop itself: who ends last goes on, once. */
    let left = 1
    const ended = () => {
      if (--left === 0) log.sync(done)
    }
    const step = () => {
      while (next < entries.length) {
        const refused = log.failure ?? log.noSpace
        if (refused !== undefined) return done(refused)
        if (!log.hasRoom) return log.onRoom(step)
        const entry = entries[next++] as Entry
        if (!this.#worthCompressing(entry)) this.logEntry(entry)
        else {
          left++
          this.#fold(entry, (error) => {
            // It could not be folded; its bytes are still to be logged.
            if (error !== null) this.logEntry(entry)
            ended()
          })
        }
      }
      ended()
    }
    step()
  }

  /**
   * What was written before this call to generations up to `generation` is whole in the log when this resolves. Rejects
   * when a base cannot be read, or the log takes nothing.
   */
  async settle(lineage: Lineage, generation: number): Promise<void> {
    const entries = [...lineage.unlogged, ...lineage.patched].filter(
      (entry) => !entry.promote && entry.generation <= generation,
    )
    for (let first = 0; first < entries.length; first += FOLDS_MAX) {
      await this.#room()
      const settled = entries.slice(first, first + FOLDS_MAX).map((entry) => this.#settled(entry))
      // All of them, also after one that failed: who gives up may be about to close the log.
      await Promise.allSettled(settled)
      await Promise.all(settled)
    }
  }

  #settled(entry: Entry): Promise<void> {
    return new Promise((resolve, reject) => {
      if (entry.unfolded === 0) resolve()
      else this.#fold(entry, (error) => (error === null ? resolve() : reject(error)))
    })
  }

  /** The oldest patch that a replay needs; infinity when there is none. */
  oldestPatch(): Position {
    const patches = this.#patches
    for (;;) {
      const mark = patches[this.#patchesFirst]
      if (mark === undefined) break
      if (mark.entry.firstPatch === mark.position) return mark.position
      this.#patchesFirst++
      if (this.#patchesFirst >= PATCHES_FORGOTTEN_MAX) {
        this.#patches = patches.slice(this.#patchesFirst)
        this.#patchesFirst = 0
        return this.oldestPatch()
      }
    }
    this.#patches = []
    this.#patchesFirst = 0
    return Number.POSITIVE_INFINITY
  }

  /** Background work may begin. */
  start(): void {
    this.#stopped = false
    if (this.#dirtyBytes > 0 && !this.#ticking) this.#startTicking()
    this.#pump()
  }

  /** No more background work is begun. */
  stop(): void {
    this.#stopped = true
  }

  /** Resolves when no fold is under way. */
  idle(): Promise<void> {
    return this.#folding === 0 ? Promise.resolve() : new Promise((resolve) => this.#idleWaiters.push(resolve))
  }

  /** Waits until the log takes bulk appends; rejects when it cannot. */
  async #room(): Promise<void> {
    const { log } = this.#core
    for (;;) {
      const refused = log.failure ?? log.noSpace
      if (refused !== undefined) throw refused
      if (log.hasRoom) return
      await new Promise<void>((resolve) => log.onRoom(resolve))
    }
  }

  #stuckRefusal(lineage: Lineage): StoreError | undefined {
    if (!this.isFull(lineage) || lineage.stuck.size * lineage.chunkBytes * 2 < lineage.dirtyBytes) return undefined
    return new StoreError('CHUNK_DAMAGED', 'too many small writes wait for chunks that cannot be read')
  }

  #becameDirty(entry: Entry): void {
    if (entry.dirty) return
    const { lineage } = entry.view
    entry.dirty = true
    entry.dirtyTick = this.#tick
    if (lineage.dirtyBytes === 0) this.#dirty.add(lineage)
    lineage.dirtyBytes += entry.buffer.length
    this.#dirtyBytes += entry.buffer.length
    if (!this.#ticking) this.#startTicking()
    if (this.#draining || this.#dirtyBytes > this.#options.dirtyBytesMax * HIGH_WATER) {
      this.#draining = true
      this.#pump()
    }
  }

  #becameClean(entry: Entry): void {
    const { lineage } = entry.view
    entry.promote = false
    entry.firstPatch = 0
    lineage.unlogged.delete(entry)
    if (lineage.patched.size > 0) lineage.patched.delete(entry)
    if (lineage.stuck.size > 0) lineage.stuck.delete(entry)
    if (!entry.dirty) return
    entry.dirty = false
    lineage.dirtyBytes -= entry.buffer.length
    this.#dirtyBytes -= entry.buffer.length
    if (lineage.dirtyBytes === 0) this.#dirty.delete(lineage)
    if (this.#blocked.size > 0) this.#wakeSoon()
  }

  /** Not in this step: it may be the middle of another write, or of a discard. */
  #wakeSoon(): void {
    if (this.#waking) return
    this.#waking = true
    queueMicrotask(() => {
      this.#waking = false
      this.#wake()
    })
  }

  #wake(): void {
    for (const lineage of this.#blocked) {
      while (lineage.waiting.length > 0 && (!this.isFull(lineage) || this.refusal(lineage) !== undefined))
        (lineage.waiting.shift() as () => void)()
      if (lineage.waiting.length === 0) this.#blocked.delete(lineage)
    }
  }

  /** Requests that wait for room learn that none will come. */
  wakeAll(): void {
    for (const lineage of this.#blocked) {
      this.#blocked.delete(lineage)
      for (const run of lineage.waiting.splice(0)) run()
    }
  }

  #startTicking(): void {
    this.#ticking = true
    this.#core.environment.clock.after(TICK_MILLIS, () => {
      this.#tick++
      if (this.#dirtyBytes === 0 || this.#stopped) {
        this.#ticking = false
        return
      }
      this.#startTicking()
      this.#pump()
    })
  }

  /** Begins folds while some are needed and the log takes them; between turns of the event loop clients are served. */
  #pump(): void {
    if (this.#pumping) return
    this.#pumping = true
    let begun = 0
    while (begun < FOLDS_PER_TURN && this.#folding < FOLDS_MAX && this.#mayFold()) {
      const entry = this.#pick()
      if (entry === undefined) break
      this.#fold(entry, ignore)
      begun++
    }
    if (begun < FOLDS_PER_TURN) {
      this.#pumping = false
      return
    }
    this.#core.environment.clock.soon(() => {
      this.#pumping = false
      this.#pump()
    })
  }

  #mayFold(): boolean {
    const { log, index } = this.#core
    if (this.#stopped || log.failure !== undefined) return false
    if (log.hasRoom && index.hasRoom) return true
    if (this.#waitingForRoom) return false
    this.#waitingForRoom = true
    const goOn = () => {
      this.#waitingForRoom = false
      this.#pump()
    }
    if (log.hasRoom) index.onRoom(goOn)
    else log.onRoom(goOn)
    return false
  }

  /** The next entry to fold, or undefined when nothing needs to be folded now. */
  #pick(): Entry | undefined {
    const oldest = this.oldestPatch()
    const end = this.#core.log.stagedPosition
    if (segmentOf(end) - segmentOf(oldest) >= PATCH_TAIL_SEGMENTS) {
      for (let at = this.#patchesFirst; at < this.#patches.length && at < this.#patchesFirst + FOLDS_MAX; at++) {
        const { entry, position } = this.#patches[at] as PatchMark
        if (entry.firstPatch === position && !entry.folding && !entry.view.lineage.stuck.has(entry)) return entry
      }
    }
    if (this.#draining && this.#dirtyBytes <= this.#options.dirtyBytesMax * LOW_WATER && this.#blocked.size === 0) {
      this.#draining = false
    }
    const agedTick = this.#tick - AGE_TICKS
    const tickMax = this.#draining ? Number.POSITIVE_INFINITY : agedTick
    for (const lineage of this.#dirty) {
      const entry = firstToFold(lineage.unlogged, tickMax, agedTick) ?? firstToFold(lineage.patched, tickMax, agedTick)
      if (entry === undefined) continue
      // To the end of the round, so that all lineages take turns.
      this.#dirty.delete(lineage)
      this.#dirty.add(lineage)
      return entry
    }
    return undefined
  }

  /** Appends the whole chunk of an entry, completed from what is stored. */
  #fold(entry: Entry, done: (error: Error | null) => void): void {
    if (entry.folding) {
      // Another fold of it is under way; asked again after that, for what was written since.
      const again = () => (entry.unfolded === 0 && !entry.promote ? done(null) : this.#fold(entry, done))
      entry.folded.push(again)
      return
    }
    entry.folding = true
    this.#folding++
    this.#core.loader.fill(entry, (error) => {
      if (error !== null) return this.#folded(entry, error, done)
      if (entry.unfolded === 0 && !entry.promote) return this.#folded(entry, null, done)
      if (isZero(entry.buffer)) {
        this.#becomeHole(entry)
        return this.#folded(entry, null, done)
      }
      if (!this.#tryToCompress(entry.view.lineage)) {
        this.#appendWhole(entry, Codec.RAW, entry.buffer)
        return this.#folded(entry, null, done)
      }
      if (entry.buffer.length <= COMPRESS_HERE_BYTES_MAX) {
        this.#appendCompressed(entry, this.#core.environment.compression.compressNow(entry.buffer))
        return this.#folded(entry, null, done)
      }
      this.#compressAndAppend(entry).then(
        () => this.#folded(entry, null, done),
        (error: Error) => this.#folded(entry, error, done),
      )
    })
  }

  #folded(entry: Entry, error: Error | null, done: (error: Error | null) => void): void {
    entry.folding = false
    this.#folding--
    if (error !== null && entry.unfolded !== 0) {
      const { lineage } = entry.view
      if (!lineage.stuck.has(entry)) this.#options.onDamaged(lineage, entry.chunk, error)
      lineage.stuck.add(entry)
      // Tried again when its age comes round.
      entry.dirtyTick = this.#tick
    }
    done(error)
    for (const again of entry.folded.splice(0)) again()
    this.#pump()
    if (this.#folding === 0) for (const resolve of this.#idleWaiters.splice(0)) resolve()
  }

  /** Whether a flush should take the time to compress: whole chunks of a disk whose data shrinks. */
  #worthCompressing(entry: Entry): boolean {
    if (entry.promote || !this.#options.compress || entry.folding) return false
    const { lineage } = entry.view
    return lineage.compressMisses === 0 && lineage.unlogged.size > 8 && entry.unlogged === WHOLE
  }

  #tryToCompress(lineage: Lineage): boolean {
    if (!this.#options.compress) return false
    if (lineage.compressSkip > 0) {
      lineage.compressSkip--
      return false
    }
    // One chunk is the probe: what is folded before its result is known is not tried as well.
    if (lineage.compressMisses > 0) lineage.compressSkip = skipAfter(lineage.compressMisses)
    return true
  }

  async #compressAndAppend(entry: Entry): Promise<void> {
    const { sequence } = entry
    // A copy: what the pool compresses must not change under it.
    const compressed = await this.#core.environment.compression.compress(Buffer.from(entry.buffer))
    if (entry.unfolded === 0 && !entry.promote) return
    this.#appendCompressed(entry, entry.sequence === sequence ? compressed : undefined)
  }

  /** Appends a chunk compressed when that saved something, and raw when not or when it was written to meanwhile (undefined). */
  #appendCompressed(entry: Entry, compressed: Buffer | undefined): void {
    if (compressed !== undefined && this.#shrank(entry.view.lineage, compressed)) {
      this.#appendWhole(entry, Codec.LZ4, compressed)
    } else this.#appendWhole(entry, Codec.RAW, entry.buffer)
  }

  /** Whether compressing a chunk saved something; how soon it is tried again depends on it. */
  #shrank(lineage: Lineage, compressed: Buffer): boolean {
    if (compressed.length <= lineage.chunkBytes * SHRINK_MAX) {
      lineage.compressMisses = 0
      lineage.compressSkip = 0
      return true
    }
    lineage.compressMisses = Math.min(lineage.compressMisses + 1, 8)
    lineage.compressSkip = skipAfter(lineage.compressMisses)
    return false
  }

  #appendWhole(entry: Entry, codec: Codec, payload: Buffer): void {
    if (entry.promote) this.#appendChunk(entry, 0, ++this.#core.sequence, codec, payload)
    else this.#appendChunk(entry, entry.generation, entry.sequence, codec, payload)
  }

  #appendChunk(entry: Entry, generation: number, sequence: number, codec: Codec, payload: Buffer): void {
    const { lineage } = entry.view
    if (lineage.dead) return this.drop(entry)
    this.#appendRecord(lineage, entry.chunk, generation, sequence, codec, payload)
    entry.unlogged = 0
    entry.unfolded = 0
    this.#becameClean(entry)
  }

  #appendRecord(
    lineage: Lineage,
    chunk: number,
    generation: number,
    sequence: number,
    codec: Codec,
    payload: Buffer,
  ): void {
    const position = this.#core.log.append(
      {
        type: RecordType.CHUNK,
        codec,
        sequence,
        lineage: lineage.id,
        generation,
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
        lineage: lineage.id,
        chunk,
        generation,
        sequence,
        kind: RowKind.CHUNK,
        codec,
        segment: segmentOf(position),
        offset: offsetOf(position),
        payloadBytes: payload.length,
        inline: payload.length <= this.#options.inlineBytesMax ? Buffer.from(payload) : undefined,
        dataRow: false,
      },
      position,
    )
  }

  /** A chunk that became all zeroes is a hole. */
  #becomeHole(entry: Entry): void {
    const { lineage } = entry.view
    if (lineage.dead) return this.drop(entry)
    if (entry.promote) this.#appendHole(lineage, entry.chunk, 0, ++this.#core.sequence)
    else this.#appendHole(lineage, entry.chunk, entry.generation, entry.sequence)
    entry.unlogged = 0
    entry.unfolded = 0
    this.#becameClean(entry)
  }

  #appendHole(lineage: Lineage, chunk: number, generation: number, sequence: number): void {
    const position = this.#core.log.append(
      {
        type: RecordType.HOLE,
        codec: Codec.RAW,
        sequence,
        lineage: lineage.id,
        generation,
        chunk,
        extent: 1,
        payloadBytes: 0,
        chunkBytes: lineage.chunkBytes,
        durableSegment: 0,
        durableOffset: 0,
      },
      nothing,
    )
    this.#core.index.set(lineage, holeRow(lineage.id, chunk, generation, sequence, position), position)
  }

  #appendPatch(entry: Entry): void {
    const { lineage } = entry.view
    if (lineage.dead) return this.drop(entry)
    const { log } = this.#core
    const sectorBytes = entry.buffer.length / SECTORS
    const payloadBytes = countSectors(entry.unlogged) * sectorBytes
    log.begin(RecordType.PATCH, Codec.RAW, payloadBytes)
    let into = log.payloadAt
    eachRun(entry.unlogged, (first, count) => {
      entry.buffer.copy(log.buffer, into, first * sectorBytes, (first + count) * sectorBytes)
      into += count * sectorBytes
    })
    const position = log.finish({
      type: RecordType.PATCH,
      codec: Codec.RAW,
      sequence: entry.sequence,
      lineage: lineage.id,
      generation: entry.generation,
      chunk: entry.chunk,
      extent: entry.unlogged >>> 0,
      payloadBytes,
      chunkBytes: lineage.chunkBytes,
      durableSegment: 0,
      durableOffset: 0,
    })
    entry.unlogged = 0
    lineage.unlogged.delete(entry)
    this.#patched(entry, position)
  }

  #patched(entry: Entry, position: Position): void {
    entry.view.lineage.patched.add(entry)
    if (entry.firstPatch !== 0) return
    entry.firstPatch = position
    this.#patches.push({ entry, position })
  }
}

const nothing = Buffer.alloc(0)

function skipAfter(misses: number): number {
  return Math.min(2 ** misses, COMPRESS_SKIP_MAX)
}

function ignore(): void {}

/**
 * The first entry that became dirty at `tickMax` or before. One whose base could
 * not be read is only tried again when it is old (`agedTick`).
 */
function firstToFold(entries: Set<Entry>, tickMax: number, agedTick: number): Entry | undefined {
  for (const entry of entries) {
    if (entry.folding) continue
    if (entry.dirtyTick > agedTick && entry.view.lineage.stuck.has(entry)) continue
    return entry.dirtyTick <= tickMax ? entry : undefined
  }
  return undefined
}

const zeroes = Buffer.alloc(1024 * 1024)

/** All bytes, at most 1 MiB of them. */
function isZero(buffer: Buffer): boolean {
  return buffer[0] === 0 && buffer.compare(zeroes, 0, buffer.length) === 0
}
