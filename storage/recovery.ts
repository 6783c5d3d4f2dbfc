/**
 * Recovery: replays the log from the last checkpoint into an index, a catalogue
 * and a cache that have just been opened. Nothing is served before it is done.
 * It runs at every start; after a clean stop there is nothing to replay.
 *
 * The rules are those of the log's records (FORMAT.md): of one chunk and
 * generation the highest sequence wins; a CHUNK or HOLE outdates every PATCH of
 * no higher sequence; generation numbers in records are believed over the
 * catalogue's, which may be older.
 */

import type { Catalogue, Change } from './catalogue.ts'
import { holeRow } from './chunk-index.ts'
import type { Core } from './core.ts'
import { type Entry, SECTORS, eachRun } from './entry.ts'
import type { Lineage } from './lineage.ts'
import { MetaReader } from './meta.ts'
import { offsetOf, type Position, segmentOf } from './position.ts'
import { payloadOffset, type RecordHeader, RecordType } from './record.ts'
import { RowKind } from './row.ts'
import type { SegmentFiles } from './segment-files.ts'
import { durableMark, type ScannedRecord, scanLog } from './segment-scan.ts'

/** After so many records the event loop gets a turn, for the port that is already open. */
const YIELD_RECORDS = 512

export interface RecoveryTarget {
  readonly core: Core
  readonly inlineBytesMax: number
  /** The living object of a lineage, or undefined when the catalogue has none of that number. */
  lineage(id: number): Lineage | undefined
  /** The catalogue changed. */
  applied(changes: readonly Change[]): void
}

export interface RecoveryResult {
  readonly records: number
  readonly bytes: number
  readonly damaged: readonly Position[]
}

export async function recover(files: SegmentFiles, from: Position, target: RecoveryTarget): Promise<RecoveryResult> {
  const replay = new Replay(target)
  let bytes = 0
  let since = 0
  const start = { segment: segmentOf(from), offset: offsetOf(from) }
  // A crash of the process alone leaves records that can be read and are not on the disk. They are believed from here on,
  // and rows that point to them may be written before the replay is over.
  const durable = await durableMark(files, start)
  for (const id of files.ids())
    if (id >= durable.segment) await files.makeDurable(id, id === durable.segment ? durable.offset : 0)
  await files.syncDirectory()
  const scan = await scanLog(files, start, async (record) => {
    bytes += record.header.payloadBytes
    replay.record(record)
    if (++since % YIELD_RECORDS === 0) await roomForRows(target.core)
  })
  if (scan.end !== undefined) await cutTail(files, scan.end)
  return { records: scan.records, bytes, damaged: scan.damaged }
}

/**
 * The catalogue out of the log alone, when the index is new. It must be known
 * before the first chunk is replayed: a record of the whole of it stands for
 * the older ones, whose segments are gone.
 */
export async function rebuildCatalogue(files: SegmentFiles, catalogue: Catalogue): Promise<void> {
  catalogue.clear()
  const reader = new MetaReader()
  await scanLog(files, { segment: 0, offset: 0 }, (record) => {
    if (record.header.type !== RecordType.META) return
    const meta = reader.read(payloadOf(record))
    if (meta?.whole === true) catalogue.clear()
    if (meta !== undefined) catalogue.apply(meta.changes)
  })
  // Which rows nobody reads any more is not in the log.
  for (const { id } of catalogue.lineages.values()) catalogue.apply([{ kind: 'reclaim', id, value: { id } }])
}

class Replay {
  readonly #target: RecoveryTarget
  readonly #core: Core
  readonly #metas = new MetaReader()

  constructor(target: RecoveryTarget) {
    this.#target = target
    this.#core = target.core
  }

  record(record: ScannedRecord): void {
    const { header } = record
    this.#core.sequence = Math.max(this.#core.sequence, header.sequence)
    if (header.type === RecordType.META) {
      const meta = this.#metas.read(payloadOf(record))
      // A copy of the whole catalogue says nothing that LevelDB and the records before it do not.
      if (meta !== undefined && meta.whole === undefined) this.#target.applied(meta.changes)
      return
    }
    const lineage = this.#target.lineage(header.lineage)
    if (lineage === undefined) return
    lineage.generation = Math.max(lineage.generation, header.generation)
    if (header.type === RecordType.CHUNK) this.#chunk(record, lineage)
    else if (header.type === RecordType.PATCH) this.#patch(record, lineage)
    else this.#hole(record, lineage)
  }

