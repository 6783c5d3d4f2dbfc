/** The payload of META records: JSON, so that a stranger can read the store's decisions with his eyes. */

import type { Catalogue, Change } from './catalogue.ts'
import { Codec, RecordType } from './record.ts'
import type { SegmentLog } from './segment-log.ts'

/** Changes in one record; a catalogue that is larger takes several. */
const CHANGES_MAX = 1000

export interface Meta {
  readonly changes: readonly Change[]
  /** This record is one part of the whole catalogue: all parts in a row replace everything before them. */
  readonly whole?: { readonly part: number; readonly of: number }
}

export function appendMeta(log: SegmentLog, sequence: number, meta: Meta): void {
  const payload = Buffer.from(JSON.stringify(meta))
  log.append(
    {
      type: RecordType.META,
      codec: Codec.RAW,
      sequence,
      lineage: 0,
      generation: 0,
      chunk: 0,
      extent: 0,
      payloadBytes: payload.length,
      chunkBytes: 0,
      durableSegment: 0,
      durableOffset: 0,
    },
    payload,
  )
}

export function readMeta(payload: Buffer): Meta {
  return JSON.parse(payload.toString()) as Meta
}

/** Appends the whole catalogue, in as many records as it takes. */
export function appendCatalogue(log: SegmentLog, nextSequence: () => number, catalogue: Catalogue): void {
  const all: Change[] = [
    ...[...catalogue.disks.values()].map((value) => ({ kind: 'disk', id: value.id, value }) as const),
    ...[...catalogue.lineages.values()].map((value) => ({ kind: 'lineage', id: value.id, value }) as const),
    ...[...catalogue.snapshots.values()].map((value) => ({ kind: 'snapshot', id: value.id, value }) as const),
    ...[...catalogue.reclaims.values()].map((value) => ({ kind: 'reclaim', id: value.id, value }) as const),
    { kind: 'setting', id: 0, value: catalogue.settings },
  ]
  const parts = Math.ceil(all.length / CHANGES_MAX)
  for (let part = 0; part < parts; part++) {
    const changes = all.slice(part * CHANGES_MAX, (part + 1) * CHANGES_MAX)
    appendMeta(log, nextSequence(), { changes, whole: { part, of: parts } })
  }
}
