#!/usr/bin/env node
/** `npx thaw` in a checkout. The program itself is built, and this says so when it is not there yet. */
const { existsSync } = require('node:fs')
const { join } = require('node:path')

const program = join(__dirname, '..', '..', 'dist', 'tools', 'thaw.js')
if (existsSync(program)) {
  process.argv[1] = program
  void import(program)
} else {
  console.error('thaw: this checkout is not built yet: run `npm start`, or `npm run build` for the programs alone')
  process.exitCode = 1
}
