import t from 'tap'
import { ReplyArena, SlabPool } from '../../protocol/reply-arena.ts'
import type { Slab } from '../../protocol/reply-arena.ts'

const MiB = 1024 * 1024

function take(arena: ReplyArena, bytes: number): Slab {
  const slab = arena.slabFor(bytes)
  slab.used += bytes
  slab.living++
  return slab
}

t.test('replies lie side by side until the slab is full', async (t) => {
  const arena = new ReplyArena(new SlabPool())
  const first = take(arena, 4112)
  for (let used = 4112; used + 4112 <= MiB; used += 4112) t.equal(take(arena, 4112), first)
  const second = take(arena, 4112)
  t.not(second, first)
  t.equal(second.used, 4112)
})

t.test('a slab whose replies have all left starts anew', async (t) => {
  const arena = new ReplyArena(new SlabPool())
  const slab = take(arena, 16)
  take(arena, 16)
  arena.release(slab, 1)
  t.equal(take(arena, 16), slab)
  t.equal(slab.used, 48, 'not before the last has left')
  arena.release(slab, 2)
  t.equal(take(arena, 16), slab, 'from the pool')
  t.equal(slab.used, 16)
})

t.test('a full slab comes back when its last reply has left', async (t) => {
  const arena = new ReplyArena(new SlabPool())
  const first = take(arena, 400_000)
  take(arena, 400_000)
  const second = take(arena, 400_000)
  t.not(second, first)
  arena.release(first, 2)
  take(arena, 400_000)
  t.equal(take(arena, 400_000), first)
})

t.test('a long reply has a slab of its own, which is not kept', async (t) => {
  const pool = new SlabPool()
  const arena = new ReplyArena(pool)
  const small = take(arena, 16)
  const large = take(arena, 33 * MiB)
  t.not(large, small)
  t.equal(large.buffer.length, 33 * MiB)
  t.equal(take(arena, 16), small, 'and the other goes on')
  arena.release(large, 1)
  t.equal(pool.take().buffer.length, MiB)
})

t.test('the pool keeps so much and no more', async (t) => {
  const pool = new SlabPool(2 * MiB)
  const slabs = [pool.take(), pool.take(), pool.take()] as const
  for (const slab of slabs) pool.give(slab)
  t.equal(pool.take(), slabs[1])
  t.equal(pool.take(), slabs[0])
  t.notOk(slabs.includes(pool.take()))
})
