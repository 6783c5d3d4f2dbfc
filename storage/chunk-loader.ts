/**
 * Finds what a view reads for a chunk, in its own lineage or through the chain
 * of its origins, and fills entries with it. Each entry is filled once, however
 * many wait for it.
 */

import type { Core } from './core.ts'
import { type Entry, SECTORS, WHOLE } from './entry.ts'
import type { View } from './lineage.ts'
import { type Row, RowKind } from './row.ts'

export interface Found {
  /** Null: nothing is stored, the chunk is all zeroes. */
  readonly row: Row | null
  /** It was not the lineage's own, but an origin's. */
  readonly inherited: boolean
}

/** A record that could not be read: tried once more where the index points elsewhere by now. */
interface Failed {
  readonly row: Row
  readonly error: Error
}

const ZEROES: Found = { row: null, inherited: false }

export class ChunkLoader {
  readonly #core: Core

  constructor(core: Core) {
    this.#core = core
  }

  /** What a view reads for a chunk; or, when a page is missing, the view whose page must be loaded first. */
  resolve(view: View, chunk: number): Found | View {
    for (let at = view; ;) {
      const row = this.#core.index.find(at, chunk)
      if (row === undefined) return at
      if (row !== null) return row.kind === RowKind.HOLE ? ZEROES : { row, inherited: at !== view }
      const origin = at.lineage.origin
      if (origin === null || chunk >= origin.chunkCount) return ZEROES
      at = origin.view
    }
  }

  /** The same, loading what is missing; for cold paths. */
  async resolved(view: View, chunk: number): Promise<Found> {
    for (;;) {
      const found = this.resolve(view, chunk)
      if (!isView(found)) return found
      await this.#core.index.loaded(found, chunk)
    }
  }

  /** Makes an entry whole: its missing sectors come from what is stored. The callback may come at once. */
  fill(entry: Entry, done: (error: Error | null) => void): void {
    if (entry.valid === WHOLE) return done(null)
    if (entry.loading !== undefined) {
      entry.loading.push(done)
      return
    }
    entry.loading = [done]
    this.#attempt(entry, undefined)
  }

  /**
   * A whole chunk to `at` in `into`, for a reader of many: past the cache, which a scan shall not flush. What is to be
   * kept goes through an entry all the same. `done` hears whether it is kept; it may come at once.
   */
  copy(view: View, chunk: number, into: Buffer, at: number, done: (error: Error | null, kept: boolean) => void): void {
    this.#attemptCopy(view, chunk, into, at, done, undefined)
  }

  #attemptCopy(
    view: View,
    chunk: number,
    into: Buffer,
    at: number,
    done: (error: Error | null, kept: boolean) => void,
    failed: Failed | undefined,
  ): void {
    const found = this.resolve(view, chunk)
    if (isView(found)) {
      this.#core.index.load(found, chunk, (error) =>
        error === null ? this.#attemptCopy(view, chunk, into, at, done, failed) : done(error, false),
      )
      return
    }
    const { chunkBytes } = view.lineage
    const { row, inherited } = found
    if (row === null) {
      into.fill(0, at, at + chunkBytes)
      return done(null, false)
    }
    if (failed !== undefined && sameRecord(failed.row, row)) return done(failed.error, false)
    if (inherited && this.#keeps(view)) {
      const entry = view.entries.get(chunk) ?? this.#core.cache.add(view, chunk)
      this.fill(entry, (error) => {
        if (error === null) entry.buffer.copy(into, at)
        done(error, entry.promote)
      })
      return
    }
    this.#core.reader.chunk(row, chunkBytes, (error, bytes) => {
      if (error !== null) return this.#attemptCopy(view, chunk, into, at, done, { row, error })
      bytes.copy(into, at)
      done(null, false)
    })
  }

  #attempt(entry: Entry, failed: Failed | undefined): void {
    // A frozen entry must not see what its successor wrote. (One without a generation of its own has none.)
    const frozen = entry.detached && entry.unfolded !== 0
    const view = frozen ? entry.view.lineage.view(entry.generation) : entry.view
    const found = this.resolve(view, entry.chunk)
    if (isView(found)) {
      // After the wait everything is asked again from the start: an origin may have been cut meanwhile.
      this.#core.index.load(found, entry.chunk, (error) =>
        error === null ? this.#attempt(entry, failed) : this.#filled(entry, error, false),
      )
      return
    }
    const { row, inherited } = found
    if (row === null) {
      fillMissing(entry, undefined)
      this.#filled(entry, null, false)
      return
    }
    if (failed !== undefined && sameRecord(failed.row, row)) {
      this.#filled(entry, failed.error, false)
      return
    }
    this.#core.reader.chunk(row, entry.buffer.length, (error, chunk) => {
      if (error !== null) {
        // Its segment may have been cleaned away between the look-up and the read: look again, once for each place.
        this.#attempt(entry, { row, error })
        return
      }
      fillMissing(entry, chunk)
      this.#filled(entry, null, inherited)
    })
  }

  #filled(entry: Entry, error: Error | null, inherited: boolean): void {
    if (error !== null && entry.unfolded === 0) this.#core.cache.detach(entry)
    if (error === null && inherited && this.#isWorthKeeping(entry)) this.#core.writeBack.promote(entry)
    // It counts as loading until everybody has copied what he waited for: what one of them does next may need memory.
    for (const done of entry.loading ?? []) done(error)
    entry.loading = undefined
  }

  /** What a read fetched through the origin is kept, unless there is no space for it. */
  #isWorthKeeping(entry: Entry): boolean {
    return !entry.detached && entry.unfolded === 0 && this.#keeps(entry.view)
  }

  /** Whether what a view inherits becomes its own when it is read. */
  #keeps(view: View): boolean {
    const { lineage } = view
    return (
      lineage.hydration !== null &&
      lineage.hydration.state !== 'paused: no space' &&
      this.#core.log.noSpace === undefined &&
      view === lineage.head
    )
  }
}

export function isView(found: Found | View): found is View {
  return 'lineage' in found
}

function sameRecord(a: Row, b: Row): boolean {
  return a.segment === b.segment && a.offset === b.offset && a.sequence === b.sequence && a.dataRow === b.dataRow
}

/** Takes the sectors that the entry does not have from `chunk`; zeroes when that is undefined. */
function fillMissing(entry: Entry, chunk: Buffer | undefined): void {
  if (entry.valid === 0) {
    if (chunk === undefined) entry.buffer.fill(0)
    else chunk.copy(entry.buffer)
  } else {
    const sectorBytes = entry.buffer.length / SECTORS
    for (let sector = 0; sector < SECTORS; sector++) {
      if ((entry.valid & (1 << sector)) !== 0) continue
      const first = sector * sectorBytes
      if (chunk === undefined) entry.buffer.fill(0, first, first + sectorBytes)
      else chunk.copy(entry.buffer, first, first, first + sectorBytes)
    }
  }
  entry.valid = WHOLE
}
