/** `HOST:PORT` of a TCP listener, and whether that host is this machine's own. */
import { lookup } from 'node:dns/promises'
import { BlockList, isIP } from 'node:net'
import { UsageError } from './usage-error.ts'

export interface ListenAddress {
  /** An address or a name, without brackets. */
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

/** `127.0.0.1:10809`, `[::1]:10809`, `localhost:10809`. `where` names the option in the error. */
export function parseListenAddress(text: string, where: string): ListenAddress {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(text.trim())
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  if (host === undefined || !(port <= 65535) || (match?.[1] !== undefined && isIP(host) !== 6)) {
    throw new UsageError(
      `${where} ${text} is not an address; write HOST:PORT, like 127.0.0.1:10809 or [::1]:10809, or none`,
    )
  }
  return { host, port }
}

/** The same with the host as an IP address. Names are looked up here, so that what is checked is what is bound. */
export async function resolveListenAddress({ host, port }: ListenAddress): Promise<ListenAddress> {
  if (isIP(host) !== 0) return { host, port }
  try {
    return { host: (await lookup(host)).address, port }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new UsageError(`--listen ${host}:${port}: there is no address for '${host}' (${code}); write an IP address`)
  }
}

/** Whether only this machine can reach that IP address. */
export function isLoopback(address: string): boolean {
  const bare = address.replace(/^::ffff:(?=[0-9.]+$)/i, '')
  const family = isIP(bare)
  return family !== 0 && loopback.check(bare, family === 6 ? 'ipv6' : 'ipv4')
}

/** The refusal of an address that others can reach, for which `--insecure` was not said. */
export function beyondLoopback(what: string): UsageError {
  return new UsageError(
    `${what} is refused: it is not a loopback address, and without TLS anyone who reaches it can read and write every disk; ` +
      'listen on 127.0.0.1 or [::1], or add --insecure if that network is trusted',
  )
}

/** `127.0.0.1:10809`, `[::1]:10809`. */
export function formatAddress({ host, port }: ListenAddress): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`
}
