/**
 * Discarded ranges. A discard of any length is one HOLE record and one entry in
 * its lineage's list, which every look-up asks; so it answers at once. Behind
 * it, in bounded batches, the chunks in the range that have something to hide
 * (an older row, or something in the origin) get rows of their own, and then the
 * list forgets it. A discard of a range where nothing is stored leaves nothing.
 */

import { holeRow, READ_ROWS } from './chunk-index.ts'
import type { Core } from './core.ts'
import type { Entry } from './entry.ts'
import { ancestry, type Hole, isAncestry, type Lineage, type View } from './lineage.ts'
import { Codec, RecordType } from './record.ts'
import { chunkKey, decodeRow, GENERATION_MAX, keyAfter, keyChunk, outdates, type Row, RowKind } from './row.ts'

/** Holes of one lineage that look-ups may have to ask; further discards wait. */
const HOLES_MAX = 256
const RETRY_MILLIS = 1000

export class Discards {
  readonly #core: Core
  readonly #draining = new Map<Lineage, Promise<void>>()
  readonly #lineagesWithHoles = new Set<Lineage>()
  readonly #waiting = new Map<Lineage, (() => void)[]>()
  /** Until recovery is over the catalogue is not to be believed. */
  #stopped = true

  constructor(core: Core) {
    this.#core = core
  }

  isFull(lineage: Lineage): boolean {
    return lineage.holes.length >= HOLES_MAX
  }

  /** Calls back when `isFull` is false again. */
  wait(lineage: Lineage, run: () => void): void {
    const waiting = this.#waiting.get(lineage)
    if (waiting === undefined) this.#waiting.set(lineage, [run])
    else waiting.push(run)
  }

  /** Whoever waits looks again: the lineage is gone, or the log takes nothing any more. */
  wakeAll(): void {
    for (const lineage of [...this.#waiting.keys()]) this.#wake(lineage)
  }

  /** The chunks read as zeroes from this call on. */
  add(lineage: Lineage, first: number, count: number): void {
    const patched = this.#forgetEntries(lineage, first, count, lineage.generation)
    const sequence = ++this.#core.sequence
    const position = this.#core.log.append(
      {
        type: RecordType.HOLE,
        codec: Codec.RAW,
        sequence,
        lineage: lineage.id,
        generation: lineage.generation,
        chunk: first,
        extent: count,
        payloadBytes: 0,
        chunkBytes: lineage.chunkBytes,
        durableSegment: 0,
        durableOffset: 0,
      },
      nothing,
    )
    this.#addHole(lineage, { first, count, generation: lineage.generation, sequence, position }, patched)
  }

  /** The same for a record that is in the log already. */
  recovered(lineage: Lineage, hole: Hole): void {
    this.#addHole(lineage, hole, this.#forgetEntries(lineage, hole.first, hole.count, hole.generation))
  }

  #addHole(lineage: Lineage, hole: Hole, patched: readonly number[]): void {
    lineage.holes.push(hole)
    this.#lineagesWithHoles.add(lineage)
    // These patches have no other row that would keep them from coming back when the index is rebuilt.
    for (const chunk of patched) this.#core.index.set(lineage, coverRow(lineage, hole, chunk), hole.position)
    this.drain(lineage)
  }

