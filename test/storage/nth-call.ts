/**
 * One call of a fixed scenario fails, or is the last: every call in turn, as many of
 * all as the time allows, in an order that the seed says.
 */

import t from 'tap'
import { printSeed, Random } from '../fixtures/random.ts'
import { everyNthCall, runNthCall } from '../fixtures/storage-model/nth-call.ts'

const SECONDS = Number(process.env['THAW_TEST_NTH_CALL_SECONDS'] ?? 25)

t.test('whatever call fails, what was acknowledged is there and what was deleted is not', async (t) => {
  const seed = printSeed(t)
  const random = new Random(seed)
  const end = Date.now() + SECONDS * 1000
  const left = await everyNthCall(seed)
  const all = left.length
  while (left.length > 0 && Date.now() < end) {
    const [options] = left.splice(random.below(left.length), 1)
    if (options !== undefined) await runNthCall(options)
  }
  t.pass(`${all - left.length} of ${all}`)
})
