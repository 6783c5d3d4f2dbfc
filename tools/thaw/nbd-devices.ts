/** The kernel's nbd devices, as /sys, /proc and the command lines of nbd-client tell of them. */
import { keptServer } from './keeper.ts'
import { readCommandLine } from './nbd-client-flags.ts'
import type { System } from './system.ts'

export interface NbdDevice {
  /** `/dev/nbd0`. */
  readonly device: string
  /** Bytes; 0 while nothing is attached. */
  readonly sizeBytes: number
  readonly readOnly: boolean
  /** The kernel has a connection, or waits for its return. */
  readonly connected: boolean
  /** The nbd-client that holds it; null over netlink, where it has ended. */
  readonly client: NbdClient | null
}

export interface NbdClient {
  readonly pid: number
  readonly exportName: string
  /** The daemon's address, `HOST:PORT` or the path of a socket; what is in between is left out. */
  readonly address: string
}

/** All devices, the unused ones too, in the order of their numbers. */
export function nbdDevices(system: System): NbdDevice[] {
  const clients = nbdClients(system)
  return system
    .list('/sys/block')
    .filter((name) => /^nbd[0-9]+$/.test(name))
    .sort((a, b) => Number(a.slice(3)) - Number(b.slice(3)))
    .map((name) => {
      const device = `/dev/${name}`
      return {
        device,
        // In units of 512 bytes, whatever the block size.
        sizeBytes: Number(system.read(`/sys/block/${name}/size`) ?? 0) * 512,
        readOnly: system.read(`/sys/block/${name}/ro`)?.trim() === '1',
        connected: system.read(`/sys/block/${name}/pid`) !== null,
        client: clients.get(device) ?? null,
      }
    })
}

/** Attached, or held by an nbd-client that is trying to reconnect. */
export function isUsed({ connected, client, sizeBytes }: NbdDevice): boolean {
  return connected || client !== null || sizeBytes > 0
}

/** The running nbd-clients by device. The helper that each forks for a moment has the same command line; the first process counts. */
function nbdClients(system: System): Map<string, NbdClient> {
  const clients = new Map<string, NbdClient>()
  const servers = new Map<string, string>()
  const pids = system
    .list('/proc')
    .filter((name) => /^[0-9]+$/.test(name))
    .map(Number)
  for (const pid of pids.sort((a, b) => a - b)) {
    const words = system.read(`/proc/${pid}/cmdline`)?.split('\0').slice(0, -1) ?? []
    const kept = keptServer(words)
    if (kept !== null) servers.set(kept.socket, kept.server)
    if (system.read(`/proc/${pid}/comm`)?.trim() !== 'nbd-client') continue
    const told = readCommandLine(words)
    if (told === null || told.netlink || clients.has(told.device)) continue
    clients.set(told.device, { pid, exportName: told.exportName, address: told.address })
  }
  for (const [device, client] of clients) {
    clients.set(device, { ...client, address: servers.get(client.address) ?? client.address })
  }
  return clients
}

/** Why a device cannot be let go yet, in words that end `... is in use: `; none when it can. */
export function usesOf(system: System, device: string): string[] {
  const name = device.slice('/dev/'.length)
  const directory = `/sys/block/${name}`
  const partitions = system.list(directory).filter((each) => each.startsWith(`${name}p`))
  const parts = [
    { device, directory },
    ...partitions.map((each) => ({ device: `/dev/${each}`, directory: `${directory}/${each}` })),
  ]
  const mounts = mountPoints(system)
  const swaps = (system.read('/proc/swaps') ?? '').split('\n').map((line) => line.split(/\s/)[0])
  return parts.flatMap((part) => {
    const number = system.read(`${part.directory}/dev`)?.trim()
    const points = mounts
      .filter((mount) => mount.number === number || mount.source === part.device)
      .map(({ point }) => point)
    return [
      ...points.map((point) => `${part.device} is mounted at ${point}`),
      ...(swaps.includes(part.device) ? [`${part.device} is swap space`] : []),
      ...system.list(`${part.directory}/holders`).map((holder) => `${part.device} is held by /dev/${holder}`),
    ]
  })
}

export interface Mount {
  /** `major:minor`. */
  readonly number: string
  readonly point: string
  /** What was mounted; btrfs tells its device only here. */
  readonly source: string
}

/** See proc_pid_mountinfo(5): fields before ` - ` vary in number, those after it do not. */
function mountPoints(system: System): Mount[] {
  const lines = (system.read('/proc/self/mountinfo') ?? '').split('\n').filter((line) => line !== '')
  return lines.map((line) => {
    const [before = '', after = ''] = line.split(' - ')
    const fields = before.split(' ')
    return { number: fields[2] ?? '', point: unescaped(fields[4] ?? ''), source: unescaped(after.split(' ')[1] ?? '') }
  })
}

/** Spaces and the like stand there as `\040`. */
function unescaped(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)))
}
