/** Requests in bulk pass the cache by: what they meet there, and what they leave in it. */

import { randomBytes } from 'node:crypto'
import t from 'tap'
import type { Store } from '../../storage/store.ts'
import { BULK_BYTES } from '../../storage/view-device.ts'
import { flush, read, write } from '../fixtures/device-calls.ts'
import { Simulation } from '../fixtures/simulation/environment.ts'
import { openSimulated } from '../fixtures/simulation/open.ts'

const KIB = 1024
const CHUNK = 16 * KIB
const SIZE = 2 * BULK_BYTES

/** A store with one disk `d`, in a world of its own, for as long as `run` takes. */
function inSimulation<T>(run: (store: Store, simulation: Simulation) => Promise<T>): Promise<T> {
  const simulation = new Simulation(1)
  return simulation.world.run(
    (async () => {
      const store = await openSimulated(simulation, true)
      await store.createDisk({ name: 'd', sizeBytes: SIZE, chunkBytes: CHUNK })
      return run(store, simulation)
    })(),
  )
}

t.test('what was written before, and after, in memory', async (t) => {
  const bulk = randomBytes(BULK_BYTES)
  const found = await inSimulation(async (store) => {
    const device = store.diskDevice('d')
    await write(device, 0, Buffer.alloc(512, 'a'))
    await write(device, CHUNK, Buffer.alloc(512, 'b'))
    await flush(device)
    await write(device, 2 * CHUNK, Buffer.alloc(CHUNK, 'c'))
    await write(device, 0, bulk)
    await write(device, 3 * CHUNK, Buffer.alloc(512, 'd'))
    return read(device, 0, BULK_BYTES)
  })
  bulk.fill('d', 3 * CHUNK, 3 * CHUNK + 512)
  t.ok(found.equals(bulk))
})

t.test('its first and last chunk, which it covers in part', async (t) => {
  const before = randomBytes(SIZE)
  const bulk = randomBytes(BULK_BYTES + CHUNK)
  const found = await inSimulation(async (store) => {
    const device = store.diskDevice('d')
    await write(device, 0, before)
    await write(device, 100, bulk)
    return read(device, 0, SIZE)
  })
  bulk.copy(before, 100)
  t.ok(found.equals(before))
})

t.test('a snapshot keeps what a bulk write right behind it replaces, and the head does not', async (t) => {
  const before = randomBytes(SIZE)
  const bulk = randomBytes(BULK_BYTES)
  const found = await inSimulation(async (store) => {
    const device = store.diskDevice('d')
    // In memory only; some of it in patches.
    for (let at = 0; at < SIZE; at += 4 * KIB) await write(device, at, before.subarray(at, at + 4 * KIB))
    await write(device, 0, before.subarray(0, 512), { fua: true })
    const snapshot = store.createSnapshot('d', 's')
    await write(device, 0, bulk)
    await snapshot
    return {
      snapshot: await read(store.snapshotDevice({ disk: 'd', snapshot: 's' }), 0, SIZE),
      head: await read(device, 0, SIZE),
    }
  })
  t.ok(found.snapshot.equals(before), 'the snapshot')
  bulk.copy(before)
  t.ok(found.head.equals(before), 'the head')
})

t.test('a bulk write that was flushed is there after a power cut', async (t) => {
  const bulk = randomBytes(BULK_BYTES)
  const found = await inSimulation(async (store, simulation) => {
    await write(store.diskDevice('d'), 0, Buffer.alloc(512, 'a'), { fua: true })
    await write(store.diskDevice('d'), 0, bulk, { fua: true })
    simulation.powerCut()
    const again = await openSimulated(simulation, false)
    return read(again.diskDevice('d'), 0, BULK_BYTES)
  })
  t.ok(found.equals(bulk))
})

t.test('zeroes become holes, and what shrinks is stored small', async (t) => {
  const stored = await inSimulation(async (store) => {
    const { storedBytes: empty } = (await store.status()).space
    await write(store.diskDevice('d'), 0, Buffer.alloc(BULK_BYTES), { fua: true })
    await write(store.diskDevice('d'), BULK_BYTES, Buffer.alloc(BULK_BYTES, 'abc'), { fua: true })
    return (await store.status()).space.storedBytes - empty
  })
  t.ok(stored < BULK_BYTES / 8, `${stored} bytes`)
})

t.test('a copy and a scan leave nothing in the cache', async (t) => {
  const cached = await inSimulation(async (store) => {
    const device = store.diskDevice('d')
    for (let at = 0; at < SIZE; at += BULK_BYTES) await write(device, at, randomBytes(BULK_BYTES))
    await flush(device)
    await read(device, 0, SIZE)
    return (await store.status()).cacheBytes
  })
  t.equal(cached, 0)
})
