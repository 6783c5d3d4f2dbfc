/** Freeing what deletions left, in a simulated world: nothing goes before the decision that frees it is durable. */

import assert from 'node:assert/strict'
import t from 'tap'
import { openStore } from '../../storage/open.ts'
import type { Store } from '../../storage/store.ts'
import { read, write } from '../fixtures/device-calls.ts'
import { Simulation } from '../fixtures/simulation/environment.ts'

const CHUNK = 4096

/** Long enough for rows to reach LevelDB. */
const SETTLED_MILLIS = 10_000

function open(simulation: Simulation, init: boolean): Promise<Store> {
  return openStore({ directory: '/data', init, environment: simulation.start(), reserveBytes: 0 })
}

function filled(letter: string): Buffer {
  return Buffer.alloc(CHUNK, letter)
}

/**
 * Deletes something, which starts the freeing of rows, and `micros` later something else of the same lineage; the power
 * is cut before that can be durable. Resolves with the store as it is found then.
 */
async function cutInSecondDeletion(
  simulation: Simulation,
  micros: number,
  second: (store: Store) => Promise<void>,
): Promise<Store> {
  const { world } = simulation
  const store = await open(simulation, true)
  await store.createDisk({ name: 'd', sizeBytes: CHUNK, chunkBytes: CHUNK })
  for (const [letter, snapshot] of [
    ['a', 'first'],
    ['b', 'second'],
    ['c', undefined],
  ] as const) {
    await write(store.diskDevice('d'), 0, filled(letter))
    if (snapshot !== undefined) await store.createSnapshot('d', snapshot)
  }
  await world.sleep(SETTLED_MILLIS)
  void store.deleteSnapshots([{ disk: 'd', snapshot: 'first' }])
  await world.sleep(micros / 1000)
  let durable = false
  const deleted = second(store).then(() => {
    durable = true
  })
  // As late as possible: until just before the decision would be durable.
  simulation.disk.onCall = ({ call }) => {
    if (call === 'write') simulation.powerCut(() => 'none')
  }
  await Promise.race([deleted, world.sleep(100)])
  assert.ok(!durable)
  simulation.disk.onCall = undefined
  return open(simulation, false)
}

for (const [what, second, found] of [
  [
    'a snapshot',
    (store: Store) => store.deleteSnapshots([{ disk: 'd', snapshot: 'second' }]),
    async (store: Store) => read(store.snapshotDevice({ disk: 'd', snapshot: 'second' }), 0, CHUNK),
  ],
  [
    'a disk',
    (store: Store) => store.deleteDisk('d', { snapshots: 'delete' }),
    async (store: Store) => read(store.diskDevice('d'), 0, CHUNK),
  ],
] as const) {
  t.test(`${what} whose deletion was not durable is whole`, async (t) => {
    const expected = filled(what === 'a disk' ? 'c' : 'b')
    for (let micros = 0; micros < 12_000; micros += 100) {
      const simulation = new Simulation(1)
      const bytes = await simulation.world.run(cutInSecondDeletion(simulation, micros, second).then(found))
      if (!bytes.equals(expected)) {
        t.fail(`not when it came ${micros} us after another deletion`)
        return
      }
    }
    t.pass()
  })
}
