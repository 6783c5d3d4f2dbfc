/**
 * Makes a checkout runnable: installs the packages and builds, each only when
 * needed. `npm start` and `npm test` begin here, so this file is plain
 * JavaScript and imports nothing but Node: it runs before anything is there.
 *
 * When nothing is to be done it only compares file times, which takes
 * milliseconds.
 */

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

export const root = path.resolve(import.meta.dirname ?? path.dirname(fileURLToPath(import.meta.url)), '..')

const nodeMinimum = [20, 19]
const sourceFolders = ['daemon', 'protocol', 'storage', 'tools', 'test']

/** An error whose message is all that a person needs. */
export class PrepareError extends Error {}

/** Installs and builds when needed. Throws a PrepareError with one clear sentence when it cannot. */
export function prepare() {
  checkNode()
  installPackages()
  build()
}

/** Runs `main`; an error becomes one line and exit code 1, not a stack (unless it is a fault of ours). */
export async function runMain(/** @type {() => unknown} */ main) {
  try {
    await main()
  } catch (error) {
    console.error(error instanceof PrepareError ? `thaw: ${error.message}` : error)
    process.exitCode = 1
  }
}

/** The JavaScript file behind a tool of node_modules, to be run with this same Node. */
export function toolPath(/** @type {string} */ packageAndFile) {
  return path.join(root, 'node_modules', packageAndFile)
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const [majorMinimum = 0, minorMinimum = 0] = nodeMinimum
  if (major > majorMinimum || (major === majorMinimum && minor >= minorMinimum)) return
  throw new PrepareError(
    `Node ${nodeMinimum.join('.')} or newer is needed (24 is recommended), and this is ${process.versions.node}`,
  )
}

/*
 * Packages. `npm ci` gives exactly what the lock file says. package.json denies
 * classic-level's install script (`allowScripts`, read by npm 11 and newer): it
 * would only look for the prebuilt binary that is in the package anyway.
 */

function installPackages() {
  const lock = path.join(root, 'package-lock.json')
  const lockHash = createHash('sha256').update(readFileSync(lock)).digest('hex')
  const stamp = path.join(root, 'node_modules', '.thaw-installed')
  if (readIfThere(stamp) === lockHash) return
  // Somebody may have called npm directly, which leaves its own list behind.
  const installed = timeOf(path.join(root, 'node_modules', '.package-lock.json'))
  if (installed <= timeOf(lock)) {
    console.error('thaw: installing packages (npm ci)')
    const command = process.platform === 'win32' ? 'npm.cmd' : 'npm'
    const result = spawnSync(command, ['ci', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'], {
      cwd: root,
      // Standard output belongs to what runs afterwards.
      stdio: ['ignore', 2, 2],
      // npm hands its settings to scripts through the environment, and `npm test --omit=dev` would strip the tests of tap.
      env: { ...process.env, NODE_ENV: 'development' },
    })
    if (result.status !== 0) {
      throw new PrepareError(
        `the packages could not be installed: \`npm ci\` ${howItEnded(result)} (see its messages above)`,
      )
    }
  }
  writeFileSync(stamp, lockHash)
}

/*
 * Build. What decides is a list of the sources with their sizes and times, so a
 * file that was removed or renamed is noticed as well: then the whole build is
 * made anew, because a test left over in dist/ would go on being run.
 */

function build() {
  const stamp = path.join(root, 'dist', '.built')
  const sources = new Map([describe('tsconfig.json'), describe('package-lock.json')])
  for (const folder of sourceFolders) listSources(folder, sources)
  const state = [...sources].map((nameAndState) => nameAndState.join('\t')).join('\n')
  const built = readIfThere(stamp)
  if (built === state) return
  const isGone = (/** @type {string} */ line) => !sources.has(line.split('\t')[0] ?? '')
  if (built === undefined || built.split('\n').some(isGone)) {
    rmSync(path.join(root, 'dist'), { recursive: true, force: true })
  }
  console.error('thaw: building')
  const result = spawnSync(process.execPath, [toolPath('typescript/bin/tsc'), '-p', root], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  })
  if (result.status !== 0)
    throw new PrepareError(`the build failed: tsc ${howItEnded(result)} (see its messages above)`)
  mkdirSync(path.dirname(stamp), { recursive: true })
  writeFileSync(stamp, state)
}

/**
 * @param {string} folder relative to the root
 * @param {Map<string, string>} into
 */
function listSources(folder, into) {
  for (const entry of readdirSync(path.join(root, folder), { withFileTypes: true })) {
    const file = path.join(folder, entry.name)
    if (entry.isDirectory()) listSources(file, into)
    else if (entry.name.endsWith('.ts')) into.set(...describe(file))
  }
}

/**
 * @param {string} file relative to the root
 * @returns {[name: string, state: string]}
 */
function describe(file) {
  const { size, mtimeMs } = statSync(path.join(root, file))
  return [file, `${size} ${mtimeMs}`]
}

function readIfThere(/** @type {string} */ file) {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}

function timeOf(/** @type {string} */ file) {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0
}

/** @param {import('node:child_process').SpawnSyncReturns<unknown>} result */
function howItEnded(result) {
  if (result.error !== undefined) return `could not be started (${result.error.message})`
  if (result.signal !== null) return `was ended by ${result.signal}`
  return `ended with exit code ${result.status}`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await runMain(prepare)
