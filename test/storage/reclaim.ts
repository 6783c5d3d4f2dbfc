/** Freeing what deletions left, in a simulated world: nothing goes before the decision that frees it is durable. */

import assert from 'node:assert/strict'
import t from 'tap'
import type { Device } from '../../storage/contract.ts'
import type { Store } from '../../storage/store.ts'
import { read, write } from '../fixtures/device-calls.ts'
import { Simulation } from '../fixtures/simulation/environment.ts'
import { openSimulated } from '../fixtures/simulation/open.ts'

const CHUNK = 4096

/** Long enough for rows to reach LevelDB. */
const SETTLED_MILLIS = 10_000

function filled(letter: string): Buffer {
  return Buffer.alloc(CHUNK, letter)
}

/** So that whoever needs the log to be durable has to wait. */
async function keepSyncing(device: Device): Promise<never> {
  for (;;) await write(device, 0, filled('x'), { fua: true })
}

/**
 * Deletes something, which starts the freeing of rows, and `micros` later something else of the same lineage, which
 * cannot be made durable before the power is cut. Resolves with the store as it is found then.
 */
async function cutInSecondDeletion(
  simulation: Simulation,
  micros: number,
  second: (store: Store) => Promise<void>,
): Promise<Store> {
  const { world } = simulation
  const store = await openSimulated(simulation, true)
  for (const name of ['d', 'other']) await store.createDisk({ name, sizeBytes: CHUNK, chunkBytes: CHUNK })
  const device = store.diskDevice('d')
  await write(device, 0, filled('a'))
  await store.createSnapshot('d', 'first')
  await write(device, 0, filled('b'))
  await store.createSnapshot('d', 'second')
  await world.sleep(SETTLED_MILLIS)
  // The row of this one is still on its way.
  await write(device, 0, filled('c'), { fua: true })
  store.deleteSnapshots([{ disk: 'd', snapshot: 'first' }]).catch(() => {})
  keepSyncing(store.diskDevice('other')).catch(() => {})
  await world.sleep(micros / 1000)
  // Not durable for as long as what is under way may take.
  simulation.faults.add({ call: 'file.write', code: 'ENOSPC', from: 1, count: Number.POSITIVE_INFINITY })
  const deleted = second(store)
  await assert.rejects(deleted, { code: 'NO_SPACE' })
  await world.sleep(100)
  simulation.powerCut(() => 'none')
  simulation.faults.clear()
  return openSimulated(simulation, false)
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
