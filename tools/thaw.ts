#!/usr/bin/env node
import { main } from './thaw/main.ts'
import { realSystem } from './thaw/system.ts'

// `thaw disk list | head -1`: who reads no further has what they wanted.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit()
})

const { stdin, stdout, stderr, env } = process
process.exitCode = await main(process.argv.slice(2), { stdin, stdout, stderr, env, system: realSystem() })
