/** What a deleted disk leaves behind, in a simulated world. */

import { randomBytes } from 'node:crypto'
import t from 'tap'
import { read, write } from '../fixtures/device-calls.ts'
import { Simulation } from '../fixtures/simulation/environment.ts'
import { openSimulated } from '../fixtures/simulation/open.ts'

const CHUNK = 4096

t.test('patches of a deleted head are forgotten by recovery as well', async (t) => {
  const simulation = new Simulation(1)
  const kept = randomBytes(CHUNK)
  const found = await simulation.world.run(
    (async () => {
      const store = await openSimulated(simulation, true)
      await store.createDisk({ name: 'd', sizeBytes: 16 * CHUNK, chunkBytes: CHUNK })
      await write(store.diskDevice('d'), 0, kept)
      await store.createSnapshot('d', 's')
      await write(store.diskDevice('d'), 0, randomBytes(128), { fua: true })
      await store.deleteDisk('d', { snapshots: 'keep' })
      simulation.powerCut()
      const again = await openSimulated(simulation, false)
      return {
        dirtyBytes: (await again.status()).dirtyBytes,
        snapshot: await read(again.snapshotDevice({ disk: 'd', snapshot: 's' }), 0, CHUNK),
      }
    })(),
  )
  t.equal(found.dirtyBytes, 0)
  t.ok(found.snapshot.equals(kept))
})
