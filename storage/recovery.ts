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
import { readMeta } from './meta.ts'
import { offsetOf, type Position, segmentOf } from './position.ts'
import { payloadOffset, type RecordHeader, RecordType } from './record.ts'
import { RowKind } from './row.ts'
import type { SegmentFiles } from './segment-files.ts'
import { type ScannedRecord, scanLog } from './segment-scan.ts'

/** After so many records the event loop gets a turn, for the port that is already open. */
const YIELD_RECORDS = 512

export interface RecoveryTarget {
  readonly core: Core
  readonly catalogue: Catalogue
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
  const scan = await scanLog(files, { segment: segmentOf(from), offset: offsetOf(from) }, async (record) => {
    bytes += record.header.payloadBytes
    replay.record(record)
    if (++since % YIELD_RECORDS === 0) await roomForRows(target.core)
  })
  if (scan.end !== undefined) await cutTail(files, scan.end)
  return { records: scan.records, bytes, damaged: scan.damaged }
}

class Replay {
  readonly #target: RecoveryTarget
  readonly #core: Core
  /** Patched entries that a later generation has already replaced in memory; there are few. */
  readonly #frozen = new Set<Entry>()

  constructor(target: RecoveryTarget) {
    this.#target = target
    this.#core = target.core
  }

  record(record: ScannedRecord): void {
    const { header } = record
    this.#core.sequence = Math.max(this.#core.sequence, header.sequence)
    if (header.type === RecordType.META) {
      const meta = readMeta(payloadOf(record))
      // A copy of the whole catalogue says nothing that LevelDB and the records before it do not.
      if (meta.whole === undefined) this.#target.applied(meta.changes)
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
        ...holeRow(lineage.id, header.chunk, header.generation, header.sequence),
        kind: RowKind.CHUNK,
        codec: header.codec,
        segment: segmentOf(position),
        offset: offsetOf(position),
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

  /** The entry that takes a patch, made as a write would have made it; undefined when the patch is outdated. */
  #patchTarget(lineage: Lineage, header: RecordHeader): Entry | undefined {
    for (let at = lineage.overlay.get(header.chunk); at !== undefined; at = at.older) {
      if (at.row.generation === header.generation && at.row.sequence >= header.sequence) return undefined
    }
    const { cache } = this.#core
    const before = lineage.head.entries.get(header.chunk)
    if (before === undefined || before.unfolded === 0) return before ?? cache.add(lineage.head, header.chunk)
    if (before.generation === header.generation) return before
    if (before.generation > header.generation) return undefined
    cache.detach(before)
    this.#frozen.add(before)
    const successor = cache.add(lineage.head, header.chunk)
    before.buffer.copy(successor.buffer)
    successor.valid = before.valid
    return successor
  }

  #hole({ header, position }: ScannedRecord, lineage: Lineage): void {
    const { chunk, extent, generation, sequence } = header
    if (extent === 1) {
      this.#forgetOutdated(lineage, header)
      this.#core.index.set(lineage, holeRow(lineage.id, chunk, generation, sequence), position)
      return
    }
    this.#core.discards.forgetEntries(lineage, chunk, extent, generation)
    this.#core.discards.addHole(lineage, { first: chunk, count: extent, generation, sequence, position })
  }

  /** Patches of the same generation and of no higher sequence are contained in a whole chunk. */
  #forgetOutdated(lineage: Lineage, header: RecordHeader): void {
    const entry = lineage.head.entries.get(header.chunk)
    if (entry !== undefined) this.#forgetIfOutdated(entry, header)
    for (const frozen of this.#frozen) {
      if (frozen.view.lineage === lineage && frozen.chunk === header.chunk && this.#forgetIfOutdated(frozen, header)) {
        this.#frozen.delete(frozen)
      }
    }
  }

  #forgetIfOutdated(entry: Entry, header: RecordHeader): boolean {
    if (entry.generation !== header.generation || entry.sequence > header.sequence) return false
    this.#core.writeBack.drop(entry)
    this.#core.cache.detach(entry)
    return true
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
