/**
 * What `attach` and `detach` need of the machine: files under /proc, /sys and
 * /dev, other programs, and time. Tests give a directory that looks like a
 * machine and a runner that plays nbd-client.
 */
import { execFile, spawn } from 'node:child_process'
import {
  accessSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import type { Server } from 'node:net'
import { join } from 'node:path'
import { refused } from './failure.ts'

export interface Finished {
  /** Null when it was ended by a signal. */
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A program of ours that goes on running. */
export interface Launched {
  readonly pid: number
  /** What it said when it was ready; null when it ended instead. */
  readonly line: string | null
  /** What it wrote to its log until then. */
  readonly messages: string
}

export interface System {
  /** The effective user; 0 is root. */
  readonly uid: number
  /** Directories where programs may be. */
  readonly programDirectories: readonly string[]
  /** The text of a file, or null when it is not there (any more). */
  read(path: string): string | null
  /** The names in a directory; none when it is not there. */
  list(path: string): string[]
  isExecutable(path: string): boolean
  /** Runs a program without a shell. */
  run(file: string, args: readonly string[]): Promise<Finished>
  /**
   * Starts a script with this Node, in the background and for good, with
   * standard error in a new file `log`, and waits for its first line.
   */
  launch(words: readonly string[], log: string): Promise<Launched>
  /** For root alone; may be there already. */
  makeDirectory(path: string): void
  /** Removes a file that may not be there. */
  remove(path: string): void
  /** Sends SIGTERM; a process that is gone already is as good. */
  terminate(pid: number): void
  sleep(millis: number): Promise<void>
  /** Runs `work` while no other process on this machine runs work under that name. Throws Failure ATTACH_BUSY when there is one for too long. */
  exclusively<T>(name: string, work: () => Promise<T>): Promise<T>
}

/** The machine itself. */
export function realSystem(): System {
  return {
    uid: process.geteuid?.() ?? -1,
    programDirectories: [
      ...new Set([
        ...(process.env['PATH'] ?? '').split(':').filter((each) => each.startsWith('/')),
        '/usr/local/sbin',
        '/usr/sbin',
        '/sbin',
      ]),
    ],
    ...filesUnder('/'),
    run: (file, args) =>
      new Promise((resolve, reject) => {
        execFile(file, args, { timeout: runMillisMax }, (error, stdout, stderr) => {
          const code = error === null ? 0 : error.code
          if (typeof code === 'string') reject(error)
          else resolve({ status: code ?? null, stdout, stderr })
        })
      }),
    launch,
    makeDirectory: (path) => mkdirSync(path, { recursive: true, mode: 0o700 }),
    remove: (path) => rmSync(path, { force: true }),
    terminate: (pid) => ignoreErrors(() => process.kill(pid, 'SIGTERM')),
    sleep: (millis) => new Promise((resolve) => setTimeout(resolve, millis)),
    exclusively,
  }
}

async function launch(words: readonly string[], log: string): Promise<Launched> {
  const messages = openSync(log, 'w', 0o600)
  const child = spawn(process.execPath, words, { detached: true, cwd: '/', stdio: ['ignore', 'pipe', messages] })
  closeSync(messages)
  const { stdout } = child
  if (stdout === null) throw new Error('a pipe was asked for')
  let said = ''
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject)
    stdout.on('data', (piece: Buffer) => {
      said += piece.toString()
      if (said.includes('\n')) resolve()
    })
    stdout.once('close', resolve)
  })
  stdout.destroy()
  child.unref()
  const pid = child.pid ?? 0
  const ready = said.includes('\n')
  // A disk hangs on it: when memory runs out, others go first. Who may not say so does without.
  if (ready) ignoreErrors(() => writeFileSync(`/proc/${pid}/oom_score_adj`, '-900'))
  return { pid, line: ready ? (said.split('\n')[0] ?? '') : null, messages: readFileSync(log, 'utf8') }
}

function ignoreErrors(work: () => void): void {
  try {
    work()
  } catch {
    // As promised.
  }
}

/** nbd-client goes into the background once it is connected; one that has not by then hangs. */
const runMillisMax = 60_000

/** Longer than one attach can take. */
const exclusiveWaitMillisMax = 2 * runMillisMax

/** The files of a machine whose root directory is `root`. */
export function filesUnder(root: string): Pick<System, 'read' | 'list' | 'isExecutable'> {
  return {
    read: (path) => {
      try {
        return readFileSync(join(root, path), 'utf8')
      } catch {
        return null
      }
    },
    list: (path) => {
      try {
        return readdirSync(join(root, path))
      } catch {
        return []
      }
    },
    isExecutable: (path) => {
      try {
        accessSync(join(root, path), constants.X_OK)
        return true
      } catch {
        return false
      }
    },
  }
}

/**
 * A name in the abstract namespace of unix sockets: only one process can have it, and it is free again when that one
 * ends, however it ends. Anybody may take such a name, hence the limit.
 */
export async function exclusively<T>(
  name: string,
  work: () => Promise<T>,
  waitMillisMax = exclusiveWaitMillisMax,
): Promise<T> {
  const start = performance.now()
  let server = await takeName(name)
  while (server === null) {
    if (performance.now() - start > waitMillisMax) {
      throw refused('ATTACH_BUSY', `another process has held the lock @${name} for too long (ss -xlp shows which)`)
    }
    await new Promise((resolve) => setTimeout(resolve, 100))
    server = await takeName(name)
  }
  try {
    return await work()
  } finally {
    server.close()
  }
}

/** Takes the name; null when another process has it. */
function takeName(name: string): Promise<Server | null> {
  const server = createServer()
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(null) : reject(error),
    )
    server.listen(`\0${name}`, () => resolve(server))
  })
}
