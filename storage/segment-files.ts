/**
 * The files of the segment log: which there are, how long they are, and open
 * handles for reading, at most so many at a time. A segment that is removed
 * while somebody reads it stays readable to them: the file is unlinked at once,
 * its handle closed after its last reader.
 */

import { join } from 'node:path'
import type { FileHandle, FileSystem } from './environment.ts'
import { StoreError } from './errors.ts'
import type { Position } from './position.ts'
import { readSegmentHeader, SEGMENT_HEADER_BYTES } from './record.ts'

/** Handles kept open for reading. The unit sets LimitNOFILE far above. */
const OPEN_SEGMENTS_MAX = 512

/** What is read and written at a time by `makeDurable`. */
const REWRITE_BYTES = 1024 * 1024

const NAME = /^([0-9a-f]{8})\.seg$/

export class Segment {
  readonly id: number
  readonly path: string
  /** Length in bytes of what was appended (or found at start). */
  bytes: number
  /** crc32 of the incarnation, part of each record's checksum; undefined until the header was read. */
  incarnationCrc: number | undefined
  /** See `SegmentHeader`; known with `incarnationCrc`. */
  previousEnd: Position = 0
  handle: FileHandle | undefined
  /** Readers, and the log itself while it appends. */
  holders = 0
  removed = false
  opening: ((error: Error | null) => void)[] | undefined

  constructor(id: number, path: string, bytes: number) {
    this.id = id
    this.path = path
    this.bytes = bytes
  }
}

export class SegmentFiles {
  readonly #files: FileSystem
  readonly #directory: string
  readonly #segments = new Map<number, Segment>()
  /** In the order of their opening, the oldest first. */
  readonly #open = new Set<Segment>()
  #bytes = 0

  constructor(files: FileSystem, directory: string) {
    this.#files = files
    this.#directory = directory
  }

