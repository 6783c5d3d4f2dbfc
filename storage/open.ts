/**
 * Opening a store: reading this page tells what runs, and in which order it is
 * put together. The parts know each other through `Core`.
 */

import { Catalogue, type Change, type LineageRecord } from './catalogue.ts'
import { ChunkCache } from './chunk-cache.ts'
import { type Checkpoint, ChunkIndex, READ_ROWS, replayFrom } from './chunk-index.ts'
import { ChunkLoader } from './chunk-loader.ts'
import { ChunkReader } from './chunk-reader.ts'
import type { Rate, StoreEvent } from './contract.ts'
import type { Core } from './core.ts'
import { Discards } from './discards.ts'
import type { Environment, LevelDatabase } from './environment.ts'
import { isNoSpace, StoreError, systemCode } from './errors.ts'
import { Lineage } from './lineage.ts'
import { forgetHead, forgetLineage } from './forget.ts'
import { indexDirectory, type Marker, openMarker, segmentsDirectory } from './marker.ts'
import { levelOptions, nodeEnvironment } from './node-environment.ts'
import { type Position, positionOf, segmentOf } from './position.ts'
import { rebuildCatalogue, recover } from './recovery.ts'
import { catalogueKeyRange, checkpointKey, parseCatalogueKey } from './row.ts'
import { SegmentFiles } from './segment-files.ts'
import { SegmentLog } from './segment-log.ts'
import { Store } from './store.ts'
import { MIB } from './units.ts'
import { WriteBack } from './write-back.ts'

/** What opening the index may take: the table that LevelDB makes of its log, and a bit. */
const INDEX_OPEN_BYTES = levelOptions.writeBufferSize + 4 * MIB

export interface StoreOptions {
  readonly directory: string
  /** Make a new store when the directory is absent or empty. */
  readonly init?: boolean
  /** Memory for chunks, bytes; a quarter of it may be dirty. Default 256 MiB. */
  readonly cacheBytes?: number
  /** Memory for the chunk map, bytes. Default 64 MiB. */
  readonly mapBytes?: number
  /** Pages of the chunk map that stay whatever they take; too few for all look-ups under way, and they go round in circles. Default 128. */
  readonly mapPagesMin?: number
  /** Default 100 MiB/s; null is unlimited. */
  readonly hydrationRateDefault?: Rate
  /** All disks together; default unlimited. */
  readonly hydrationRateTotal?: Rate
  /** Where chunk bytes live; chosen when the store is made (default `segments`), later only compared. */
  readonly chunkBytesPlacement?: Marker['chunkBytes']
  /** Default `lz4`. */
  readonly compression?: 'lz4' | 'none'
  /** Chunks of at most this stored size are copied into their index rows. Default 512. */
  readonly inlineBytesMax?: number
  /** Background work stops when the file system has less free. Default 5 % of it, at least 1 GiB. */
  readonly reserveBytes?: number
  /** Default 64 MiB. */
  readonly segmentBytes?: number
  readonly onEvent?: (event: StoreEvent) => void
  readonly environment?: Environment
}

/** Codes: STORE_NOT_FOUND, STORE_NOT_EMPTY, STORE_FOREIGN, STORE_NEWER, STORE_LOCKED, STORE_READ_ONLY, STORE_DAMAGED, STORE_FAILED. */
export async function openStore(options: StoreOptions): Promise<Store> {
  const environment = options.environment ?? nodeEnvironment
  const { directory } = options
  const onEvent = options.onEvent ?? (() => {})
  const { marker, created } = await openMarker(environment, {
    directory,
    init: options.init ?? false,
    chunkBytes: options.chunkBytesPlacement,
  })
  // LevelDB's lock is the store's lock: nothing else is touched before it is held.
  const database = await openIndex(environment, marker, directory)
  let close = () => database.close()
  try {
    const catalogue = new Catalogue()
    await loadCatalogue(database, catalogue)
    const checkpoint = await database.get(checkpointKey)
    const parsed = checkpoint === undefined ? undefined : (JSON.parse(checkpoint.toString()) as Checkpoint)
    const files = new SegmentFiles(environment.files, segmentsDirectory(directory))
    await files.load()
    const nextSegment = Math.max(0, ...files.ids(), parsed?.segment ?? 0) + 1
    const from = replayFrom(parsed)
    const parts = assemble(environment, options, {
      marker,
      database,
      catalogue,
      files,
      checkpoint,
      nextSegment,
      from,
      onEvent,
    })
    close = async () => {
      await parts.core.index.close()
      await parts.core.reader.close()
      await files.close()
    }
    parts.core.sequence = parsed?.sequence ?? 0

    const began = environment.clock.monotonicMillis()
    // Nothing was ever completed in this index: it is new, and so may be the one of an old store.
    const rebuilding = from === 0
    if (rebuilding) {
      checkRebuildable(marker, files, directory)
      await rebuildCatalogue(files, catalogue)
    }
    const result = await recover(files, from, {
      core: parts.core,
      inlineBytesMax: parts.inlineBytesMax,
      lineage: (id) => parts.lineage(id),
      applied: (changes) => {
        if (!rebuilding) parts.replayCatalogue(changes)
      },
    })
    parts.recovered()
    if (result.records > 0) {
      const millis = Math.round(environment.clock.monotonicMillis() - began)
      onEvent({ type: 'recovered', records: result.records, bytes: result.bytes, millis })
    }
    for (const position of result.damaged) {
      onEvent({
        type: 'chunk-damaged',
        disk: '',
        offset: 0,
        detail: `a record in segment ${segmentOf(position)} is damaged`,
      })
    }
    return new Store({ ...parts, environment, marker, created, directory, files, catalogue, onEvent, options })
  } catch (error) {
    await close().catch(() => {})
    throw error
  }
}

