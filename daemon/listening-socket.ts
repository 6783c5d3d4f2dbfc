/**
 * One socket that listens, for NBD or for the control protocol: TCP, unix, or
 * one that systemd opened. It listens before the daemon can answer, so that a
 * client that reconnects during a restart waits in a queue and is not refused:
 * connections are kept until `serve` says who takes them.
 */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { ActivatedSocket } from './activation.ts'
import { beyondLoopback, formatAddress, isLoopback, type ListenAddress } from './listen-address.ts'
import { clearSocketPath, socketInUse } from './unix-socket.ts'

/** The address as `status` lists it. */
export type BoundAddress =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string }

/** Those that come while the store is recovered. More are closed, and try again. */
const earlyConnectionsMax = 1024

/** A silent peer that is gone is noticed by keepalive, first asked after so long. An idle one is never dropped. */
const keepAliveMillis = 60_000

/** 0660 for unix sockets: owner and group may connect, nobody else. */
const socketUmask = 0o117

export class ListeningSocket {
  readonly address: BoundAddress
  /** `127.0.0.1:10809`, or the path. */
  readonly name: string
  /** Null for a unix socket. */
  readonly port: number | null
  readonly #server: Server
  #early: Socket[] | null = []

  private constructor(server: Server, address: BoundAddress) {
    this.#server = server
    this.address = address
    this.name = address.kind === 'tcp' ? formatAddress(address) : address.path
    this.port = address.kind === 'tcp' ? address.port : null
    server.on('connection', (socket: Socket) => {
      if (this.#early === null) return
      // Without somebody to listen, a client that gives up now would end the process.
      socket.on('error', () => {})
      if (this.#early.length < earlyConnectionsMax) this.#early.push(socket)
      else socket.destroy()
    })
    // An accept that fails (no descriptors left) is tried again by Node; the queue keeps the client.
    server.on('error', () => {})
  }

  /** Rejects with one line that says what to do. `host` is an IP address. */
  static async tcp(where: ListenAddress): Promise<ListeningSocket> {
    const server = newServer()
    try {
      await listening(server, () => server.listen({ ...where, exclusive: true }))
    } catch (error) {
      throw tcpRefusal(formatAddress(where), error as NodeJS.ErrnoException)
    }
    const { address: host, port } = server.address() as AddressInfo
    return new ListeningSocket(server, { kind: 'tcp', host, port })
  }

  /** Mode 0660. Only with the store's lock held: a dead socket at that path is replaced. */
  static async unix(path: string): Promise<ListeningSocket> {
    const server = newServer()
    try {
      await clearSocketPath(path)
      await listening(server, () => {
        // Node binds before `listen` returns, so the mode is right from the first moment.
        const umask = process.umask(socketUmask)
        try {
          server.listen({ path })
        } finally {
          process.umask(umask)
        }
      })
    } catch (error) {
      throw unixRefusal(path, error as NodeJS.ErrnoException)
    }
    return new ListeningSocket(server, { kind: 'unix', path })
  }

  /** Throws UsageError when others than this machine could reach it and `insecure` was not said. */
  static async activated({ descriptor, path }: ActivatedSocket, insecure: boolean): Promise<ListeningSocket> {
    const server = newServer()
    await listening(server, () => server.listen({ fd: descriptor }))
    if (path !== null) return new ListeningSocket(server, { kind: 'unix', path })
    const { address: host, port } = server.address() as AddressInfo
    if (insecure || isLoopback(host)) return new ListeningSocket(server, { kind: 'tcp', host, port })
    server.close()
    throw beyondLoopback(`the socket ${formatAddress({ host, port })} that systemd passed`)
  }

  /** From now on connections go to `accept`, those that came early first. */
  serve(accept: (socket: Socket, listener: ListeningSocket) => void): void {
    const early = this.#early ?? []
    this.#early = null
    this.#server.on('connection', (socket: Socket) => accept(socket, this))
    for (const socket of early) {
      socket.removeAllListeners('error')
      if (!socket.destroyed) accept(socket, this)
    }
  }

  /** Listens no more; a unix socket that was made here is removed. Connections that somebody took go on. */
  close(): void {
    for (const socket of this.#early ?? []) socket.destroy()
    this.#server.close()
  }
}

/** Half-open, so that a client that has said all it wants still gets its answers. Options for TCP do nothing on unix sockets. */
function newServer(): Server {
  return createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMillis })
}

function listening(server: Server, listen: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.once('listening', () => {
      server.off('error', reject)
      resolve()
    })
    listen()
  })
}

function tcpRefusal(name: string, error: NodeJS.ErrnoException): Error {
  const options = { cause: error }
  switch (error.code) {
    case 'EADDRINUSE':
      return new Error(
        `${name} is in use by another process (ss -ltnp shows which); stop it or --listen elsewhere`,
        options,
      )
    case 'EACCES':
      return new Error(
        `${name} may not be listened at (EACCES); ports below 1024 are root's: choose a higher one`,
        options,
      )
    case 'EADDRNOTAVAIL':
      return new Error(`${name} is no address of this machine (EADDRNOTAVAIL); ip address shows those it has`, options)
    default:
      return new Error(`${name} cannot be listened at (${error.code ?? error.message})`, options)
  }
}

function unixRefusal(path: string, error: NodeJS.ErrnoException): Error {
  switch (error.code) {
    // Said by `unix-socket.ts`.
    case undefined:
      return error
    case 'EADDRINUSE':
      return socketInUse(path)
    default:
      return new Error(
        `the socket ${path} cannot be made (${error.code}); check the directory and who may write there`,
        {
          cause: error,
        },
      )
  }
}
