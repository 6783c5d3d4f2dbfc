/**
 * The parts of an open store that I/O runs through, as they know each other.
 * Assembled in one place, `openCore` in `open.ts`.
 */

import type { ChunkCache } from './chunk-cache.ts'
import type { ChunkIndex } from './chunk-index.ts'
import type { ChunkLoader } from './chunk-loader.ts'
import type { ChunkReader } from './chunk-reader.ts'
import type { Discards } from './discards.ts'
import type { Environment } from './environment.ts'
import type { SegmentLog } from './segment-log.ts'
import type { WriteBack } from './write-back.ts'

export interface Core {
  readonly environment: Environment
  readonly log: SegmentLog
  readonly index: ChunkIndex
  readonly reader: ChunkReader
  readonly cache: ChunkCache
  readonly loader: ChunkLoader
  readonly writeBack: WriteBack
  readonly discards: Discards
  /** The newest sequence given out: the store-wide number of accepted writes. */
  sequence: number
}
