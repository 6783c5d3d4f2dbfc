/**
 * A lineage is a line of generations of one device: the head that clients write
 * and the frozen generations behind it. A disk is a name that points to a
 * lineage; a snapshot names one of its generations. A restored lineage has an
 * origin: what it has no row for, it reads there.
 *
 * Generation 0 is written by hydration alone; a new head starts in generation 1.
 */

import type { Entry } from './entry.ts'
import type { Hydration } from './hydration.ts'
import type { Page } from './page.ts'
import { GENERATION_MAX, type Row } from './row.ts'

/** What a reader of one generation sees; the head's view sees every generation. */
export class View {
  readonly lineage: Lineage
  readonly generation: number
  readonly pages = new Map<number, Page>()
  readonly entries = new Map<number, Entry>()

  constructor(lineage: Lineage, generation: number) {
    this.lineage = lineage
    this.generation = generation
  }
}

export interface Origin {
  readonly view: View
  /** Chunks at or beyond this one are zeroes, not the origin's: the disk may be larger than its snapshot. */
  readonly chunkCount: number
  readonly snapshotId: number
}

/** A discarded run of chunks whose rows are not yet all in the index. */
export interface Hole {
  readonly first: number
  readonly count: number
  readonly generation: number
  readonly sequence: number
  /** Of its record. */
  readonly position: number
}

export class Lineage {
  readonly id: number
  readonly chunkBytes: number
  /** The head's; grows by one at each snapshot. */
  generation: number
  origin: Origin | null = null
  readonly head: View
  /** Views of frozen generations, made when somebody reads one. */
  readonly views = new Map<number, View>()
  /** Generations of the living snapshots, rising. */
  frozen: number[] = []

  /** Rows not yet in LevelDB: of each chunk a list, the newest generation first. */
  readonly overlay = new Map<number, OverlayRow>()
  readonly holes: Hole[] = []
  /** Entries with bytes that the log does not have, in the order in which they became so. */
  readonly unlogged = new Set<Entry>()
  /** Entries whose last writes are in the log as PATCH only. */
  readonly patched = new Set<Entry>()
  /** Entries that could not be folded because what is stored of their chunk cannot be read. */
  readonly stuck = new Set<Entry>()
  /** Chunks in a row whose compression was not worth it, and how many to skip before the next try. */
  compressMisses = 0
  compressSkip = 0
  /** Makes what it reads from its origin its own; null when there is no origin, and for linked lineages. */
  hydration: Hydration | null = null
  /** Memory of all entries that cannot be evicted because the log does not have them whole. */
  dirtyBytes = 0
  /** Requests that wait for room among the dirty bytes, in their order. */
  readonly waiting: (() => void)[] = []
  /** Deleted: whatever still arrives for it is dropped. */
  dead = false

  constructor(options: { id: number; chunkBytes: number; generation: number }) {
    this.id = options.id
    this.chunkBytes = options.chunkBytes
    this.generation = options.generation
    this.head = new View(this, GENERATION_MAX)
  }

  /** The view of a frozen generation. */
  view(generation: number): View {
    let view = this.views.get(generation)
    if (view === undefined) {
      view = new View(this, generation)
      this.views.set(generation, view)
    }
    return view
  }

  /** What the oldest living generation sees: a chunk that is its own there is its own everywhere. */
  oldestView(): View {
    const oldest = this.frozen[0]
    return oldest === undefined ? this.head : this.view(oldest)
  }

  /** How many lineages a read may have to pass, this one included. */
  get depth(): number {
    return 1 + (this.origin?.view.lineage.depth ?? 0)
  }
}

/** The origins that a read passes, the nearest first. */
export function ancestry(lineage: Lineage): Origin[] {
  const origins: Origin[] = []
  for (let at = lineage.origin; at !== null; at = at.view.lineage.origin) origins.push(at)
  return origins
}

/** Whether none of a lineage's ancestors was cut off since `ancestry` told them. */
export function isAncestry(lineage: Lineage, origins: readonly Origin[]): boolean {
  const now = ancestry(lineage)
  return now.length === origins.length && now.every((origin, i) => origin === origins[i])
}

/** A row on its way to LevelDB. */
export interface OverlayRow {
  readonly row: Row
  /** The record that it stands for: the index is complete up to here only when this row is in it. */
  readonly position: number
  older: OverlayRow | undefined
  /** A later row of the same chunk and generation stands in its place. */
  replaced: boolean
}
