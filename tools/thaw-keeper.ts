#!/usr/bin/env node
/**
 * Keeps a device of the Linux kernel alive while the daemon is restarted:
 *
 *     thaw-keeper --server HOST:PORT|PATH --export NAME --listen HOST:PORT|PATH
 *
 * `thaw attach` starts one for each device and points nbd-client at it. When it
 * serves it writes one line to standard output, the address or path at which it
 * listens, and closes that; when its client leaves, it ends.
 */

import { closeSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { Keeper } from './keeper/keeper.ts'

const { values } = parseArgs({
  options: { server: { type: 'string' }, export: { type: 'string' }, listen: { type: 'string' } },
})

// Whoever started it may be gone, and with it the place for messages.
process.stderr.on('error', () => {})

try {
  const exportName = values.export ?? ''
  const log = (sentence: string): void => void process.stderr.write(`thaw-keeper: ${exportName}: ${sentence}\n`)
  const keeper = await Keeper.start({
    server: place('server', values.server),
    exportName,
    listen: place('listen', values.listen),
    log,
  })
  process.stdout.write(`${keeper.name}\n`, () => closeSync(1))
  await keeper.ended
  await keeper[Symbol.asyncDispose]()
  // A connection to a server that says nothing is nothing to wait for.
  process.exit()
} catch (error) {
  console.error(`thaw-keeper: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}

/** An absolute path is a unix socket. */
function place(option: string, text: string | undefined): { path: string } | { host: string; port: number } {
  if (text?.startsWith('/')) return { path: text }
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(text ?? '')
  const host = match?.[1] ?? match?.[2]
  if (host === undefined) throw new Error(`--${option} wants HOST:PORT or the path of a unix socket`)
  return { host, port: Number(match?.[3]) }
}
