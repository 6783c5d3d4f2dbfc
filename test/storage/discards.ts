/** Discards in a simulated world: what they cover, and what may happen while they do. */

import t from 'tap'
import { read, trim, write } from '../fixtures/device-calls.ts'
import { Simulation } from '../fixtures/simulation/environment.ts'
import { openSimulated } from '../fixtures/simulation/open.ts'

const CHUNK = 4096

/** Long enough for rows to reach LevelDB and for discards to be done with. */
const SETTLED_MILLIS = 10_000

t.test('a discard covers the versions of a chunk behind a hole, wherever a read of rows ends', async (t) => {
  const chunks = 100
  const sizeBytes = chunks * CHUNK
  // The seed says which reads of LevelDB end early.
  for (let seed = 1; seed <= 8; seed++) {
    const simulation = new Simulation(seed)
    const { world } = simulation
    const found = await world.run(
      (async () => {
        const store = await openSimulated(simulation, true)
        await store.createDisk({ name: 'd', sizeBytes, chunkBytes: CHUNK })
        await write(store.diskDevice('d'), 0, Buffer.alloc(sizeBytes, 'a'))
        await store.createSnapshot('d', 's')
        // One row of the first chunk and two of each other: an even number of them ends between a hole and what it hides.
        await trim(store.diskDevice('d'), CHUNK, sizeBytes - CHUNK)
        await store.restore({ disk: 'd', snapshot: 's' }, { name: 'r', paused: true })
        await world.sleep(SETTLED_MILLIS)
        await trim(store.diskDevice('r'), 0, sizeBytes)
        await world.sleep(SETTLED_MILLIS)
        return read(store.diskDevice('r'), 0, sizeBytes)
      })(),
    )
    t.ok(found.equals(Buffer.alloc(sizeBytes)), `seed ${seed}`)
  }
})

t.test('a discard belongs to its generation, whenever the next one begins', async (t) => {
  for (let micros = 0; micros < 8000; micros += 50) {
    const simulation = new Simulation(1)
    const { world } = simulation
    const found = await world.run(
      (async () => {
        const first = await openSimulated(simulation, true)
        await first.createDisk({ name: 'd', sizeBytes: 16 * CHUNK, chunkBytes: CHUNK })
        await write(first.diskDevice('d'), 0, Buffer.alloc(CHUNK, 'a'))
        await first.close()
        simulation.ended()
        // Now the chunk map has to be loaded, and there is time in between.
        const store = await openSimulated(simulation, false)
        await trim(store.diskDevice('d'), 0, 16 * CHUNK)
        await world.sleep(micros / 1000)
        const snapshot = store.createSnapshot('d', 's')
        await write(store.diskDevice('d'), 0, Buffer.alloc(CHUNK, 'b'), { fua: true })
        await snapshot
        await world.sleep(SETTLED_MILLIS)
        return read(store.snapshotDevice({ disk: 'd', snapshot: 's' }), 0, CHUNK)
      })(),
    )
    if (!found.equals(Buffer.alloc(CHUNK))) {
      t.fail(`it came back in a snapshot taken ${micros} us after it`)
      return
    }
  }
  t.pass()
})
