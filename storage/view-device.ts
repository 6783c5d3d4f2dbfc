/**
 * Reading a view as a range of bytes. A range that is in memory is copied and
 * answered in the same call; only what is missing costs anything more.
 */

import type { Completion, Device } from './contract.ts'
import type { Core } from './core.ts'
import { type Entry, SECTORS, sectorMask } from './entry.ts'
import { StoreError } from './errors.ts'
import type { View } from './lineage.ts'
import { KIB } from './units.ts'

/**
 * A request of this size or more is taken for part of a scan or a copy: its whole chunks pass the cache by when they
 * are not in it, because a scan shall not flush what is read again and again.
 */
export const BULK_BYTES = 64 * KIB

export abstract class ViewDevice implements Device {
  protected readonly core: Core
  protected readonly view: View
  protected readonly chunkBytes: number
  protected readonly sectorBytes: number

  constructor(core: Core, view: View) {
    this.core = core
    this.view = view
    this.chunkBytes = view.lineage.chunkBytes
    this.sectorBytes = this.chunkBytes / SECTORS
  }

  read(offset: number, into: Buffer, completion: Completion): void {
    const { chunkBytes } = this
    const chunk = Math.floor(offset / chunkBytes)
    const first = offset - chunk * chunkBytes
    const final = first + into.length
    if (final > chunkBytes) {
      new Reading(this.core, this.view, into, completion).start(offset)
      return
    }
    const entry = this.view.entries.get(chunk)
    if (entry !== undefined && holds(entry, first, final, this.sectorBytes)) {
      entry.used = true
      entry.buffer.copy(into, 0, first, final)
      completion.complete(null)
      return
    }
    const loading = entry ?? this.core.cache.add(this.view, chunk)
    this.core.loader.fill(loading, (error) => {
      if (error !== null) return completion.complete(error)
      loading.buffer.copy(into, 0, first, final)
      if (loading.promote) this.core.writeBack.afterRoom(this.view.lineage, () => completion.complete(null))
      else completion.complete(null)
    })
  }

  abstract write(offset: number, payload: Buffer, fua: boolean, completion: Completion): void
  abstract trim(offset: number, length: number, fua: boolean, completion: Completion): void
  abstract writeZeroes(offset: number, length: number, noHole: boolean, fua: boolean, completion: Completion): void
  abstract flush(completion: Completion): void
}

/** A read that crosses chunks. */
class Reading {
  readonly #core: Core
  readonly #view: View
  readonly #into: Buffer
  readonly #completion: Completion
  #left = 1
  #promotes = false
  #error: Error | null = null

  constructor(core: Core, view: View, into: Buffer, completion: Completion) {
    this.#core = core
    this.#view = view
    this.#into = into
    this.#completion = completion
  }

  start(offset: number): void {
    const { chunkBytes } = this.#view.lineage
    const sectorBytes = chunkBytes / SECTORS
    const end = offset + this.#into.length
    const inBulk = this.#into.length >= BULK_BYTES
    for (let at = offset; at < end;) {
      const chunk = Math.floor(at / chunkBytes)
      const first = at - chunk * chunkBytes
      const final = Math.min(chunkBytes, first + end - at)
      const target = at - offset
      const entry = this.#view.entries.get(chunk)
      if (entry !== undefined && holds(entry, first, final, sectorBytes)) {
        entry.used = true
        entry.buffer.copy(this.#into, target, first, final)
      } else if (inBulk && entry === undefined && final - first === chunkBytes) this.#copy(chunk, target)
      else this.#load(entry ?? this.#core.cache.add(this.#view, chunk), target, first, final)
      at += final - first
    }
    this.#done(null)
  }

  #copy(chunk: number, target: number): void {
    this.#left++
    this.#core.loader.copy(this.#view, chunk, this.#into, target, (error, kept) => {
      this.#promotes ||= kept
      this.#done(error)
    })
  }

  #load(entry: Entry, target: number, first: number, final: number): void {
    this.#left++
    this.#core.loader.fill(entry, (error) => {
      if (error === null) entry.buffer.copy(this.#into, target, first, final)
      this.#promotes ||= entry.promote
      this.#done(error)
    })
  }

  #done(error: Error | null): void {
    this.#error ??= error
    if (--this.#left > 0) return
    if (this.#promotes) {
      this.#core.writeBack.afterRoom(this.#view.lineage, () => this.#completion.complete(this.#error))
    } else this.#completion.complete(this.#error)
  }
}

function holds(entry: Entry, first: number, final: number, sectorBytes: number): boolean {
  const mask = sectorMask(Math.floor(first / sectorBytes), Math.floor((final - 1) / sectorBytes))
  return (entry.valid & mask) === mask
}

/** A frozen generation. The protocol's door refuses writes before they come here. */
export class SnapshotDevice extends ViewDevice {
  write(_offset: number, _payload: Buffer, _fua: boolean, completion: Completion): void {
    completion.complete(readOnly())
  }
  trim(_offset: number, _length: number, _fua: boolean, completion: Completion): void {
    completion.complete(readOnly())
  }
  writeZeroes(_offset: number, _length: number, _noHole: boolean, _fua: boolean, completion: Completion): void {
    completion.complete(readOnly())
  }
  /** A snapshot is durable when it is made. */
  flush(completion: Completion): void {
    completion.complete(null)
  }
}

function readOnly(): StoreError {
  return new StoreError('READ_ONLY', 'a snapshot cannot be written: restore it to a disk')
}