  /** Finds what is there. Other files in the directory are left alone. */
  async load(): Promise<void> {
    for (const name of await this.#files.list(this.#directory)) {
      const id = NAME.exec(name)?.[1]
      if (id === undefined) continue
      const segment = new Segment(Number.parseInt(id, 16), join(this.#directory, name), 0)
      const handle = await this.#files.open(segment.path, 'read')
      try {
        segment.bytes = await handle.size()
      } finally {
        await handle.close()
      }
      this.#bytes += segment.bytes
      this.#segments.set(segment.id, segment)
    }
  }

  /** Numbers of all segments, rising. */
  ids(): number[] {
    return [...this.#segments.keys()].sort((a, b) => a - b)
  }

  get(id: number): Segment | undefined {
    return this.#segments.get(id)
  }

  get totalBytes(): number {
    return this.#bytes
  }

  /**
   * Makes the file of a new segment, with a name that survives a power cut: so a
   * predecessor that is not there was removed, and never lost.
   */
  async create(id: number, incarnationCrc: number): Promise<Segment> {
    const segment = new Segment(id, join(this.#directory, `${id.toString(16).padStart(8, '0')}.seg`), 0)
    const handle = await this.#files.open(segment.path, 'create')
    try {
      await this.syncDirectory()
    } catch (error) {
      // For want of space it is tried again.
      await handle.close().catch(() => {})
      await this.#files.remove(segment.path).catch(() => {})
      throw error
    }
    segment.handle = handle
    segment.incarnationCrc = incarnationCrc
    segment.holders = 1
    this.#segments.set(id, segment)
    this.#open.add(segment)
    return segment
  }

  grew(segment: Segment, bytes: number): void {
    segment.bytes += bytes
    this.#bytes += bytes
  }

  syncDirectory(): Promise<void> {
    return this.#files.syncDirectory(this.#directory)
  }

  /** Opens a segment for a reader; `ready` may be called at once. Every call without an error needs a `release`. */
  hold(id: number, ready: (error: Error | null, segment: Segment) => void): void {
    const segment = this.#segments.get(id)
    if (segment === undefined) {
      const error = new StoreError('CHUNK_DAMAGED', `segment ${id} is not there any more`, { details: { segment: id } })
      ready(error, new Segment(id, '', 0))
      return
    }
    segment.holders++
    if (segment.handle !== undefined && segment.incarnationCrc !== undefined) {
      ready(null, segment)
      return
    }
    const opened = (error: Error | null) => {
      if (error !== null) segment.holders--
      ready(error, segment)
    }
    if (segment.opening !== undefined) {
      segment.opening.push(opened)
      return
    }
    segment.opening = [opened]
    this.#openSegment(segment).then(
      () => this.#opened(segment, null),
      (error: Error) => this.#opened(segment, error),
    )
  }

  release(segment: Segment): void {
    segment.holders--
    if (segment.holders === 0 && segment.removed) this.#closeHandle(segment)
  }

  /**
   * Makes durable what a segment holds from `from` on, whoever wrote it. By writing it again: what a failed sync could not
   * bring to the disk can still be read, and the system takes it for clean, so that a further sync would do nothing.
   */
  async makeDurable(id: number, from: number): Promise<void> {
    const segment = this.#segments.get(id)
    if (segment === undefined) return
    const handle = await this.#files.open(segment.path, 'update')
    try {
      const piece = Buffer.allocUnsafe(Math.min(REWRITE_BYTES, Math.max(0, segment.bytes - from)))
      for (let at = from; at < segment.bytes; at += piece.length) {
        const bytes = piece.subarray(0, await readAll(handle, piece.subarray(0, segment.bytes - at), at))
        await writeAll(handle, bytes, at)
      }
      await new Promise<void>((resolve, reject) => handle.sync((error) => (error === null ? resolve() : reject(error))))
    } finally {
      await handle.close()
    }
  }

  /** Cuts off what recovery found to be no part of the log. */
  async truncate(id: number, bytes: number): Promise<void> {
    const segment = this.#segments.get(id)
    if (segment === undefined) return
    await this.#files.truncate(segment.path, bytes)
    this.#bytes -= segment.bytes - bytes
    segment.bytes = bytes
  }

  /** Unlinks a segment. Rejects when the file system refuses; then the segment stays. */
  async remove(id: number): Promise<void> {
    const segment = this.#segments.get(id)
    if (segment === undefined) return
    await this.#files.remove(segment.path)
    this.#segments.delete(id)
    this.#bytes -= segment.bytes
    segment.removed = true
    if (segment.holders === 0) this.#closeHandle(segment)
  }

  async close(): Promise<void> {
    const handles = [...this.#open].map((segment) => segment.handle)
    this.#open.clear()
    for (const handle of handles) await handle?.close()
  }

  async #openSegment(segment: Segment): Promise<void> {
    const handle = await this.#files.open(segment.path, 'read')
    const header = Buffer.allocUnsafe(SEGMENT_HEADER_BYTES)
    const bytesRead = await readAll(handle, header, 0)
    const found = bytesRead < SEGMENT_HEADER_BYTES ? undefined : readSegmentHeader(header, segment.id)
    if (found === undefined) {
      await handle.close()
      throw new StoreError('CHUNK_DAMAGED', `segment file ${segment.path} has no valid header`, {
        details: { segment: segment.id },
      })
    }
    segment.incarnationCrc = found.incarnationCrc
    segment.previousEnd = found.previousEnd
    segment.handle = handle
    this.#open.add(segment)
    this.#closeOldest()
  }

  #opened(segment: Segment, error: Error | null): void {
    const waiting = segment.opening ?? []
    segment.opening = undefined
    for (const ready of waiting) ready(error)
  }

  #closeOldest(): void {
    if (this.#open.size <= OPEN_SEGMENTS_MAX) return
    for (const segment of this.#open) {
      if (segment.holders > 0) continue
      this.#closeHandle(segment)
      if (this.#open.size <= OPEN_SEGMENTS_MAX) return
    }
  }

  #closeHandle(segment: Segment): void {
    const handle = segment.handle
    segment.handle = undefined
    this.#open.delete(segment)
    // Nothing was written through a handle that only reads, and what the log wrote was synced: an error here loses nothing.
    handle?.close().catch(() => {})
  }
}

/** Reads until `into` is full or the file ends; resolves with the number of bytes. */
export function readAll(handle: FileHandle, into: Buffer, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    let filled = 0
    const more = () =>
      handle.read(into, filled, into.length - filled, position + filled, (error, bytesRead) => {
        if (error !== null) return reject(error)
        filled += bytesRead
        if (bytesRead === 0 || filled === into.length) return resolve(filled)
        more()
      })
    more()
  })
}

function writeAll(handle: FileHandle, bytes: Buffer, position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let done = 0
    const more = () =>
      handle.write(bytes, done, bytes.length - done, position + done, (error, written) => {
        if (error !== null) return reject(error)
        done += written
        if (done === bytes.length) return resolve()
        more()
      })
    if (bytes.length === 0) resolve()
    else more()
  })
}
