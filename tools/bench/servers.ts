/**
 * The servers under comparison, each started on a directory of its own. What
 * they are given is equal: a disk of the same size, a unix socket, and a cache
 * that is written back.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { ControlClient } from '../control-client.ts'
import { output } from './fio.ts'

const startMillisMax = 120_000

export interface Server {
  readonly name: string
  readonly pid: number
  /** Of the disk, as fio takes it. */
  readonly uri: string
  stop(): Promise<void>
}

export interface ThawServer extends Server {
  readonly controlPath: string
  readonly dataDirectory: string
  uriOf(exportName: string): string
}

export interface ThawOptions {
  /** Where its store and sockets are; made when it is not there. */
  readonly directory: string
  readonly name?: string
  /** A disk `disk0` to be made in it. */
  readonly disk?: { readonly sizeBytes: number; readonly chunkBytes?: number }
  readonly arguments?: readonly string[]
  /** For node, as `--cpu-prof`. */
  readonly nodeArguments?: readonly string[]
}

export async function startThaw(options: ThawOptions): Promise<ThawServer> {
  const { directory, disk } = options
  mkdirSync(directory, { recursive: true })
  const socket = join(directory, 'nbd.sock')
  const controlPath = join(directory, 'control.sock')
  const dataDirectory = join(directory, 'data')
  const program = process.env['THAWD'] ?? fileURLToPath(new URL('../../daemon/thawd.js', import.meta.url))
  const places = ['--data', dataDirectory, '--listen-unix', socket, '--listen', 'none', '--control', controlPath]
  const child = spawn(
    process.execPath,
    [
      ...(options.nodeArguments ?? []),
      program,
      ...['--init', '--log-level', 'warning', ...places, ...(options.arguments ?? [])],
    ],
    { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, UV_THREADPOOL_SIZE: '16' } },
  )
  await listening(child, 'thawd', controlPath)
  if (disk !== undefined) {
    await using control = await ControlClient.connect(controlPath)
    await control.call('disk.create', { name: 'disk0', ...disk })
  }
  return {
    ...serverOf(child, options.name ?? 'thaw', (name) => `nbd+unix:///${name}?socket=${socket}`),
    controlPath,
    dataDirectory,
    uriOf: (name) => `nbd+unix:///${name}?socket=${socket}`,
  }
}

export async function startQemu(directory: string, sizeBytes: number): Promise<Server> {
  mkdirSync(directory, { recursive: true })
  const image = join(directory, 'image.qcow2')
  const socket = join(directory, 'nbd.sock')
  await output('qemu-img', ['create', '-q', '-f', 'qcow2', image, String(sizeBytes)])
  const args = ['--format=qcow2', '--cache=writeback', '--persistent', '--shared=8', '--export-name=disk0']
  const child = spawn('qemu-nbd', [...args, `--socket=${socket}`, image], { stdio: ['ignore', 'ignore', 'inherit'] })
  await listening(child, 'qemu-nbd', socket)
  return serverOf(child, 'qemu-nbd', (name) => `nbd+unix:///${name}?socket=${socket}`)
}

function serverOf(child: ChildProcess, name: string, uriOf: (name: string) => string): Server {
  return {
    name,
    pid: child.pid!,
    uri: uriOf('disk0'),
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGTERM')
      await once(child, 'exit')
    },
  }
}

async function listening(child: ChildProcess, name: string, socket: string): Promise<void> {
  const failed = new Promise<never>((_, reject) => {
    child.once('error', reject)
    child.once('exit', (code) => reject(new Error(`${name} ended with ${code} before it listened`)))
  })
  failed.catch(() => {})
  const until = performance.now() + startMillisMax
  while (!existsSync(socket)) {
    if (performance.now() > until) {
      child.kill('SIGKILL')
      throw new Error(`${name} does not listen at ${socket} after ${startMillisMax / 1000} s`)
    }
    await Promise.race([failed, sleep(20)])
  }
}
