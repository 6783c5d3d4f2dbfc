/** `npm test`: installs and builds when needed, then runs what tools/testing/run.ts says. */

import { prepare, runMain } from './prepare.mjs'

await runMain(async () => {
  prepare()
  await import('../dist/tools/testing/run.js')
})
