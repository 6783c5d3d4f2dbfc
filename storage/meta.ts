/**
 * The payload of META records: JSON, so that a stranger can read the store's
 * decisions with his eyes. Changes that belong together and do not fit one record
 * take several in a row, and count when the last of them is there.
 */

import type { Catalogue, Change } from './catalogue.ts'
import { Codec, RecordType } from './record.ts'
import type { SegmentLog } from './segment-log.ts'

/** Changes in one record. None takes more than half a KiB, so a record stays far below its largest size. */
const CHANGES_MAX = 1000

export interface Meta {
  readonly changes: readonly Change[]
  /** The changes are all there is: the catalogue is these and nothing else. */
  readonly whole?: true
}

interface Payload extends Meta {
  /** Counted from 0. */
  readonly part?: { readonly part: number; readonly of: number }
}

/** Appends changes that are applied all or none. */
export function appendMeta(log: SegmentLog, nextSequence: () => number, meta: Meta): void {
  const of = Math.max(1, Math.ceil(meta.changes.length / CHANGES_MAX))
  for (let part = 0; part < of; part++) {
    const changes = meta.changes.slice(part * CHANGES_MAX, (part + 1) * CHANGES_MAX)
    appendPayload(log, nextSequence(), { ...meta, changes, ...(of === 1 ? {} : { part: { part, of } }) })
  }
}

function appendPayload(log: SegmentLog, sequence: number, meta: Payload): void {
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

/** Puts the payloads of META records, given in the order of the log, together again. */
export class MetaReader {
  #changes: Change[] = []
  #parts = 0

  /** What is complete with this payload; undefined while parts are missing. */
  read(payload: Buffer): Meta | undefined {
    const { changes, whole, part = { part: 0, of: 1 } } = JSON.parse(payload.toString()) as Payload
    if (part.part === 0) {
      this.#changes = []
      this.#parts = 0
    } else if (part.part !== this.#parts) return undefined
    this.#changes.push(...changes)
    this.#parts++
    if (this.#parts < part.of) return undefined
    return { changes: this.#changes, ...(whole === true ? { whole } : {}) }
  }
}

/** Appends the whole catalogue. */
export function appendCatalogue(log: SegmentLog, nextSequence: () => number, catalogue: Catalogue): void {
  appendMeta(log, nextSequence, { changes: catalogue.all(), whole: true })
}