  /** Drops what memory holds of a range, except what frozen generations still need; returns the chunks of which the log holds patches. */
  #forgetEntries(lineage: Lineage, first: number, count: number, generation: number): number[] {
    const patched: number[] = []
    const { entries } = lineage.head
    if (count > entries.size) {
      for (const entry of entries.values())
        if (entry.chunk >= first && entry.chunk < first + count) this.#forget(entry, generation, patched)
    } else {
      for (let chunk = first; chunk < first + count; chunk++) {
        const entry = entries.get(chunk)
        if (entry !== undefined) this.#forget(entry, generation, patched)
      }
    }
    return patched
  }

  /** The oldest hole record that a replay needs; infinity when there is none. */
  oldestHole(): number {
    let oldest = Number.POSITIVE_INFINITY
    for (const lineage of this.#lineagesWithHoles) {
      if (lineage.holes.length === 0) this.#lineagesWithHoles.delete(lineage)
      for (const hole of lineage.holes) oldest = Math.min(oldest, hole.position)
    }
    return oldest
  }

  drain(lineage: Lineage): void {
    if (this.#stopped || this.#draining.has(lineage) || lineage.holes.length === 0) return
    const drained = this.#drainAll(lineage).finally(() => this.#draining.delete(lineage))
    this.#draining.set(lineage, drained)
  }

  /** All of a lineage's holes have their rows when this resolves. */
  async drained(lineage: Lineage): Promise<void> {
    while (lineage.holes.length > 0 && !this.#stopped) {
      this.drain(lineage)
      await this.#draining.get(lineage)
    }
  }

  /** Background work may begin. */
  start(): void {
    this.#stopped = false
    for (const lineage of this.#lineagesWithHoles) this.drain(lineage)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#draining.values())
  }

  #forget(entry: Entry, generation: number, patched: number[]): void {
    if (entry.firstPatch !== 0) patched.push(entry.chunk)
    this.#core.writeBack.supersede(entry, generation)
  }

  #wake(lineage: Lineage): void {
    const waiting = this.#waiting.get(lineage)
    this.#waiting.delete(lineage)
    for (const run of waiting ?? []) run()
  }

  async #drainAll(lineage: Lineage): Promise<void> {
    while (!this.#stopped) {
      const hole = lineage.holes[0]
      if (hole === undefined) return
      try {
        await this.#drainHole(lineage, hole)
      } catch {
        // The index is being opened again (it has reported why); the hole stays in the list meanwhile.
        await new Promise<void>((resolve) => this.#core.environment.clock.after(RETRY_MILLIS, resolve))
        continue
      }
      if (this.#stopped) return
      if (lineage.holes[0] === hole) lineage.holes.shift()
      this.#wake(lineage)
    }
  }

  async #drainHole(lineage: Lineage, hole: Hole): Promise<void> {
    for (;;) {
      const origins = ancestry(lineage)
      await this.#coverOwn(lineage, hole)
      let end = hole.first + hole.count
      for (const origin of origins) {
        end = Math.min(end, origin.chunkCount)
        if (end <= hole.first) break
        await this.#coverOrigin(lineage, hole, origin.view, end)
      }
      // An origin that was cut meanwhile may have left its chunks where they had been looked for before.
      if (isAncestry(lineage, origins)) return
    }
  }

  async #coverOwn(lineage: Lineage, hole: Hole): Promise<void> {
    // Rows that are not in LevelDB yet, and bytes of frozen generations that are still to be appended.
    const pending = [...lineage.overlay.keys()]
    for (const entries of [lineage.unlogged, lineage.patched]) for (const entry of entries) pending.push(entry.chunk)
    for (const chunk of pending) if (covers(hole, chunk)) await this.#cover(lineage, hole, chunk)
    await this.#coverRows(lineage, hole, lineage.head, hole.first + hole.count)
  }

  async #coverOrigin(lineage: Lineage, hole: Hole, origin: View, end: number): Promise<void> {
    for (const chunk of [...origin.lineage.overlay.keys()]) {
      if (chunk >= hole.first && chunk < end) await this.#cover(lineage, hole, chunk)
    }
    await this.#coverRows(lineage, hole, origin, end)
  }

  /** Covers each chunk for which a view's lineage has a row in LevelDB. */
  async #coverRows(lineage: Lineage, hole: Hole, view: View, end: number): Promise<void> {
    const to = chunkKey(view.lineage.id, end, GENERATION_MAX)
    let from = chunkKey(view.lineage.id, hole.first, GENERATION_MAX)
    let covered = -1
    while (!this.#stopped && !lineage.dead) {
      const iterator = await this.#core.index.iterate(from, to)
      let rows: [Buffer, Buffer][]
      try {
        rows = await iterator.next(READ_ROWS)
      } finally {
        await iterator.close()
      }
      const last = rows[rows.length - 1]
      if (last === undefined) return
      for (const [key, value] of rows) {
        const { chunk, kind } = decodeRow(key, value)
        // A newer version that is a hole says nothing of the older ones, which other generations read.
        if (chunk === covered || kind !== RowKind.CHUNK) continue
        covered = chunk
        await this.#cover(lineage, hole, chunk)
      }
      // The versions of one chunk may be divided over two reads.
      const chunk = keyChunk(last[0])
      from = chunk === covered ? chunkKey(view.lineage.id, chunk + 1, GENERATION_MAX) : keyAfter(last[0])
      await this.#roomForRows()
    }
  }

  /** Gives a chunk its row, unless the lineage already has one that is newer than the hole. */
  async #cover(lineage: Lineage, hole: Hole, chunk: number): Promise<void> {
    let row: Row | null | undefined
    for (;;) {
      // Asked anew after each wait: a snapshot that was taken meanwhile has frozen the hole, and the head sees newer versions.
      const view = hole.generation === lineage.generation ? lineage.head : lineage.view(hole.generation)
      row = this.#core.index.find(view, chunk)
      if (row !== undefined) break
      await this.#core.index.loaded(view, chunk)
    }
    const cover = coverRow(lineage, hole, chunk)
    if (row !== null && row.sequence !== hole.sequence && outdates(row, cover)) return
    this.#core.index.set(lineage, cover, hole.position)
  }

  async #roomForRows(): Promise<void> {
    while (!this.#core.index.hasRoom && !this.#stopped) {
      await new Promise<void>((resolve) => this.#core.index.onRoom(resolve))
    }
  }
}

const nothing = Buffer.alloc(0)

function coverRow(lineage: Lineage, hole: Hole, chunk: number): Row {
  return holeRow(lineage.id, chunk, hole.generation, hole.sequence, hole.position)
}

function covers(hole: Hole, chunk: number): boolean {
  return chunk >= hole.first && chunk < hole.first + hole.count
}
