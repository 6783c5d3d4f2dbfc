/** What the index says to be complete must be in LevelDB, whatever happens while a drain is on its way. */

import t from 'tap'
import { type Checkpoint, ChunkIndex, holeRow } from '../../storage/chunk-index.ts'
import { StoreError } from '../../storage/errors.ts'
import { Lineage } from '../../storage/lineage.ts'
import { nodeEnvironment } from '../../storage/node-environment.ts'
import { type Position, positionOf } from '../../storage/position.ts'
import { chunkKey, decodeRow } from '../../storage/row.ts'
import type { SegmentLog } from '../../storage/segment-log.ts'
import { MemoryLevel } from '../fixtures/memory-level.ts'

class Bench {
  readonly level = new MemoryLevel()
  readonly lineage = new Lineage({ id: 1, chunkBytes: 4096, generation: 1 })
  readonly log: { stagedPosition: Position; full: boolean; synced(): Promise<void> } = {
    stagedPosition: positionOf(1, 64),
    full: false,
    async synced() {
      if (this.full) throw new StoreError('NO_SPACE', 'full')
    },
  }
  room = true
  needed: Position = Number.POSITIVE_INFINITY
  catalogue = new Map<string, [Buffer, Buffer | undefined]>()
  checkpoint: Checkpoint | undefined

  async open(): Promise<ChunkIndex> {
    const environment = { ...nodeEnvironment, level: { open: () => this.level.open() } }
    return new ChunkIndex(environment, '', await this.level.open(), this.log as unknown as SegmentLog, undefined, {
      dataRows: false,
      pageBytesMax: 1024 * 1024,
      pagesMin: 128,
      oldestNeeded: () => this.needed,
      takeCatalogueChanges: () => {
        const taken = this.catalogue
        this.catalogue = new Map()
        return taken
      },
      sequence: () => 0,
      readPayload: () => Promise.reject(new Error('no data rows here')),
      onCheckpoint: (checkpoint) => {
        this.checkpoint = checkpoint
      },
      hasRoomToOpen: async () => this.room,
      onError: () => {},
      onReopened: () => {},
      onFailed: (error) => t.fail(error.message),
    })
  }

  /** A record of 64 bytes is appended, and its row set. */
  set(index: ChunkIndex, chunk: number, sequence: number): void {
    index.set(this.lineage, holeRow(1, chunk, 1, sequence, this.log.stagedPosition), this.log.stagedPosition)
    this.log.stagedPosition += 64
  }

  sequenceInLevel(chunk: number): number | undefined {
    const key = chunkKey(1, chunk, 1)
    const value = this.level.get(key)
    return value === undefined ? undefined : decodeRow(key, value).sequence
  }
}

t.test('a row replaced while it is being drained is written all the same', async (t) => {
  const bench = new Bench()
  const index = await bench.open()
  bench.set(index, 7, 1)
  // Written and folded again while the drain waits for the log.
  bench.log.synced = async () => {
    if (index.waitingRows === 0) bench.set(index, 7, 2)
    bench.log.synced = async () => {}
  }
  await index.drain()
  t.equal(bench.sequenceInLevel(7), 1, 'the checkpoint covers its record, and not the one of its successor')
  await index.drain()
  t.equal(bench.sequenceInLevel(7), 2)
  await index.close()
})

t.test('what a replay needs when a drain begins holds its checkpoint back', async (t) => {
  const bench = new Bench()
  const index = await bench.open()
  bench.needed = positionOf(1, 64)
  bench.log.stagedPosition = positionOf(1, 6400)
  // A patch is folded, or a discard covered, while rows are written: its row is in the next queue.
  bench.level.beforeWrite = async () => {
    bench.needed = Number.POSITIVE_INFINITY
  }
  bench.set(index, 1, 1)
  await index.drain()
  t.match(bench.checkpoint, { segment: 1, offset: 64 })
  await index.drain()
  t.match(bench.checkpoint, { segment: 1, offset: 6464 })
  await index.close()
})

t.test('catalogue rows survive any number of failed drains', async (t) => {
  const bench = new Bench()
  const index = await bench.open()
  const key = Buffer.from([0x20, 1])
  bench.log.full = true
  bench.catalogue.set('disk:1', [key, Buffer.from('{}')])
  await t.rejects(index.drain())
  await t.rejects(index.drain())
  bench.log.full = false
  await index.drain()
  t.same(bench.level.get(key), Buffer.from('{}'))
  await index.close()
})

t.test('a full file system does not stop the event loop', async (t) => {
  const bench = new Bench()
  const index = await bench.open()
  bench.log.full = true
  // So far behind the log that a drain is due at once.
  bench.log.stagedPosition = positionOf(100, 64)
  bench.set(index, 1, 1)
  await new Promise((resolve) => setTimeout(resolve, 10))
  t.equal(index.waitingRows, 1)
  await index.close()
})

t.test('while there is no room for LevelDB it is read and not written', async (t) => {
  const bench = new Bench()
  const index = await bench.open()
  bench.set(index, 1, 1)
  await index.drain()
  bench.room = false
  bench.level.beforeWrite = async () => {
    throw new Error('IO error: 000005.ldb: No space left on device')
  }
  bench.set(index, 1, 2)
  await t.rejects(index.drain())
  await index.loaded(bench.lineage.head, 1)
  t.match(index.find(bench.lineage.head, 1), { sequence: 2 }, 'what it could not write is in memory')
  const rows = await index.iterate(chunkKey(1, 0, 1), chunkKey(1, 9, 1))
  t.equal((await rows.next(9)).length, 1, 'what it has is read')
  await rows.close()

  const drained = index.drain()
  bench.level.beforeWrite = async () => {}
  bench.room = true
  await drained
  t.equal(bench.sequenceInLevel(1), 2)
  await index.close()
})
