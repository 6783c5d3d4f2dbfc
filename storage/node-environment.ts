/** The real world behind `environment.ts`: Node's files, classic-level, lz4-napi. */

import * as fs from 'node:fs'
import * as fsp from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { randomBytes } from 'node:crypto'
import { Level, type DatabaseOptions, type IteratorOptions } from 'level'
import { compress, compressSync, uncompressSync } from 'lz4-napi'
import type {
  Clock,
  Compression,
  Environment,
  FileHandle,
  FileSystem,
  LevelBatch,
  LevelDatabase,
  LevelFactory,
  LevelIterator,
} from './environment.ts'
import { NodeReadingThread } from './reading-thread.ts'

class NodeFile implements FileHandle {
  readonly #fd: number
  constructor(fd: number) {
    this.#fd = fd
  }
  get fd(): number {
    return this.#fd
  }
  write(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    done: (error: Error | null, written: number) => void,
  ): void {
    fs.write(this.#fd, buffer, offset, length, position, done)
  }
  read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    done: (error: Error | null, bytesRead: number) => void,
  ): void {
    fs.read(this.#fd, buffer, offset, length, position, done)
  }
  sync(done: (error: Error | null) => void): void {
    fs.fdatasync(this.#fd, done)
  }
  size(): Promise<number> {
    return new Promise((resolve, reject) =>
      fs.fstat(this.#fd, (error, stat) => (error ? reject(error) : resolve(stat.size))),
    )
  }
  close(): Promise<void> {
    return new Promise((resolve, reject) => fs.close(this.#fd, (error) => (error ? reject(error) : resolve())))
  }
}

/** Not Node's recursive form: where nothing can be made (below /proc, say) that never comes back. */
async function makeDirectory(path: string): Promise<void> {
  try {
    await fsp.mkdir(path, { mode: 0o700 })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const isThere = (at: string) =>
      fsp.stat(at).then(
        (found) => found.isDirectory(),
        () => false,
      )
    if (code === 'EEXIST' && (await isThere(path))) return
    const parent = dirname(path)
    if (code !== 'ENOENT' || (await isThere(parent))) throw error
    await makeDirectory(parent)
    await fsp.mkdir(path, { mode: 0o700 })
  }
}

const openFlags = { create: 'wx+', read: 'r', update: 'r+' } as const

export const nodeFiles: FileSystem = {
  open: (path, mode) =>
    new Promise((resolve, reject) =>
      fs.open(path, openFlags[mode], 0o600, (error, fd) => (error ? reject(error) : resolve(new NodeFile(fd)))),
    ),
  list: (directory) => fsp.readdir(directory),
  makeDirectory,
  remove: (path) => fsp.unlink(path),
  async truncate(path, length) {
    const file = await fsp.open(path, 'r+')
    try {
      await file.truncate(length)
      await file.sync()
    } finally {
      await file.close()
    }
  },
  async syncDirectory(path) {
    const directory = await fsp.open(path, 'r')
    try {
      await directory.sync()
    } finally {
      await directory.close()
    }
  },
  async readFile(path) {
    try {
      return await fsp.readFile(path)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
  },
  async writeFile(path, data) {
    const file = await fsp.open(path, 'wx', 0o600)
    try {
      await file.writeFile(data)
      await file.sync()
    } finally {
      await file.close()
    }
    await nodeFiles.syncDirectory(dirname(path))
  },
  async space(path) {
    const found = await fsp.statfs(path)
    return { freeBytes: found.bavail * found.bsize, totalBytes: found.blocks * found.bsize }
  },
  async directoryBytes(path) {
    let bytes = 0
    for (const name of await fsp.readdir(path)) {
      // A file may vanish between the two calls: LevelDB removes its old tables as it goes.
      const found = await fsp.stat(join(path, name)).catch(() => undefined)
      bytes += found?.size ?? 0
    }
    return bytes
  },
}

/** 32 MiB write buffers and tables: long runs of rows instead of many small compactions. Rows barely compress. */
export const levelOptions = {
  writeBufferSize: 32 * 1024 * 1024,
  maxFileSize: 32 * 1024 * 1024,
  cacheSize: 16 * 1024 * 1024,
  compression: false,
  maxOpenFiles: 500,
} as const

type BufferLevel = Level<Buffer, Buffer>

class NodeLevelIterator implements LevelIterator {
  readonly #iterator: ReturnType<BufferLevel['iterator']>
  constructor(iterator: ReturnType<BufferLevel['iterator']>) {
    this.#iterator = iterator
  }
  next(count: number): Promise<[Buffer, Buffer][]> {
    return this.#iterator.nextv(count) as Promise<[Buffer, Buffer][]>
  }
  seek(key: Buffer): void {
    this.#iterator.seek(key)
  }
  close(): Promise<void> {
    return this.#iterator.close()
  }
}

/** The chained form: measured at 0.15 ms of event loop for 512 rows, where an array of operations takes 2.6 ms. */
class NodeLevelBatch implements LevelBatch {
  readonly #batch: ReturnType<typeof chained>
  constructor(database: BufferLevel) {
    this.#batch = chained(database)
  }
  get length(): number {
    return this.#batch.length
  }
  put(key: Buffer, value: Buffer): void {
    this.#batch.put(key, value)
  }
  remove(key: Buffer): void {
    this.#batch.del(key)
  }
  write(): Promise<void> {
    return this.#batch.write({ sync: true } as Parameters<ReturnType<typeof chained>['write']>[0])
  }
}

function chained(database: BufferLevel) {
  return database.batch()
}

export const nodeLevel: LevelFactory = {
  async open(directory) {
    const database = new Level<Buffer, Buffer>(directory, {
      keyEncoding: 'buffer',
      valueEncoding: 'buffer',
      ...levelOptions,
    } as DatabaseOptions<Buffer, Buffer>)
    await database.open()
    return {
      get: (key) => database.get(key) as Promise<Buffer | undefined>,
      iterate: (from, to) =>
        new NodeLevelIterator(
          database.iterator({ gte: from, lt: to, highWaterMarkBytes: 256 * 1024 } as IteratorOptions<Buffer, Buffer>),
        ),
      batch: () => new NodeLevelBatch(database),
      close: () => database.close(),
    } satisfies LevelDatabase
  },
}

export const nodeCompression: Compression = {
  compress: (data) => compress(data),
  compressNow: (data) => compressSync(data),
  decompress: (data) => uncompressSync(data),
}

export const nodeClock: Clock = {
  monotonicMillis: () => performance.now(),
  wallMillis: () => Date.now(),
  after(millis, run) {
    const timer = setTimeout(run, millis)
    return { cancel: () => clearTimeout(timer) }
  },
  soon: (run) => {
    setImmediate(run)
  },
}

export const nodeEnvironment: Environment = {
  files: nodeFiles,
  level: nodeLevel,
  compression: nodeCompression,
  clock: nodeClock,
  random: { bytes: (count) => randomBytes(count) },
  startReading: (onLost) => {
    let thread: NodeReadingThread
    try {
      thread = new NodeReadingThread(onLost)
    } catch (error) {
      onLost(error as Error)
      return undefined
    }
    return {
      read: (handle, position, length, records, incarnationCrc, done) =>
        thread.read((handle as NodeFile).fd, position, length, records, incarnationCrc, done),
      close: () => thread.close(),
    }
  },
}