  #chunk(record: ScannedRecord, lineage: Lineage): void {
    const { header, position } = record
    const { payloadBytes } = header
    this.#forgetOutdated(lineage, header)
    this.#core.index.set(
      lineage,
      {
        ...holeRow(lineage.id, header.chunk, header.generation, header.sequence, position),
        kind: RowKind.CHUNK,
        codec: header.codec,
        payloadBytes,
        inline: payloadBytes <= this.#target.inlineBytesMax ? Buffer.from(payloadOf(record)) : undefined,
      },
      position,
    )
  }

  #patch(record: ScannedRecord, lineage: Lineage): void {
    const { header, position } = record
    const entry = this.#patchTarget(lineage, header)
    if (entry === undefined) return
    const sectorBytes = entry.buffer.length / SECTORS
    const payload = payloadOf(record)
    const mask = header.extent | 0
    let from = 0
    eachRun(mask, (first, count) => {
      payload.copy(entry.buffer, first * sectorBytes, from, from + count * sectorBytes)
      from += count * sectorBytes
    })
    this.#core.writeBack.recovered(entry, {
      mask,
      generation: header.generation,
      sequence: header.sequence,
      position,
    })
  }

  /**
   * The entry that takes a patch; undefined when the patch is outdated. An entry of an older generation takes it too and
   * moves on to the newer one: only a snapshot could read the older, and what a snapshot holds is whole in the log.
   */
  #patchTarget(lineage: Lineage, header: RecordHeader): Entry | undefined {
    for (let at = lineage.overlay.get(header.chunk); at !== undefined; at = at.older) {
      if (at.row.generation === header.generation && at.row.sequence >= header.sequence) return undefined
    }
    return lineage.head.entries.get(header.chunk) ?? this.#core.cache.add(lineage.head, header.chunk)
  }

  #hole({ header, position }: ScannedRecord, lineage: Lineage): void {
    const { chunk, extent, generation, sequence } = header
    if (extent === 1) {
      this.#forgetOutdated(lineage, header)
      this.#core.index.set(lineage, holeRow(lineage.id, chunk, generation, sequence, position), position)
      return
    }
    this.#core.discards.recovered(lineage, { first: chunk, count: extent, generation, sequence, position })
  }

  /** A whole chunk outdates the patches of its generation that are no newer, and all of older generations. */
  #forgetOutdated(lineage: Lineage, { chunk, generation, sequence }: RecordHeader): void {
    const entry = lineage.head.entries.get(chunk)
    if (entry === undefined || entry.generation > generation) return
    if (entry.generation === generation && entry.sequence > sequence) return
    this.#core.writeBack.drop(entry)
    this.#core.cache.detach(entry)
  }
}

function payloadOf({ header, window, at }: ScannedRecord): Buffer {
  const start = at + payloadOffset(header.type, header.codec, header.payloadBytes)
  return window.subarray(start, start + header.payloadBytes)
}

async function roomForRows(core: Core): Promise<void> {
  await new Promise<void>((resolve) => core.environment.clock.soon(resolve))
  while (!core.index.hasRoom) await new Promise<void>((resolve) => core.index.onRoom(resolve))
}

/**
 * Nothing behind the end was ever acknowledged as durable. It is removed, the
 * newest first, before anything new is appended, so that no later recovery
 * takes it for a part of the log.
 */
async function cutTail(files: SegmentFiles, end: { segment: number; offset: number }): Promise<void> {
  const behind = files.ids().filter((id) => id > end.segment)
  for (const id of behind.reverse()) await files.remove(id)
  if (end.offset === 0) await files.remove(end.segment)
  else if ((files.get(end.segment)?.bytes ?? 0) > end.offset) await files.truncate(end.segment, end.offset)
  await files.syncDirectory()
}
