/**
 * Everything that the store takes from the world around it. The store reaches
 * files, LevelDB, compression, time and chance only through these interfaces,
 * so that a simulation can be put under it: one that forgets what was not
 * synced, fails the n-th call, and runs the same way twice.
 *
 * Calls on the I/O path take callbacks (one per batch or per chunk, no promise
 * to allocate); everything cold is a promise.
 */

export interface FileHandle {
  /** Writes at `position` (bytes). Like the system call it may write less than `length`; the caller goes on with the rest. */
  write(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    done: (error: Error | null, written: number) => void,
  ): void
  /** Reads at `position` (bytes). Reads less than `length` only at the end of the file. */
  read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    done: (error: Error | null, bytesRead: number) => void,
  ): void
  /** `fdatasync`: what was written before this call survives a power cut once `done` has no error. */
  sync(done: (error: Error | null) => void): void
  /** Bytes. */
  size(): Promise<number>
  close(): Promise<void>
}

/** Records that a `ReadingThread` checks in one read. */
export const READ_RECORDS_MAX = 64

/** What a read on a `ReadingThread` gives: the bytes in `memory` from `at` on, lent until the call returns. */
export type CheckedRead = (outcome: ReadOutcome, memory: Buffer, at: number) => void

export const ReadOutcome = {
  /** It was not read: read it from the file, which also says why. */
  NOT_READ: 0,
  /** The bytes are there; at least one record among them is damaged. */
  UNCHECKED: 1,
  /** The bytes are there, and every checksum of every record that was named matches. */
  GOOD: 2,
} as const
export type ReadOutcome = (typeof ReadOutcome)[keyof typeof ReadOutcome]

/**
 * Reads of records on a thread of their own, many in one trip, their checksums
 * compared where they are read. For what the page cache has: there a trip to the
 * thread pool takes several times as long as the read.
 */
export interface ReadingThread {
  /**
   * Reads `length` bytes of a file at `position`. `records`: where in them a record begins, rising, at most
   * READ_RECORDS_MAX. False when it takes no read now (it waits for the disk, its memory is in use, the read is too
   * long): then read from the file. `done` must not throw.
   */
  read(
    handle: FileHandle,
    position: number,
    length: number,
    records: readonly number[],
    incarnationCrc: number,
    done: CheckedRead,
  ): boolean
  /** Every read is answered before this resolves. */
  close(): Promise<void>
}

export interface FileSystem {
  /** `create` fails when the file exists; `read`, and `update` for reading and writing, when it does not. */
  open(path: string, mode: 'create' | 'read' | 'update'): Promise<FileHandle>
  /** Names in a directory, in no particular order. */
  list(directory: string): Promise<string[]>
  makeDirectory(path: string): Promise<void>
  remove(path: string): Promise<void>
  /** Cuts a file off after `length` bytes, durably. */
  truncate(path: string, length: number): Promise<void>
  /** Makes creations and removals in a directory survive a power cut. */
  syncDirectory(path: string): Promise<void>
  /** The whole of a small file; undefined when there is none. */
  readFile(path: string): Promise<Buffer | undefined>
  /** Creates a small file; durable, with its directory entry, when it resolves. */
  writeFile(path: string, data: string): Promise<void>
  /** Of the file system that holds `path`: bytes free for this process, and bytes in all. */
  space(path: string): Promise<{ freeBytes: number; totalBytes: number }>
  /** Bytes of the files directly in a directory. */
  directoryBytes(path: string): Promise<number>
}

/** Rows read in the order of their keys. Keeps everything deleted since it was opened: close it within a second or so. */
export interface LevelIterator {
  /** Up to `count` rows (at most 128: more block the event loop); an empty array at the end. */
  next(count: number): Promise<[Buffer, Buffer][]>
  /** The next row is the first at or after `key`. */
  seek(key: Buffer): void
  close(): Promise<void>
}

/** Changes that are applied together. */
export interface LevelBatch {
  put(key: Buffer, value: Buffer): void
  remove(key: Buffer): void
  readonly length: number
  /** Applies all or nothing, durably (`sync: true`, always: LevelDB's sync covers only its current log file). */
  write(): Promise<void>
}

export interface LevelDatabase {
  get(key: Buffer): Promise<Buffer | undefined>
  /** Rows with `from <= key < to`. */
  iterate(from: Buffer, to: Buffer): LevelIterator
  batch(): LevelBatch
  close(): Promise<void>
}

export interface LevelFactory {
  /** Creates the database when there is none. Rejects with the system code LEVEL_LOCKED when another process has it. */
  open(directory: string): Promise<LevelDatabase>
}

/** LZ4 in the block format, with the raw size in front (u32, little-endian). */
export interface Compression {
  /** On the thread pool: `data` must not change until it resolves. */
  compress(data: Buffer): Promise<Buffer>
  /** At once, on the event loop: for small data, for which the way to the pool and back takes longer. */
  compressNow(data: Buffer): Buffer
  /** Synchronous: decompression runs at memory speed. Throws when the input is damaged. */
  decompress(data: Buffer): Buffer
}

export interface Timer {
  cancel(): void
}

export interface Clock {
  /** Milliseconds of a clock that never jumps. */
  monotonicMillis(): number
  /** Milliseconds since 1970, for names and dates that people read. */
  wallMillis(): number
  after(millis: number, run: () => void): Timer
  /** Soon, after I/O that is ready has been handled. */
  soon(run: () => void): void
}

export interface Random {
  bytes(count: number): Buffer
}

export interface Environment {
  readonly files: FileSystem
  readonly level: LevelFactory
  readonly compression: Compression
  readonly clock: Clock
  readonly random: Random
  /** Absent where all reads go through `FileHandle.read`. `onLost`: it could not be started or has ended by itself, and takes no more reads. */
  startReading?(onLost: (error: Error) => void): ReadingThread | undefined
}