/** Where LevelDB holds the chunk bytes, the log has only the newest: enough for a young store, and not after its first segment was freed. */
function checkRebuildable(marker: Marker, files: SegmentFiles, directory: string): void {
  if (marker.chunkBytes === 'segments' || (files.ids()[0] ?? 1) === 1) return
  throw new StoreError(
    'STORE_DAMAGED',
    `the index in ${indexDirectory(directory)} is empty, and this store keeps its chunk bytes there: put it back from a copy`,
  )
}

async function openIndex(environment: Environment, marker: Marker, directory: string): Promise<LevelDatabase> {
  try {
    return await environment.level.open(indexDirectory(directory))
  } catch (error) {
    const code = systemCode((error as Error).cause ?? error)
    if (code === 'LEVEL_LOCKED') {
      throw new StoreError('STORE_LOCKED', `another thawd has the store in ${directory}: stop it first`, {
        cause: error,
      })
    }
    const message = ((error as Error).cause as Error | undefined)?.message ?? (error as Error).message
    if (/Read-only file system|Permission denied/.test(message)) {
      throw new StoreError('STORE_READ_ONLY', `${directory} cannot be written: ${message}`, { cause: error })
    }
    if (isNoSpace(error)) {
      throw new StoreError(
        'NO_SPACE',
        `the file system of ${directory} is full, and a store cannot be opened without some MiB: make room, then start again`,
        { cause: error },
      )
    }
    const cure =
      marker.chunkBytes === 'segments' ? '. Move that directory away and start again: it is rebuilt from the log' : ''
    throw new StoreError(
      'STORE_DAMAGED',
      `the index in ${indexDirectory(directory)} does not open: ${message}${cure}`,
      {
        cause: error,
      },
    )
  }
}

async function loadCatalogue(database: LevelDatabase, catalogue: Catalogue): Promise<void> {
  const [from, to] = catalogueKeyRange()
  const iterator = database.iterate(from, to)
  try {
    for (;;) {
      const rows = await iterator.next(READ_ROWS)
      if (rows.length === 0) return
      for (const [key, value] of rows) {
        catalogue.load({ ...parseCatalogueKey(key), value: JSON.parse(value.toString()) } as Change)
      }
    }
  } finally {
    await iterator.close()
  }
}

interface Ingredients {
  readonly marker: Marker
  readonly database: LevelDatabase
  readonly catalogue: Catalogue
  readonly files: SegmentFiles
  readonly checkpoint: Buffer | undefined
  readonly nextSegment: number
  readonly from: Position
  readonly onEvent: (event: StoreEvent) => void
}

export interface Parts {
  readonly core: Core
  readonly inlineBytesMax: number
  /** Living lineages by number. */
  readonly lineages: Map<number, Lineage>
  /** The first position that the index does not cover. */
  checkpoint(): Position
  lineage(id: number): Lineage | undefined
  /** Makes the object of a lineage that is in the catalogue, with its origin and its frozen generations. */
  connect(record: LineageRecord): void
  replayCatalogue(changes: readonly Change[]): void
  recovered(): void
}

