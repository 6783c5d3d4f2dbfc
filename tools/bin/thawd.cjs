#!/usr/bin/env node
/**
 * `npx thawd` in a checkout. This is CommonJS because the size of the thread
 * pool must be in the environment before the pool's first use, and Node uses it
 * to load ES modules.
 */
const { existsSync } = require('node:fs')
const { join } = require('node:path')

const program = join(__dirname, '..', '..', 'dist', 'daemon', 'thawd.js')
if (existsSync(program)) {
  process.env.UV_THREADPOOL_SIZE ??= '16'
  process.argv[1] = program
  void import(program)
} else {
  console.error('thawd: this checkout is not built yet: run `npm start`, or `npm run build` for the programs alone')
  process.exitCode = 1
}
