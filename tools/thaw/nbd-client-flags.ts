/**
 * How nbd-client is to be run. Written for 3.24 (Debian 12) and true up to 3.27:
 *
 * - `-nonetlink`: over netlink, the default, nbd-client hands the connection to
 *   the kernel and ends, and nothing is left that could tell which export a
 *   device is, or take notice when the connection breaks. `-persist` is ignored.
 * - `-persist`: connect again after an error of the kernel's. It gives up when
 *   the size has changed, which is why disks are resized by detaching. It does
 *   *not* help when the server closes the connection: nbd-client then takes the
 *   device for disconnected on purpose (measured: test/machine/README.md). Hence
 *   the keeper in between (`keeper.ts`), which does not close it.
 * - one connection: of several, only the last would be connected again.
 * - no `-timeout`: requests wait for the daemon for as long as it takes. With
 *   one they fail, and the file system turns read-only.
 * - `-block-size 512`: what partition tables and images from elsewhere expect.
 *   File systems use 4 KiB by themselves. Said aloud because the default was
 *   1024 in older versions.
 */
import type { ListenerInfo } from '../../daemon/control/wire.ts'

export const blockBytes = 512

export interface Attachment {
  readonly listener: ListenerInfo
  /** `DISK` or `DISK@SNAPSHOT`. */
  readonly exportName: string
  /** `/dev/nbd0`. */
  readonly device: string
  readonly readOnly: boolean
}

/** The arguments that attach an export. */
export function attachArguments({ listener, exportName, device, readOnly }: Attachment): string[] {
  const address =
    listener.kind === 'unix' ? ['-unix', listener.path] : [reachableHost(listener.host), String(listener.port)]
  return [
    '-nonetlink',
    '-persist',
    '-block-size',
    String(blockBytes),
    ...(readOnly ? ['-readonly'] : []),
    '-name',
    exportName,
    ...address,
    device,
  ]
}

/** The arguments that let a device go; it must be done through the interface by which it was attached. */
export function detachArguments(device: string, netlink: boolean): string[] {
  return [...(netlink ? [] : ['-nonetlink']), '-disconnect', device]
}

/**
 * The listener to use, the unix socket before TCP: it is faster and its mode
 * says who may. Null when there is none that nbd-client can use like this: one
 * that insists on TLS, or a path with `=`, which nbd-client takes for an option.
 */
export function chooseListener(listeners: readonly ListenerInfo[]): ListenerInfo | null {
  const unix = listeners.find((each) => each.kind === 'unix' && !each.path.includes('='))
  return unix ?? listeners.find((each) => each.kind === 'tcp' && each.tls !== 'require') ?? null
}

/** What an nbd-client was told, read back from its command line; null when it attaches nothing. Understands what people type as well as what `attachArguments` gives. */
export function readCommandLine(words: readonly string[]): {
  device: string
  exportName: string
  address: string
  netlink: boolean
} | null {
  const withValue =
    /^--?(N|name|b|block-size|t|timeout|C|connections|B|size|A|cacertfile|F|certfile|K|keyfile|H|tlshostname)$/
  const plain: string[] = []
  let exportName = ''
  let netlink = true
  for (let index = 1; index < words.length; index++) {
    const word = words[index] ?? ''
    if (/^--?(d|disconnect|c|check|l|list)$/.test(word)) return null
    if (/^--?(L|nonetlink)$/.test(word)) netlink = false
    else if (withValue.test(word)) {
      index += 1
      if (/^--?(N|name)$/.test(word)) exportName = words[index] ?? ''
    } else if (!word.startsWith('-') && word !== '') plain.push(word)
  }
  const device = plain.find((word) => deviceName(word) !== null)
  if (device === undefined) return null
  const others = plain.filter((word) => word !== device)
  return { device: `/dev/${deviceName(device)}`, exportName, address: others.join(':'), netlink }
}

/** `nbd0` of `/dev/nbd0` or `nbd0`; null for anything else. */
export function deviceName(text: string): string | null {
  return /^(?:\/dev\/)?(nbd[0-9]{1,5})$/.exec(text)?.[1] ?? null
}

/** An address to listen at is not always one to connect to. */
export function reachableHost(host: string): string {
  if (host === '0.0.0.0' || host === '') return '127.0.0.1'
  return host === '::' ? '::1' : host
}
