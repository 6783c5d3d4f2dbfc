/** LevelDB fails in one call: it is opened again, and nobody but who waited for that call notices. */

import t from 'tap'
import { read, write } from '../fixtures/device-calls.ts'
import { Simulation } from '../fixtures/simulation/environment.ts'
import { openSimulated } from '../fixtures/simulation/open.ts'

const CHUNK = 4096

t.test('a batch that failed may be there all the same', async (t) => {
  // The seed says whether it is.
  for (let seed = 1; seed <= 8; seed++) {
    for (const batch of [1, 2, 3]) {
      const simulation = new Simulation(seed)
      const { world, faults } = simulation
      const events: string[] = []
      const open = (init: boolean) => openSimulated(simulation, init, { onEvent: ({ type }) => events.push(type) })
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

t.test('reads go on while it is opened again', async (t) => {
  for (const placement of ['segments', 'leveldb'] as const) {
    const simulation = new Simulation(1)
    const { world, faults } = simulation
    const events: string[] = []
    const chunks = 1024
    const open = (init: boolean) =>
      openSimulated(simulation, init, {
        chunkBytesPlacement: placement,
        // Next to nothing is in memory.
        cacheBytes: 16 * CHUNK,
        mapBytes: 1,
        mapPagesMin: 1,
        compression: 'none',
        onEvent: ({ type }) => events.push(type),
      })
    await world.run(
      (async () => {
        const first = await open(true)
        await first.createDisk({ name: 'd', sizeBytes: chunks * CHUNK, chunkBytes: CHUNK })
        for (let chunk = 0; chunk < chunks; chunk++)
          await write(first.diskDevice('d'), chunk * CHUNK, Buffer.alloc(CHUNK, `chunk ${chunk} `))
        await first.close()
        simulation.ended()
        const store = await open(false)
        const device = store.diskDevice('d')
        faults.add({ call: 'level.write', code: 'EIO', from: 1, count: 1 })
        await write(device, 0, Buffer.alloc(CHUNK, 'chunk 0 '), { fua: true })
        let wrong = 0
        const reading = async (step: number) => {
          for (let chunk = step; !events.includes('index-reopened'); chunk = (chunk + 131 * step) % chunks)
            if (!(await read(device, chunk * CHUNK, CHUNK)).equals(Buffer.alloc(CHUNK, `chunk ${chunk} `))) wrong++
        }
        await Promise.all([1, 3, 5, 7].map(reading))
        t.equal(wrong, 0, placement)
      })(),
    )
  }
})
