/** LevelDB fails in one call: it is opened again, and nobody but who waited for that call notices. */

import t from 'tap'
import { openStore } from '../../storage/open.ts'
import { read, write } from '../fixtures/device-calls.ts'
import { Simulation } from '../fixtures/simulation/environment.ts'

const CHUNK = 4096

t.test('a batch that failed may be there all the same', async (t) => {
  // The seed says whether it is.
  for (let seed = 1; seed <= 8; seed++) {
    for (const batch of [1, 2, 3]) {
      const simulation = new Simulation(seed)
      const { world, faults } = simulation
      const events: string[] = []
      const open = (init: boolean) =>
        openStore({
          directory: '/data',
          init,
          environment: simulation.start(),
          reserveBytes: 0,
          onEvent: ({ type }) => events.push(type),
        })
      const expected = Buffer.alloc(16 * CHUNK, 'b')
      await world.run(
        (async () => {
          let store = await open(true)
          await store.createDisk({ name: 'd', sizeBytes: 16 * CHUNK, chunkBytes: CHUNK })
          await world.sleep(10_000)
          faults.add({ call: 'level.write', code: 'ENOSPC', from: batch, count: 1 })
          for (const letter of ['a', 'b']) {
            await write(store.diskDevice('d'), 0, Buffer.alloc(16 * CHUNK, letter), { fua: true })
            await world.sleep(10_000)
          }
          t.same(events, ['index-failed', 'index-reopened'], `seed ${seed}, batch ${batch}`)
          simulation.powerCut(() => 'none')
          store = await open(false)
          t.ok((await read(store.diskDevice('d'), 0, expected.length)).equals(expected))
        })(),
      )
    }
  }
})
