/**
 * Stands between one client, which cannot bear that its server goes away, and
 * the daemon: `KeptDevice` behind an NBD listener. It ends when its client
 * does.
 */

import { NBD_ERROR } from '../../protocol/constants.ts'
import { connectNbd } from '../../protocol/client/connect.ts'
import type { ServerPlace } from '../../protocol/client/connect.ts'
import type { Export, ExportTable } from '../../protocol/export.ts'
import { NbdListener } from '../../daemon/nbd-listener.ts'
import { ListeningSocket } from '../../daemon/listening-socket.ts'
import { KeptDevice } from './kept-device.ts'
import type { Upstream } from './kept-device.ts'

export interface KeeperOptions {
  readonly server: ServerPlace
  readonly exportName: string
  /** `host` is an IP address. */
  readonly listen: { readonly host: string; readonly port: number } | { readonly path: string }
  log(sentence: string): void
}

/** Nobody has come to be served within this time: whoever started the keeper has failed. */
const clientMillisMax = 30_000

/** The client has left while the server is away. So long it may still come back and take what the client had written. */
const serverMillisMax = 60_000
const lookMillis = 5_000

export class Keeper implements AsyncDisposable {
  /** Where it listens: `127.0.0.1:10809`, or the path. */
  readonly name: string
  /** Resolves when the client is leaving, or none has come. */
  readonly ended: Promise<void>
  readonly #device: KeptDevice
  readonly #listener: NbdListener
  readonly #socket: ListeningSocket
  readonly #timers: readonly NodeJS.Timeout[]

  private constructor(parts: {
    socket: ListeningSocket
    ended: Promise<void>
    device: KeptDevice
    listener: NbdListener
    timers: readonly NodeJS.Timeout[]
  }) {
    this.name = parts.socket.name
    this.#socket = parts.socket
    this.ended = parts.ended
    this.#device = parts.device
    this.#listener = parts.listener
    this.#timers = parts.timers
  }

  /** Rejects when the server or the export is not there now; later on it waits for them. */
  static async start(options: KeeperOptions): Promise<Keeper> {
    const { server, exportName, listen, log } = options
    const connect = async (): Promise<Upstream> => {
      const client = await connectNbd(server)
      try {
        return { client, info: await client.go(exportName) }
      } catch (error) {
        client.destroy()
        throw error
      }
    }
    const first = await connect()
    const device = new KeptDevice({ connect, first, log })
    const { size, readOnly, description, blockSize } = first.info
    const preferredBlockBytes = blockSize?.preferred ?? 4096
    const exported: Export = {
      ...{ name: exportName, description: description ?? '', size, readOnly, preferredBlockBytes, device },
      hold() {},
      release() {},
    }

    let end!: () => void
    const ended = new Promise<void>((resolve) => (end = resolve))
    const nobody = setTimeout(end, clientMillisMax)
    let aloneSince: number | null = null
    const look = setInterval(() => {
      const isAlone = listener.clients()[Symbol.iterator]().next().done === true
      aloneSince = isAlone ? (aloneSince ?? performance.now()) : null
      if (aloneSince !== null && performance.now() - aloneSince > serverMillisMax) end()
    }, lookMillis)
    const listener = new NbdListener({
      exports: oneExport(exported),
      events: {
        attached: () => clearTimeout(nobody),
        // Not when it is detached: what it asked for may wait for a server that is away, and nobody wants it any more.
        leaving: ({ exportName }) => {
          if (exportName !== null) end()
        },
      },
    })
    const timers = [nobody, look]
    try {
      const socket = await ('path' in listen ? ListeningSocket.unix(listen.path) : ListeningSocket.tcp(listen))
      socket.serve((client) => listener.accept(client, socket))
      return new Keeper({ socket, ended, device, listener, timers })
    } catch (error) {
      for (const timer of timers) clearTimeout(timer)
      await device.close()
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#socket.close()
    await Promise.all([this.#device.close(), this.#listener.stop()])
  }
}

function oneExport(exported: Export): ExportTable {
  const numbers: Readonly<Record<string, number>> = NBD_ERROR
  return {
    list: () => [exported],
    find: (name) => (name === exported.name || name === '' ? exported : undefined),
    // What the server said is said again.
    errorNumber: (error) => numbers[(error as { code?: string }).code ?? ''] ?? NBD_ERROR.EIO,
  }
}
