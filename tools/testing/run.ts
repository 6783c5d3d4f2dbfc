/**
 * The test run behind `npm test`:
 *
 *     npm test                              everything, with lint and format check
 *     npm test -- storage protocol/codec    only test files whose path contains one of these
 *     npm test -- --node=24                 under another Node, which is fetched
 *     npm test -- --also-node=24            everything, and then what is worth repeating under another Node
 *
 * The last line of the output is `N passed, N failed`, with `, N skipped` when
 * there are any.
 */

import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { check } from './check.ts'
import { followTap } from './count.ts'
import type { Count, FileResult } from './count.ts'
import { provideNode } from './other-node.ts'
import { providePackages } from './packages.ts'

const root = path.resolve(import.meta.dirname, '..', '..', '..')
const testFolder = path.join(root, 'dist', 'test')

/** Where a new Node could make a difference: buffers, files, LevelDB's binding. The rest is the same code under it. */
const worthRepeating = ['protocol', 'storage']

/** One test file a core: some of them load a core by themselves, and those with a time limit must get their share. */
const jobs = 2

/** A test file that needs more says so with `t.setTimeout`. */
const fileSecondsMax = 300

/** Something is badly wrong when a whole run takes this long; it is ended, and what ran so far is counted. */
const runMinutesMax = 40

/** Of what tap says about a failure: the same for every file, or found out more easily elsewhere. */
const uninteresting = new Set(['args', 'command', 'cwd', 'externalID', 'jobId', 'source', 'stdio', 'tapCaught'])

const { values: options, positionals: filters } = parseArgs({
  allowPositionals: true,
  options: { node: { type: 'string' }, 'also-node': { type: 'string' } },
})
const total: Count = { passed: 0, failed: 0, skipped: 0 }
const notes: string[] = []

try {
  const complete = await providePackages()
  // From here on a test that lacks a tool fails instead of being skipped.
  if (complete) process.env['THAW_TEST_TOOLS'] = 'required'
} catch (error) {
  fail(error)
}
if (filters.length === 0 && options.node === undefined) total.failed += check()
await repeatUnder(options.node, filters)
if (options['also-node'] !== undefined) await repeatUnder(options['also-node'], worthRepeating)

for (const note of notes) console.log(note)
const { passed, failed, skipped } = total
if (failed > 0 || passed === 0) process.exitCode = 1
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)

/** A failure outside of any test file. */
function fail(error: unknown): void {
  total.failed++
  notes.push(`FAILED ${error instanceof Error ? error.message : String(error)}`)
}

async function repeatUnder(nodeMajor: string | undefined, pathParts: readonly string[]): Promise<void> {
  let node = process.execPath
  if (nodeMajor !== undefined) {
    try {
      node = provideNode(nodeMajor)
    } catch (error) {
      fail(error)
      return
    }
    console.log(`\nUnder Node ${nodeMajor}:`)
  }
  const files = testFiles().filter((file) => pathParts.length === 0 || pathParts.some((part) => file.includes(part)))
  if (files.length === 0) fail(`there is no test file for: ${pathParts.join(' ') || 'everything'}`)
  else await runAll(node, files)
}

/** One file over its time limit makes tap give up on those after it; they are run in another round. */
async function runAll(node: string, files: readonly string[]): Promise<void> {
  let left = files
  while (left.length > 0) {
    const ran = await runTap(node, left)
    const leftAfter = left.filter((file) => !ran.has(file))
    if (leftAfter.length === left.length) {
      fail(`these test files could not be run: ${leftAfter.join(' ')}`)
      return
    }
    left = leftAfter
  }
}

/** Relative to the root. Helpers are in `fixtures`. */
function testFiles(): string[] {
  let entries: string[]
  try {
    entries = readdirSync(testFolder, { recursive: true, encoding: 'utf8' })
  } catch {
    return []
  }
  return entries
    .filter((entry) => entry.endsWith('.js') && !entry.split(path.sep).includes('fixtures'))
    .sort()
    .map((entry) => path.join('dist', 'test', entry))
}

/** Runs files, adds to `total` and returns those that were run. However tap ends, its failure is in the count. */
async function runTap(node: string, files: readonly string[]): Promise<Set<string>> {
  let failedInFiles = 0
  const ran = new Set<string>()
  const parser = followTap((result) => {
    // tap also reports about itself, when a file was over its time limit.
    if (!files.includes(result.name)) return
    ran.add(result.name)
    failedInFiles += result.failed
    total.passed += result.passed
    total.failed += result.failed
    total.skipped += result.skipped
    print(result)
  })
  const tap = spawn(
    node,
    [
      path.join(root, 'node_modules', 'tap', 'dist', 'esm', 'run.mjs'),
      ...['run', '--reporter=tap', `--jobs=${jobs}`, `--timeout=${fileSecondsMax}`, ...files],
    ],
    { cwd: root, stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, FORCE_COLOR: '0' } },
  )
  const limit = setTimeout(() => tap.kill('SIGTERM'), runMinutesMax * 60_000)
  const ended = new Promise<string | undefined>((resolve) => {
    tap.on('error', (error) => resolve(error.message))
    tap.on('close', (code, signal) => resolve(code === 0 ? undefined : (signal ?? `exit code ${code}`)))
  })
  const parsed = new Promise<void>((resolve) => parser.on('complete', () => resolve()))
  tap.stdout.pipe(parser)
  const problem = await ended
  clearTimeout(limit)
  await parsed
  if (problem !== undefined && failedInFiles === 0) fail(`tap ended with ${problem}`)
  return ran
}

function print({ name, ok, millis, passed, failed, skipped, failures, skips }: FileResult): void {
  const counts = [`${passed} passed`]
  if (failed > 0) counts.push(`${failed} failed`)
  if (skipped > 0) counts.push(`${skipped} skipped`)
  const title = name.replace(/^dist\//, '').replace(/\.js$/, '')
  console.log(`${ok ? 'ok    ' : 'FAILED'} ${title} (${counts.join(', ')}, ${(millis / 1000).toFixed(1)} s)`)
  for (const skip of skips) console.log(`       skipped: ${skip}`)
  for (const { names, diagnostics } of failures) {
    const sentence = names.slice(names[0] === name ? 1 : 0).join(' > ') || 'outside of its tests'
    console.log(`       failed: ${sentence}`)
    if (diagnostics) console.log(indent(describe(diagnostics)))
    notes.push(`FAILED ${title}: ${sentence}`)
  }
}

/** What helps to find the fault, in the order in which tap gives it. */
function describe(diagnostics: unknown): string {
  if (typeof diagnostics !== 'object' || diagnostics === null) return String(diagnostics)
  return Object.entries(diagnostics)
    .filter(([key]) => !uninteresting.has(key))
    .map(([key, value]) => `${key}: ${typeof value === 'string' ? value.trimEnd() : JSON.stringify(value, null, 2)}`)
    .join('\n')
}

function indent(text: string): string {
  return text.replace(/^/gm, '         ')
}
