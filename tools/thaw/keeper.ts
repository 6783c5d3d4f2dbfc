/**
 * The keeper of a device: a process between nbd-client and the daemon that
 * holds the kernel's connection while the daemon is restarted, because no flags
 * of nbd-client do that (test/machine/README.md). Each device has its own, and
 * it ends with its device.
 */
import { fileURLToPath } from 'node:url'
import type { ListenerInfo } from '../../daemon/control/wire.ts'
import { refused } from './failure.ts'
import { reachableHost } from './nbd-client-flags.ts'
import type { System } from './system.ts'

/** Root's alone: who can connect to a keeper can write the disk. Gone after a reboot, as the devices are. */
const directory = '/run/thaw-keeper'

const program = fileURLToPath(new URL('../thaw-keeper.js', import.meta.url))

export interface Keeper {
  readonly pid: number
  /** Where nbd-client is to connect. */
  readonly listener: ListenerInfo
}

/** Starts the keeper for a device that is not in use. Throws Failure when the daemon does not give the export. */
export async function startKeeper(
  system: System,
  { listener, exportName, device }: { listener: ListenerInfo; exportName: string; device: string },
): Promise<Keeper> {
  const name = device.slice('/dev/'.length)
  const path = `${directory}/${name}.sock`
  system.makeDirectory(directory)
  // Of a keeper that was killed: the device is not in use, so nobody can be behind it.
  system.remove(path)
  const words = [program, '--server', serverAddress(listener), '--export', exportName, '--listen', path]
  const { pid, line, messages } = await system.launch(words, `${directory}/${name}.log`)
  if (line === null) {
    const why = messages.trim().split('\n').at(-1) || 'it ended without a word'
    throw refused('KEEPER_FAILED', `the keeper of ${device} could not be started: ${why.replace(/^thaw-keeper: /, '')}`)
  }
  return { pid, listener: { kind: 'unix', path } }
}

/** Whom the keeper that listens at a path connects to, read from its command line; null when it is no keeper's. */
export function keptServer(words: readonly string[]): { readonly socket: string; readonly server: string } | null {
  const start = words.findIndex((word) => /(^|\/)thaw-keeper(\.js)?$/.test(word))
  if (start === -1) return null
  const valueOf = (option: string): string => words[words.indexOf(option, start) + 1] ?? ''
  return { socket: valueOf('--listen'), server: valueOf('--server') }
}

function serverAddress(listener: ListenerInfo): string {
  if (listener.kind === 'unix') return listener.path
  const host = reachableHost(listener.host)
  return `${host.includes(':') ? `[${host}]` : host}:${listener.port}`
}
