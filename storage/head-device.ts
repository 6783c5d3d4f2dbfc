/**
 * The head of a disk: reading as of any view, and the writing half. A write is
 * accepted in one synchronous step, in which it also gets its generation and its
 * sequence: a snapshot holds exactly the writes accepted before it.
 */

import type { Completion } from './contract.ts'
import type { Core } from './core.ts'
import { type Entry, sectorMask } from './entry.ts'
import type { Lineage } from './lineage.ts'
import { BULK_BYTES, ViewDevice } from './view-device.ts'

/** Zeroes for the ends of discards, which are less than a chunk. */
const zeroes = Buffer.alloc(1024 * 1024)

export class HeadDevice extends ViewDevice {
  readonly #lineage: Lineage
  /** Bytes; grows with the disk. */
  sizeBytes: number

  constructor(core: Core, lineage: Lineage, sizeBytes: number) {
    super(core, lineage.head)
    this.#lineage = lineage
    this.sizeBytes = sizeBytes
  }

  write(offset: number, payload: Buffer, fua: boolean, completion: Completion): void {
    const { core } = this
    const lineage = this.#lineage
    const refused = core.writeBack.refusal(lineage)
    if (refused !== undefined) return completion.complete(refused)
    if (lineage.waiting.length > 0 || core.writeBack.isFull(lineage)) {
      const kept = Buffer.from(payload)
      core.writeBack.wait(lineage, () => this.#writeKept(offset, kept, fua, completion))
      return
    }
    this.#accept(offset, payload, fua, completion, false)
  }

  /** The range reads as zeroes afterwards, and whole chunks in it take no space. */
  trim(offset: number, length: number, fua: boolean, completion: Completion): void {
    const { core, chunkBytes } = this
    const lineage = this.#lineage
    const refused = core.log.failure ?? core.log.noSpace
    if (refused !== undefined) return completion.complete(refused)
    if (core.discards.isFull(lineage)) {
      core.discards.wait(lineage, () => this.trim(offset, length, fua, completion))
      return
    }
    const end = offset + length
    const first = Math.ceil(offset / chunkBytes)
    // The last chunk of the disk may be a part of one: it has no bytes that anybody could miss.
    const final = end === this.sizeBytes ? Math.ceil(end / chunkBytes) : Math.floor(end / chunkBytes)
    if (first >= final) {
      const middle = Math.min(first * chunkBytes, end)
      return this.#zeroEnds(offset, middle, middle, end, completion, () =>
        this.#finish(offset, length, fua, completion),
      )
    }
    this.#zeroEnds(offset, first * chunkBytes, Math.min(final * chunkBytes, end), end, completion, () => {
      core.discards.add(lineage, first, final - first)
      this.#finish(offset, length, fua, completion)
    })
  }

  /**
   * The same as `trim`, with or without `noHole`: in a log, space that was once
   * taken is no promise for the next write, so there is nothing to keep.
   */
  writeZeroes(offset: number, length: number, _noHole: boolean, fua: boolean, completion: Completion): void {
    this.trim(offset, length, fua, completion)
  }

  flush(completion: Completion): void {
    this.core.writeBack.flush(this.#lineage, (error) => completion.complete(error))
  }

  /** After a wait: the log may have failed meanwhile. */
  #writeKept(offset: number, payload: Buffer, fua: boolean, completion: Completion): void {
    const refused = this.core.writeBack.refusal(this.#lineage)
    if (refused !== undefined) completion.complete(refused)
    else this.#accept(offset, payload, fua, completion, true)
  }

  /** Accepts a write now, or when the chunks are loaded whose sectors it covers in part. */
  #accept(offset: number, payload: Buffer, fua: boolean, completion: Completion, kept: boolean): void {
    const end = offset + payload.length
    if (!this.#endsAreKnown(offset, end)) {
      const own = kept ? payload : Buffer.from(payload)
      return this.#loadEnds(offset, end, completion, () => this.#writeKept(offset, own, fua, completion))
    }
    this.#put(offset, payload, payload.length)
    this.#finish(offset, payload.length, fua, completion)
  }

  /** Overwrites two short ranges with zeroes (each may be empty, and lies in one chunk) and goes on with `then`, in one step. */
  #zeroEnds(
    start: number,
    startEnd: number,
    end: number,
    endEnd: number,
    completion: Completion,
    then: () => void,
  ): void {
    if (!this.#endsAreKnown(start, startEnd)) {
      return this.#loadEnds(start, startEnd, completion, () =>
        this.#zeroEnds(start, startEnd, end, endEnd, completion, then),
      )
    }
    if (!this.#endsAreKnown(end, endEnd)) {
      return this.#loadEnds(end, endEnd, completion, () =>
        this.#zeroEnds(start, startEnd, end, endEnd, completion, then),
      )
    }
    const other = start === startEnd ? undefined : this.#pin(end)
    this.#put(start, zeroes, startEnd - start)
    this.#put(end, zeroes, endEnd - end)
    if (other !== undefined) other.pinned = false
    then()
  }

  /** Copies bytes into the entries of a range and marks them written, or into the log. */
  #put(offset: number, source: Buffer, length: number): void {
    const { chunkBytes, sectorBytes } = this
    const { writeBack } = this.core
    const end = offset + length
    const inBulk = length >= BULK_BYTES
    const final = this.#pin(end - 1)
    for (let at = offset; at < end;) {
      const chunk = Math.floor(at / chunkBytes)
      const first = at - chunk * chunkBytes
      const upTo = Math.min(chunkBytes, first + end - at)
      const isWhole = upTo - first === chunkBytes
      if (!(inBulk && isWhole && writeBack.appendThrough(this.#lineage, chunk, source, at - offset))) {
        const entry = this.#writable(chunk)
        source.copy(entry.buffer, first, at - offset, at - offset + upTo - first)
        writeBack.touch(entry, sectorMask(Math.floor(first / sectorBytes), Math.floor((upTo - 1) / sectorBytes)))
      }
      at += upTo - first
    }
    if (final !== undefined) final.pinned = false
  }

  /** Keeps the entry at an offset, whose edge is known, from being evicted for entries that are added before its turn. */
  #pin(offset: number): Entry | undefined {
    const entry = this.view.entries.get(Math.floor(offset / this.chunkBytes))
    if (entry !== undefined) entry.pinned = true
    return entry
  }

  /** The entry that takes a write of the current generation. One that still belongs to a frozen generation is copied first. */
  #writable(chunk: number): Entry {
    const entry = this.view.entries.get(chunk)
    if (entry === undefined) return this.core.cache.add(this.view, chunk)
    if (entry.unfolded === 0 || entry.generation === this.#lineage.generation) return entry
    // Of one chunk, an older generation comes first in the log: recovery need not look back.
    this.core.writeBack.logEntry(entry)
    if (entry.unfolded === 0) return entry
    this.core.cache.detach(entry)
    const successor = this.core.cache.add(this.view, chunk)
    entry.buffer.copy(successor.buffer)
    successor.valid = entry.valid
    return successor
  }

  /** Whether the sectors that a range covers only in part are in memory. */
  #endsAreKnown(offset: number, end: number): boolean {
    if (offset === end) return true
    return this.#edgeIsKnown(offset, offset) && this.#edgeIsKnown(end, end - 1)
  }

  #edgeIsKnown(edge: number, inside: number): boolean {
    if (edge % this.sectorBytes === 0) return true
    const chunk = Math.floor(inside / this.chunkBytes)
    const sector = Math.floor((inside - chunk * this.chunkBytes) / this.sectorBytes)
    const entry = this.view.entries.get(chunk)
    return entry !== undefined && (entry.valid & (1 << sector)) !== 0
  }

  #loadEnds(offset: number, end: number, completion: Completion, then: () => void): void {
    const first = Math.floor(offset / this.chunkBytes)
    const final = Math.floor((end - 1) / this.chunkBytes)
    const fill = (chunk: number, next: () => void) => {
      const entry = this.view.entries.get(chunk) ?? this.core.cache.add(this.view, chunk)
      entry.used = true
      this.core.loader.fill(entry, (error) => (error === null ? next() : completion.complete(error)))
    }
    fill(first, () => (final === first ? then() : fill(final, then)))
  }

  #finish(offset: number, length: number, fua: boolean, completion: Completion): void {
    if (!fua) return completion.complete(null)
    const first = Math.floor(offset / this.chunkBytes)
    const final = Math.floor((offset + length - 1) / this.chunkBytes)
    const { entries } = this.view
    if (final - first > entries.size) {
      for (const [chunk, entry] of entries) if (chunk >= first && chunk <= final) this.core.writeBack.logEntry(entry)
    } else {
      for (let chunk = first; chunk <= final; chunk++) {
        const entry = entries.get(chunk)
        if (entry !== undefined && entry.unlogged !== 0) this.core.writeBack.logEntry(entry)
      }
    }
    this.core.log.sync((error) => completion.complete(error))
  }
}
