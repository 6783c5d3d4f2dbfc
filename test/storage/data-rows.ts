/** Where LevelDB holds the bytes of chunks: on their way there from the log nothing is lost. */

import t from 'tap'
import { openStore } from '../../storage/open.ts'
import { read, trim, write } from '../fixtures/device-calls.ts'
import { Simulation } from '../fixtures/simulation/environment.ts'

const CHUNK = 4096

t.test('a record that cannot be read for a while keeps its segment until it can', async (t) => {
  const simulation = new Simulation(1)
  const { world, faults, disk } = simulation
  const open = (init: boolean) =>
    openStore({
      directory: '/data',
      init,
      chunkBytesPlacement: 'leveldb',
      environment: simulation.start(),
      cacheBytes: 256 * 1024,
      segmentBytes: 128 * 1024,
      reserveBytes: 0,
    })
  const expected = Buffer.alloc(40 * CHUNK, 'some bytes ')
  await world.run(
    (async () => {
      let store = await open(true)
      await store.createDisk({ name: 'd', sizeBytes: 64 * CHUNK, chunkBytes: CHUNK })
      const device = store.diskDevice('d')
      for (let chunk = 0; chunk < 40; chunk++)
        await write(device, chunk * CHUNK, expected.subarray(chunk * CHUNK, (chunk + 1) * CHUNK), { fua: true })
      faults.add({ call: 'file.read', code: 'EIO', from: 1, count: Number.POSITIVE_INFINITY })
      const segments = () => disk.paths().filter((path) => path.startsWith('/data/segments/'))
      const [first] = segments()
      // Long enough for many drains, and for the search for segments that nobody needs.
      await world.sleep(100_000)
      t.ok(segments().includes(first as string))
      faults.clear()
      await world.sleep(100_000)
      t.ok((await read(device, 0, expected.length)).equals(expected))
      // The log goes once LevelDB has all of it.
      await trim(device, 60 * CHUNK, CHUNK)
      await world.sleep(100_000)
      t.notOk(segments().includes(first as string))
      await store.close()
      simulation.ended()
      store = await open(false)
      t.ok((await read(store.diskDevice('d'), 0, expected.length)).equals(expected))
    })(),
  )
})
