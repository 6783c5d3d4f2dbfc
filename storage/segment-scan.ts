/**
 * Reading segments from front to back, as recovery does.
 *
 * The log ends at the first record that is not whole; unless a record further on
 * says that the log was durable beyond that place when it was appended: then the
 * bad one is rot, not a torn end, and the scan goes on behind it. A segment says
 * where its predecessor ended, so that an end that is missing altogether is seen
 * as well: what was written last may be on the disk first.
 */

import type { FileHandle } from './environment.ts'
import { StoreError } from './errors.ts'
import { offsetOf, type Position, positionOf, segmentOf } from './position.ts'
import {
  CHECKSUM_BLOCK_BYTES,
  payloadIsGood,
  PAYLOAD_BYTES_MAX,
  readHeader,
  RECORD_ALIGN_BYTES,
  RECORD_HEADER_BYTES,
  recordBytes,
  type RecordHeader,
  SEGMENT_HEADER_BYTES,
} from './record.ts'
import { readAll, type Segment, type SegmentFiles } from './segment-files.ts'

const WINDOW_BYTES = 8 * 1024 * 1024
const CHECKSUM_TABLE_BYTES_MAX = 4 * Math.ceil(PAYLOAD_BYTES_MAX / CHECKSUM_BLOCK_BYTES)
/** A window always holds the whole of the record it begins with. */
const RECORD_BYTES_MAX = PAYLOAD_BYTES_MAX + 4096

export interface ScannedRecord {
  readonly header: RecordHeader
  readonly position: Position
  /** Lent until the visitor returns or resolves. */
  readonly window: Buffer
  /** Where the record begins in the window. */
  readonly at: number
}

export type Visit = (record: ScannedRecord) => void | Promise<void>

export interface ScanResult {
  /** Records visited. */
  records: number
  /** Where the log ends: segment and the offset behind its last good record. Undefined when there were no segments. */
  end: { segment: number; offset: number } | undefined
  /** Bad records before that, which were once durable. */
  damaged: Position[]
}

/** Visits all records from a position on, in the order of the log. */
export async function scanLog(
  files: SegmentFiles,
  from: { segment: number; offset: number },
  visit: Visit,
): Promise<ScanResult> {
  const result: ScanResult = { records: 0, end: undefined, damaged: [] }
  const ids = files.ids().filter((id) => id >= from.segment)
  for (const [i, id] of ids.entries()) {
    const start = id === from.segment ? Math.max(from.offset, SEGMENT_HEADER_BYTES) : SEGMENT_HEADER_BYTES
    const later = ids.slice(i + 1)
    const reached = result.end ?? from
    if (id > from.segment && (await followsLoss(files, id, later, reached))) {
      result.end = reached
      return result
    }
    if (!(await scanSegment(files, id, start, later, visit, result))) return result
  }
  return result
}

/** How far the log behind `from` is known to be on the disk: what its newest records say. */
export async function durableMark(
  files: SegmentFiles,
  from: { segment: number; offset: number },
): Promise<{ segment: number; offset: number }> {
  let mark = positionOf(from.segment, from.offset)
  for (const id of files.ids().reverse()) {
    if (id < from.segment) break
    const segment = await hold(files, id)
    if (segment === undefined) continue
    let found: Position | undefined
    try {
      const start = id === from.segment ? Math.max(from.offset, SEGMENT_HEADER_BYTES) : SEGMENT_HEADER_BYTES
      found = await new WindowReader(segment).durableMark(start)
    } finally {
      files.release(segment)
    }
    if (found === undefined) continue
    mark = Math.max(mark, found)
    break
  }
  return { segment: segmentOf(mark), offset: offsetOf(mark) }
}

/** Whether the end of a segment's predecessor is not there, and never was durable: then the log ends at `reached`. */
async function followsLoss(
  files: SegmentFiles,
  id: number,
  later: number[],
  reached: { segment: number; offset: number },
): Promise<boolean> {
  const segment = await hold(files, id)
  if (segment === undefined) return false
  const { previousEnd } = segment
  files.release(segment)
  // Another predecessor than the one just read was removed, or is covered by the checkpoint.
  if (segmentOf(previousEnd) !== reached.segment || offsetOf(previousEnd) <= reached.offset) return false
  return !(await durableBeyond(files, positionOf(reached.segment, reached.offset), undefined, [id, ...later]))
}

/** False when the log ends in this segment. */
async function scanSegment(
  files: SegmentFiles,
  id: number,
  start: number,
  later: number[],
  visit: Visit,
  result: ScanResult,
): Promise<boolean> {
  const segment = await hold(files, id)
  if (segment === undefined) {
    result.end = { segment: id, offset: 0 }
    return (
      (await durableBeyond(files, positionOf(id, 0), undefined, later)) &&
      (result.damaged.push(positionOf(id, 0)), true)
    )
  }
  try {
    const reader = new WindowReader(segment)
    let offset = start
    while (offset < segment.bytes) {
      const record = await reader.record(offset)
      if (record !== undefined) {
        await visit(record)
        result.records++
        offset += recordBytes(record.header.type, record.header.codec, record.header.payloadBytes)
        result.end = { segment: id, offset }
        continue
      }
      const bad = positionOf(id, offset)
      if (!(await durableBeyond(files, bad, { reader, offset }, later))) {
        result.end = { segment: id, offset }
        return false
      }
      result.damaged.push(bad)
      offset = await reader.nextRecord(offset + RECORD_ALIGN_BYTES)
    }
    result.end ??= { segment: id, offset }
    if (result.end.segment !== id) result.end = { segment: id, offset }
    return true
  } finally {
    files.release(segment)
  }
}

