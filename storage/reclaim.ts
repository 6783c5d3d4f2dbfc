/**
 * Giving back what deletion left: rows that no living generation reads, and
 * segments in which nothing lives any more. In the background, in bounded steps,
 * begun again after a restart (the catalogue remembers which lineages are untidy).
 *
 * A segment goes when no row in LevelDB points into it. Only segments that the
 * checkpoint covers are looked at: all their rows are in LevelDB, and no new row
 * will ever point to them. Because the index must be rebuildable from the log, the
 * row of a hole points to its HOLE record too (what it hides must not come back),
 * and a segment with META records goes only behind a new record of the whole
 * catalogue.
 */

import { READ_ROWS } from './chunk-index.ts'
import type { Core } from './core.ts'
import { RecordType } from './record.ts'
import {
  chunkKeyRange,
  dataKey,
  dataKeyRange,
  decodeRow,
  GENERATION_MAX,
  keyAfter,
  keyChunk,
  keyGeneration,
} from './row.ts'
import type { SegmentFiles } from './segment-files.ts'
import { scanSegmentTypes } from './segment-scan.ts'

/** Rows are removed in batches of this many. */
const REMOVE_ROWS = 512
/** Between two reads of rows: nobody waits for this work, and clients share the event loop and the disk with it. */
const REST_MILLIS = 1

/** Generations of a lineage that somebody can read; a head counts as `GENERATION_MAX`. */
export type LivingGenerations = readonly number[]

export async function removeLineage(core: Core, lineage: number): Promise<void> {
  for (const [first, to] of [chunkKeyRange(lineage), dataKeyRange(lineage)]) {
    // Behind what was removed: an iterator walks over deleted rows one by one.
    for (let from = first; ;) {
      const iterator = await core.index.iterate(from, to)
      const keys: Buffer[] = []
      try {
        while (keys.length < REMOVE_ROWS) {
          const rows = await iterator.next(READ_ROWS)
          if (rows.length === 0) break
          for (const [key] of rows) keys.push(key)
        }
      } finally {
        await iterator.close()
      }
      const last = keys[keys.length - 1]
      if (last === undefined) break
      await core.index.remove(keys)
      from = keyAfter(last)
    }
  }
}

/** Removes the rows of a lineage that no living generation reads. False when it was `stopped` before its end. */
export async function removeUnread(
  core: Core,
  lineage: number,
  living: () => LivingGenerations,
  stopped: () => boolean,
): Promise<boolean> {
  // Rows on their way to LevelDB may outdate some that are there.
  await core.index.drain()
  const [first, to] = chunkKeyRange(lineage)
  let from = first
  let chunk = -1
  /** Of the newest version of `chunk` seen so far. */
  let newer = 0
  for (;;) {
    await rest(core)
    if (stopped()) return false
    const iterator = await core.index.iterate(from, to)
    let rows: [Buffer, Buffer][]
    try {
      rows = await iterator.next(READ_ROWS)
    } finally {
      await iterator.close()
    }
    if (rows.length === 0) return true
    const generations = living()
    const keys: Buffer[] = []
    for (const [key] of rows) {
      const generation = keyGeneration(key)
      // The newest version is read by everyone from its generation on, an older one only by those before the next newer.
      const end = keyChunk(key) === chunk ? newer : GENERATION_MAX + 1
      chunk = keyChunk(key)
      newer = generation
      if (generations.some((reader) => reader >= generation && reader < end)) continue
      keys.push(key, dataKey(lineage, chunk, generation))
    }
    if (keys.length > 0) await core.index.remove(keys)
    const [last] = rows[rows.length - 1] as [Buffer, Buffer]
    from = keyAfter(last)
  }
}

/**
 * Unlinks segments in which nothing lives; resolves with their number. `complete`
 * is the first segment that the checkpoint does not cover. `saveCatalogue`
 * appends the whole catalogue to the log and makes it durable. Nothing is
 * unlinked when it is `stopped` before it knows what lives.
 */
export async function removeDeadSegments(
  core: Core,
  files: SegmentFiles,
  options: { complete: number; dataRows: boolean; saveCatalogue: () => Promise<void>; stopped: () => boolean },
): Promise<number> {
  const candidates = files.ids().filter((id) => id < options.complete)
  if (candidates.length === 0) return 0
  const living = options.dataRows ? new Set<number>() : await livingSegments(core, options.stopped)
  if (living === undefined) return 0
  let removed = 0
  let catalogueSaved = false
  for (const id of candidates) {
    if (living.has(id)) continue
    const types = options.dataRows ? new Set<number>() : await scanSegmentTypes(files, id)
    if (types.has(RecordType.META) && !catalogueSaved) {
      await options.saveCatalogue()
      catalogueSaved = true
    }
    await files.remove(id)
    removed++
  }
  if (removed > 0) {
    await files.syncDirectory()
    core.log.retry()
  }
  return removed
}

async function livingSegments(core: Core, stopped: () => boolean): Promise<Set<number> | undefined> {
  const living = new Set<number>()
  const [first, to] = chunkKeyRange()
  let from = first
  for (;;) {
    const iterator = await core.index.iterate(from, to)
    try {
      // An iterator keeps what is deleted meanwhile: a new one after some thousand rows.
      for (let reads = 0; reads < 64; reads++) {
        await rest(core)
        if (stopped()) return undefined
        const rows = await iterator.next(READ_ROWS)
        if (rows.length === 0) return living
        for (const [key, value] of rows) {
          const row = decodeRow(key, value)
          living.add(row.segment)
          from = key
        }
      }
    } finally {
      await iterator.close()
    }
    from = keyAfter(from)
  }
}

function rest(core: Core): Promise<void> {
  return new Promise((resolve) => core.environment.clock.after(REST_MILLIS, resolve))
}
