/**
 * Sockets that systemd opened for us (`sd_listen_fds(3)`): descriptors from 3 on,
 * counted by $LISTEN_FDS, meant for the process $LISTEN_PID, told apart by the
 * names in $LISTEN_FDNAMES, which the socket units set with FileDescriptorName=.
 *
 * They need no readiness message: clients that come early wait in the socket's
 * queue. (Node has no datagram unix sockets, so sd_notify is out of reach.)
 */
import { fstatSync, readFileSync } from 'node:fs'
import { UsageError } from './usage-error.ts'

export interface ActivatedSocket {
  readonly descriptor: number
  readonly purpose: 'nbd' | 'control'
  /** The path of a unix socket; null when it is a TCP socket. */
  readonly path: string | null
}

const firstDescriptor = 3

/**
 * The sockets passed to this process. Takes the variables out of `environment`,
 * so that no child takes the sockets for its own. Throws UsageError when a name is not known.
 */
export function activatedSockets(environment: NodeJS.ProcessEnv, processId: number): ActivatedSocket[] {
  const { LISTEN_PID: forProcess, LISTEN_FDS: count, LISTEN_FDNAMES: list } = environment
  delete environment['LISTEN_PID']
  delete environment['LISTEN_FDS']
  delete environment['LISTEN_FDNAMES']
  // Left over from a parent that was activated itself.
  if (forProcess !== String(processId) || count === undefined) return []
  const names = list?.split(':') ?? []
  return Array.from({ length: Number(count) || 0 }, (_, index) => {
    const descriptor = firstDescriptor + index
    return { descriptor, purpose: purposeOf(names[index], descriptor), path: unixPath(descriptor) }
  })
}

function purposeOf(name: string | undefined, descriptor: number): 'nbd' | 'control' {
  if (name === 'control') return 'control'
  if (name === 'nbd' || name === 'nbd-tcp') return 'nbd'
  throw new UsageError(
    `systemd passed descriptor ${descriptor} with the name '${name ?? ''}', and thawd does not know what it is for; ` +
      'set FileDescriptorName= to nbd or control in the socket unit',
  )
}

/**
 * The path that a unix socket is bound to, for the log and `status`: the kernel
 * lists them by inode. `unix` when it does not say; null for another kind of socket.
 */
function unixPath(descriptor: number): string | null {
  const { ino } = fstatSync(descriptor, { bigint: true })
  // Num RefCount Protocol Flags Type St Inode Path
  for (const line of readFileSync('/proc/net/unix', 'utf8').split('\n')) {
    const fields = line.split(/\s+/)
    if (fields[6] === String(ino)) return fields.slice(7).join(' ') || 'unix'
  }
  return null
}
