/** Random runs of the store in a simulated world, compared with a model: as many as the time allows. */

import t from 'tap'
import { printSeed } from '../fixtures/random.ts'
import { runStorageModel } from '../fixtures/storage-model/run.ts'

const SECONDS = Number(process.env['THAW_TEST_MODEL_SECONDS'] ?? 40)

t.test('the same seed runs the same way', async (t) => {
  const seed = printSeed(t)
  const first = await runStorageModel({ seed, operations: 150 })
  const second = await runStorageModel({ seed, operations: 150 })
  t.equal(second.digest, first.digest)
})

t.test('random operations and crashes', async (t) => {
  const first = printSeed(t)
  const end = Date.now() + SECONDS * 1000
  let runs = 0
  let crashes = 0
  let events = 0
  for (; Date.now() < end; runs++) {
    const result = await runStorageModel({ seed: (first + runs) >>> 0 })
    crashes += result.crashes
    events += result.events
  }
  t.pass(`${runs} runs`)
  t.comment(`${runs} seeds from ${first} on: ${crashes} crashes, ${events} events`)
})
