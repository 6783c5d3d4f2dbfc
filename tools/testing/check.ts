/** The linter and the format check. Both read their settings from files: `tools/lint.json` and `prettier` in package.json. */

import { spawnSync } from 'node:child_process'
import path from 'node:path'

const root = path.resolve(import.meta.dirname, '..', '..', '..')

/** How many of the two found something; what they found is on the screen. */
export function check(): number {
  return (
    Number(!run('lint', 'oxlint/bin/oxlint', '--type-aware', '--deny-warnings', '-c', 'tools/lint.json', '.')) +
    Number(!run('format', 'prettier/bin/prettier.cjs', '--check', '--log-level=warn', '.'))
  )
}

function run(title: string, tool: string, ...args: string[]): boolean {
  const result = spawnSync(process.execPath, [path.join(root, 'node_modules', tool), ...args], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  })
  const passed = result.status === 0
  console.error(`thaw: ${title} ${passed ? 'passed' : 'FAILED'}`)
  if (!passed && title === 'format') console.error('thaw: `npm run format` puts that right')
  return passed
}