/** Whether a record behind `bad`, here or in a later segment, says that the log was durable beyond it. */
async function durableBeyond(
  files: SegmentFiles,
  bad: Position,
  here: { reader: WindowReader; offset: number } | undefined,
  later: number[],
): Promise<boolean> {
  if (here !== undefined && (await here.reader.durableBeyond(here.offset + RECORD_ALIGN_BYTES, bad))) return true
  for (const id of later) {
    const segment = await hold(files, id)
    if (segment === undefined) continue
    try {
      if (await new WindowReader(segment).durableBeyond(SEGMENT_HEADER_BYTES, bad)) return true
    } finally {
      files.release(segment)
    }
  }
  return false
}

/** Opens a segment; undefined when its header is not valid. Rejects when it cannot be read: that is no end of the log. */
function hold(files: SegmentFiles, id: number): Promise<Segment | undefined> {
  return new Promise((resolve, reject) =>
    files.hold(id, (error, segment) => {
      if (error === null) resolve(segment)
      else if (error instanceof StoreError) resolve(undefined)
      else reject(error)
    }),
  )
}

class WindowReader {
  readonly #segment: Segment
  #window: Buffer = Buffer.alloc(0)
  #start = 0

  constructor(segment: Segment) {
    this.#segment = segment
  }

  /** The whole and good record at an offset, or undefined. */
  async record(offset: number): Promise<ScannedRecord | undefined> {
    await this.#cover(offset, RECORD_BYTES_MAX)
    const at = offset - this.#start
    const header = readHeader(this.#window, at, this.#segment.incarnationCrc ?? 0)
    if (header === undefined || !payloadIsGood(this.#window, at, header)) return undefined
    // Its padding belongs to it: whoever reads the record later, reads all of it.
    if (at + recordBytes(header.type, header.codec, header.payloadBytes) > this.#window.length) return undefined
    return { header, position: positionOf(this.#segment.id, offset), window: this.#window, at }
  }

  /** The offset of the next good record at or behind `offset`, or the segment's end. */
  async nextRecord(offset: number): Promise<number> {
    for (let at = offset; at < this.#segment.bytes; at += RECORD_ALIGN_BYTES)
      if ((await this.record(at)) !== undefined) return at
    return this.#segment.bytes
  }

  /** The header at an offset, its payload unseen. */
  async header(offset: number): Promise<RecordHeader | undefined> {
    await this.#cover(offset, RECORD_HEADER_BYTES + CHECKSUM_TABLE_BYTES_MAX)
    return readHeader(this.#window, offset - this.#start, this.#segment.incarnationCrc ?? 0)
  }

  async durableBeyond(offset: number, bad: Position): Promise<boolean> {
    for await (const mark of this.#marks(offset)) if (mark > bad) return true
    return false
  }

  /** The highest durable mark at or behind an offset; undefined when there is no record. */
  async durableMark(offset: number): Promise<Position | undefined> {
    let highest: Position | undefined
    for await (const mark of this.#marks(offset)) highest = Math.max(highest ?? 0, mark)
    return highest
  }

  async *#marks(offset: number): AsyncGenerator<Position> {
    for (let at = offset; at < this.#segment.bytes;) {
      const header = await this.header(at)
      if (header === undefined) at += RECORD_ALIGN_BYTES
      else {
        yield positionOf(header.durableSegment, header.durableOffset)
        at += recordBytes(header.type, header.codec, header.payloadBytes)
      }
    }
  }

  /** Makes the window hold `bytes` from an offset on, as far as the file goes. */
  async #cover(offset: number, bytes: number): Promise<void> {
    const end = Math.min(offset + bytes, this.#segment.bytes)
    if (offset >= this.#start && end <= this.#start + this.#window.length) return
    const window = Buffer.allocUnsafe(Math.min(WINDOW_BYTES, this.#segment.bytes - offset))
    const bytesRead = await readAll(this.#segment.handle as FileHandle, window, offset)
    this.#window = window.subarray(0, bytesRead)
    this.#start = offset
  }
}

/** The types of the records in a segment. */
export async function scanSegmentTypes(files: SegmentFiles, id: number): Promise<Set<number>> {
  const types = new Set<number>()
  const segment = await hold(files, id)
  if (segment === undefined) return types
  try {
    const reader = new WindowReader(segment)
    for (let offset = SEGMENT_HEADER_BYTES; offset < segment.bytes;) {
      const header = await reader.header(offset)
      if (header !== undefined) types.add(header.type)
      offset += header === undefined ? RECORD_ALIGN_BYTES : recordBytes(header.type, header.codec, header.payloadBytes)
    }
  } finally {
    files.release(segment)
  }
  return types
}
