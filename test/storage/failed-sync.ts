/** After a failed sync the system may show what the disk does not have, and take it for clean. */

import t from 'tap'
import { openStore } from '../../storage/open.ts'
import { flush, read, write } from '../fixtures/device-calls.ts'
import { Simulation } from '../fixtures/simulation/environment.ts'

const CHUNK = 4096

t.test('what the next start finds after a failed sync does not go with the power', async (t) => {
  // The seed says how much of it the disk has.
  for (let seed = 1; seed <= 8; seed++) {
    const simulation = new Simulation(seed)
    const { world, faults } = simulation
    const open = (init: boolean) =>
      openStore({ directory: '/data', init, environment: simulation.start(), reserveBytes: 0 })
    await world.run(
      (async () => {
        const first = await open(true)
        await first.createDisk({ name: 'd', sizeBytes: 16 * CHUNK, chunkBytes: CHUNK })
        await write(first.diskDevice('d'), 0, Buffer.alloc(16 * CHUNK, 'a'), { fua: true })
        faults.add({ call: 'file.sync', code: 'EIO', from: 1, count: 1 })
        const written = write(first.diskDevice('d'), 0, Buffer.alloc(16 * CHUNK, 'b'), { fua: true })
        await t.rejects(written, { code: 'STORE_FAILED' })
        simulation.kill()
        const second = await open(false)
        const found = await read(second.diskDevice('d'), 0, 16 * CHUNK)
        await flush(second.diskDevice('d'))
        simulation.powerCut(() => 'none')
        const third = await open(false)
        t.ok((await read(third.diskDevice('d'), 0, 16 * CHUNK)).equals(found), `seed ${seed}`)
      })(),
    )
  }
})