function assemble(environment: Environment, options: StoreOptions, with_: Ingredients): Parts {
  const { catalogue, files, onEvent } = with_
  const segmentBytes = options.segmentBytes ?? 64 * MIB
  const cacheBytes = options.cacheBytes ?? 256 * MIB
  const inlineBytesMax = options.inlineBytesMax ?? 512
  const lineages = new Map<number, Lineage>()
  let recoveringFrom: Position = with_.from
  let checkpoint: Position = with_.from

  const failed = (error: StoreError) => {
    core.writeBack.stop()
    core.writeBack.wakeAll()
    core.discards.wakeAll()
    onEvent({ type: 'failed', error })
  }
  const log = new SegmentLog(environment, files, with_.nextSegment, {
    segmentBytes,
    onFailed: failed,
    onNoSpace: (full) => {
      if (full) {
        core.writeBack.wakeAll()
        core.discards.wakeAll()
      }
      onEvent({ type: full ? 'no-space' : 'space-back' })
    },
  })
  const index: ChunkIndex = new ChunkIndex(
    environment,
    indexDirectory(options.directory),
    with_.database,
    log,
    with_.checkpoint,
    {
      dataRows: with_.marker.chunkBytes === 'leveldb',
      pageBytesMax: options.mapBytes ?? 64 * MIB,
      pagesMin: options.mapPagesMin ?? 128,
      oldestNeeded: () => Math.min(recoveringFrom, core.writeBack.oldestPatch(), core.discards.oldestHole()),
      takeCatalogueChanges: () => catalogue.takeChanges(),
      sequence: () => core.sequence,
      readPayload: (row) => core.reader.copyPayload(row),
      onCheckpoint: ({ segment, offset }) => {
        checkpoint = positionOf(segment, offset)
      },
      hasRoomToOpen: async () => (await environment.files.space(options.directory)).freeBytes >= INDEX_OPEN_BYTES,
      onError: (error) => onEvent({ type: 'index-failed', error: error.message }),
      onReopened: () => onEvent({ type: 'index-reopened', error: '' }),
      onFailed: failed,
    },
  )

  /** Filled in below: the parts know each other. */
  const core = { environment, log, index, sequence: 0 } as { -readonly [K in keyof Core]: Core[K] }
  core.cache = new ChunkCache(cacheBytes)
  core.reader = new ChunkReader(
    environment,
    log,
    () => index,
    (error) => onEvent({ type: 'reading-thread-lost', error }),
  )
  core.loader = new ChunkLoader(core)
  core.discards = new Discards(core)
  core.writeBack = new WriteBack(core, {
    dirtyBytesMax: cacheBytes / 4,
    compress: (options.compression ?? 'lz4') === 'lz4',
    inlineBytesMax,
    segmentBytes,
    onDamaged: (lineage, chunk, error) => {
      const disk = catalogue.diskOf(lineage.id)
      onEvent({
        type: 'chunk-damaged',
        disk: disk?.name ?? '',
        offset: chunk * lineage.chunkBytes,
        detail: error.message,
      })
    },
  })

  const lineageOf = (record: LineageRecord): Lineage => {
    const existing = lineages.get(record.id)
    if (existing !== undefined) return existing
    const lineage = new Lineage(record)
    lineages.set(record.id, lineage)
    return lineage
  }

  /** What the catalogue says of a lineage, once it has the last word. */
  const connect = (record: LineageRecord): void => {
    const lineage = lineageOf(record)
    lineage.generation = Math.max(lineage.generation, record.generation)
    lineage.frozen = catalogue.generationsOf(record.id)
    lineage.origin = null
    if (record.origin === null) return
    const parent = catalogue.lineages.get(record.origin.lineage)
    if (parent === undefined) {
      throw new StoreError(
        'STORE_DAMAGED',
        `lineage ${record.id} reads through lineage ${record.origin.lineage}, which is not there`,
      )
    }
    lineage.origin = {
      view: lineageOf(parent).view(record.origin.generation),
      chunkCount: Math.ceil(record.origin.sizeBytes / record.chunkBytes),
      snapshotId: record.origin.snapshot,
    }
  }

  const lineage = (id: number): Lineage | undefined => {
    const living = lineages.get(id)
    if (living !== undefined) return living
    const record = catalogue.lineages.get(id)
    return record === undefined ? undefined : lineageOf(record)
  }

  return {
    core,
    inlineBytesMax,
    lineages,
    checkpoint: () => checkpoint,
    lineage,
    connect,
    replayCatalogue: (changes) => {
      catalogue.apply(changes)
      for (const { kind, id } of changes) {
        const deleted = kind === 'lineage' && !catalogue.lineages.has(id) ? lineages.get(id) : undefined
        if (deleted === undefined) continue
        forgetLineage(deleted, core)
        lineages.delete(id)
      }
    },
    recovered: () => {
      recoveringFrom = Number.POSITIVE_INFINITY
      const heads = new Set([...catalogue.disks.values()].map((disk) => disk.lineage))
      for (const record of catalogue.lineages.values()) {
        connect(record)
        // Patches of a head that is gone: the chunks that they belong to may be gone as well.
        if (!heads.has(record.id)) forgetHead(lineageOf(record), core)
        // What the records told of a snapshot that was never finished must be known when they are not replayed any more.
        const { generation } = lineageOf(record)
        if (generation === record.generation) continue
        catalogue.apply([{ kind: 'lineage', id: record.id, value: { ...record, generation } }])
      }
      core.discards.start()
      core.writeBack.start()
    },
  }
}
