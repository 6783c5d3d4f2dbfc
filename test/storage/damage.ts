/** A chunk whose bytes in the log are damaged, and small writes that wait for them, in a simulated world. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import t from 'tap'
import type { StoreEvent } from '../../storage/contract.ts'
import type { Store } from '../../storage/store.ts'
import { BULK_BYTES } from '../../storage/view-device.ts'
import { flush, read, write } from '../fixtures/device-calls.ts'
import { Simulation } from '../fixtures/simulation/environment.ts'
import { openSimulated } from '../fixtures/simulation/open.ts'

const CHUNK = 16 * 1024
const CHUNKS = 60

/** Runs with a store whose disk `d` is full of data, the first chunk of it damaged. */
function withDamage<T>(seed: number, run: (store: Store, events: StoreEvent[], simulation: Simulation) => Promise<T>) {
  const simulation = new Simulation(seed)
  const events: StoreEvent[] = []
  const open = (init: boolean) =>
    openSimulated(simulation, init, { compression: 'none', onEvent: (event) => events.push(event) })
  return simulation.world.run(
    (async () => {
      const first = await open(true)
      await first.createDisk({ name: 'd', sizeBytes: CHUNKS * CHUNK, chunkBytes: CHUNK })
      for (let i = 0; i < CHUNKS; i++) await write(first.diskDevice('d'), i * CHUNK, randomBytes(CHUNK))
      await flush(first.diskDevice('d'))
      await first.close()
      simulation.ended()
      simulation.disk.file('/data/segments/00000001.seg')?.visible.content.fill(0, 8000, 9000)
      const store = await open(false)
      await assert.rejects(read(store.diskDevice('d'), 0, 512), { code: 'CHUNK_DAMAGED' })
      return run(store, events, simulation)
    })(),
  )
}

t.test('closing waits for the chunks that can be completed', async (t) => {
  for (let seed = 1; seed <= 60; seed++) {
    const failed = await withDamage(seed, async (store, events, { world }) => {
      for (let i = 0; i < CHUNKS; i += 7) await write(store.diskDevice('d'), i * CHUNK, Buffer.alloc(512, i))
      await store.close()
      await world.sleep(5000)
      return events.find(({ type }) => type === 'failed')
    })
    if (failed !== undefined) t.fail(`seed ${seed}: something was appended to a log that was closed`)
  }
  t.pass()
})

t.test('a chunk that is written anew heals, also when a snapshot of it had failed', async (t) => {
  const { dirtyBytes, found, bulk } = await withDamage(1, async (store, _, { world }) => {
    const device = store.diskDevice('d')
    await write(device, 0, Buffer.alloc(512, 'a'))
    await assert.rejects(store.createSnapshot('d', 's'), { code: 'CHUNK_DAMAGED' })
    const bulk = randomBytes(BULK_BYTES)
    await write(device, 0, bulk)
    await flush(device)
    await world.sleep(60_000)
    return { dirtyBytes: store.disk('d').dirtyBytes, found: await read(device, 0, BULK_BYTES), bulk }
  })
  t.equal(dirtyBytes, 0)
  t.ok(found.equals(bulk))
})
