/** Forgetting what memory holds for something that was deleted. */

import type { Core } from './core.ts'
import type { Lineage, View } from './lineage.ts'

/** The disk is gone; frozen generations stay readable. */
export function forgetHead(lineage: Lineage, core: Core): void {
  for (const entries of [lineage.unlogged, lineage.patched])
    for (const entry of [...entries]) core.writeBack.drop(entry)
  forgetPages(lineage.head, core)
}

/** A snapshot is gone. */
export function forgetView(lineage: Lineage, generation: number, core: Core): void {
  const view = lineage.views.get(generation)
  if (view === undefined) return
  forgetPages(view, core)
  lineage.views.delete(generation)
}

/** All of it is gone: whatever still arrives for it is dropped. */
export function forgetLineage(lineage: Lineage, core: Core): void {
  lineage.dead = true
  forgetHead(lineage, core)
  for (const view of lineage.views.values()) forgetPages(view, core)
  lineage.holes.length = 0
  lineage.overlay.clear()
  core.discards.wakeAll()
}

function forgetPages(view: View, core: Core): void {
  core.cache.detachAll(view)
  core.index.forget(view)
}
