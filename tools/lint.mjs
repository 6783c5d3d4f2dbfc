/** `npm run lint`: the linter and the format check, as `npm test` runs them. */

import { prepare, runMain } from './prepare.mjs'

await runMain(async () => {
  prepare()
  const { check } = await import('../dist/tools/testing/check.js')
  if (check() > 0) process.exitCode = 1
})
