/**
 * The order in which the daemon starts and stops, in one place.
 *
 *     start                                        stop
 *     1. TCP sockets and those of systemd listen   1. nobody new is accepted
 *     2. the store: lock, recovery                 2. NBD: requests under way are answered, then closed
 *     3. unix sockets, dead ones replaced          3. control: the same
 *     4. control and NBD are served                4. the store: everything flushed, however long it takes
 *
 * Clients that come between 1 and 4 wait, they are not refused: a client that
 * reconnects during a restart shall not give up. Unix sockets come after the
 * lock, because only its holder may replace one that a crash left behind.
 * Nothing waits for background work.
 */
import type { StoreContract, StoreEvent } from '../storage/contract.ts'
import type { StoreOptions } from '../storage/open.ts'
import type { ActivatedSocket } from './activation.ts'
import type { Configuration } from './configuration.ts'
import { ControlServer } from './control/server.ts'
import { Exports } from './exports.ts'
import {
  beyondLoopback,
  formatAddress,
  isLoopback,
  resolveListenAddress,
  type ListenAddress,
} from './listen-address.ts'
import { ListeningSocket } from './listening-socket.ts'
import type { Log } from './log.ts'
import { NbdListener } from './nbd-listener.ts'
import { nbdEvents } from './nbd-log.ts'
import { RequestLog } from './request-log.ts'
import { logStoreEvent } from './store-log.ts'
import { socketInUse, socketState } from './unix-socket.ts'
import { UsageError } from './usage-error.ts'

/** Where NBD is spoken when nobody says anything about it: its registered port, for this machine only. */
const listenDefault: ListenAddress = { host: '127.0.0.1', port: 10809 }

/** The store, and whether this opening made it. */
export type OpenedStore = StoreContract & { readonly created: boolean }

export interface DaemonOptions {
  readonly configuration: Configuration
  readonly activated: readonly ActivatedSocket[]
  readonly log: Log
  readonly version: string
  openStore(options: StoreOptions): Promise<OpenedStore>
  /** The store can accept nothing more; the process has to end. */
  onStoreFailed(error: Error): void
}

export class Daemon {
  readonly store: StoreContract
  /** Addresses and paths where NBD is spoken. */
  readonly listeners: readonly string[]
  /** Where the control socket is. */
  readonly controlPath: string
  readonly #log: Log
  readonly #sockets: readonly ListeningSocket[]
  readonly #nbd: NbdListener
  readonly #control: ControlServer
  readonly #requests: RequestLog
  #stopping: Promise<void> | null = null

  private constructor(parts: {
    store: StoreContract
    sockets: Sockets
    nbd: NbdListener
    control: ControlServer
    requests: RequestLog
    log: Log
  }) {
    const { nbd, control } = parts.sockets
    this.store = parts.store
    this.listeners = nbd.map(({ name }) => name)
    this.controlPath = control[0]?.name ?? ''
    this.#sockets = [...nbd, ...control]
    this.#nbd = parts.nbd
    this.#control = parts.control
    this.#requests = parts.requests
    this.#log = parts.log
  }

  /** Rejects with UsageError, StoreError, or an error of one line; then nothing is left open. */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const { configuration, activated, log, version } = options
    const startedAt = new Date()
    const events = new StoreEvents(options)
    const sockets: Sockets = { nbd: [], control: [] }
    let store: StoreContract | null = null
    try {
      await refuseLiveSockets(unixPaths(configuration, activated))
      await listenEarly(sockets, configuration, activated)
      for (const { name } of sockets.nbd) log.notice('listening for NBD', { listener: name })
      for (const { address, name } of sockets.nbd) {
        if (address.kind !== 'tcp' || isLoopback(address.host)) continue
        log.warning('anyone who reaches this address can read and write every disk: there is no TLS', {
          listener: name,
        })
      }

      store = await openStore(options, (event) => events.emit(event))
      const disks = store.disks().length
      log.notice('store opened', { data: configuration.dataDirectory, disks, snapshots: store.snapshots().length })

      const early = sockets.nbd.length
      await listenUnix(sockets, configuration, activated)
      for (const { name } of sockets.nbd.slice(early)) log.notice('listening for NBD', { listener: name })
      for (const { name } of sockets.control) log.notice('listening for control', { control: name })

      const { storeId } = await store.status()
      const exports = new Exports({ store, storeId })
      const requests = new RequestLog({ log, look: () => nbd.reportHanging() })
      const nbd: NbdListener = new NbdListener({
        exports,
        events: nbdEvents(log, requests),
        connectionsMax: configuration.connectionsMax,
      })
      const control = new ControlServer({
        store,
        version,
        startedAt,
        clients: () => exports.clients(),
        listeners: () =>
          sockets.nbd.map(({ address }) => (address.kind === 'tcp' ? { ...address, tls: 'off' } : address)),
        warnings: () => events.warnings,
        onStoreEvent: (listener) => events.listen(listener),
        log,
      })
      for (const socket of sockets.control) socket.serve((client) => control.accept(client))
      for (const socket of sockets.nbd) socket.serve((client, listener) => nbd.accept(client, listener))
      const millis = Date.now() - startedAt.getTime()
      log.notice('ready', { version, pid: process.pid, millis })
      return new Daemon({ store, sockets, nbd, control, requests, log })
    } catch (error) {
      for (const socket of [...sockets.nbd, ...sockets.control]) socket.close()
      await store?.close()
      throw error
    }
  }

  /** Resolves when everything is flushed and closed. Called twice it is the same stop. */
  stop(): Promise<void> {
    return (this.#stopping ??= this.#stop())
  }

  async #stop(): Promise<void> {
    for (const socket of this.#sockets) socket.close()
    await this.#nbd.stop()
    this.#requests.close()
    await this.#control.close()
    await this.store.close((dirtyBytes) => this.#log.notice('flushing before the end', { dirtyBytes }))
  }
}

/** Makes a store in a directory that has none, and closes it. */
export async function makeStore(options: DaemonOptions): Promise<void> {
  const { dataDirectory } = options.configuration
  const events = new StoreEvents(options)
  const store = await openStore(options, (event) => events.emit(event))
  await store.close()
  if (!store.created)
    throw new Error(`${dataDirectory} has a store already, and it was left as it is; --data says where else`)
}

interface Sockets {
  readonly nbd: ListeningSocket[]
  readonly control: ListeningSocket[]
}

/** The unix sockets to be made here, beside those that systemd passed. */
function unixPaths(
  configuration: Configuration,
  activated: readonly ActivatedSocket[],
): { nbd: readonly string[]; control: readonly string[] } {
  const { controlPath, controlPathGiven, listenUnix } = configuration
  const isActivated = activated.some(({ purpose }) => purpose === 'control')
  if (isActivated && !controlPathGiven) return { nbd: listenUnix, control: [] }
  if (controlPath === null) {
    throw new UsageError(
      'there is no place for the control socket, because $XDG_RUNTIME_DIR is not set; say --control PATH',
    )
  }
  return { nbd: listenUnix, control: [controlPath] }
}

/** Before the store is opened or even made: there is nothing to wait for at a path that somebody else answers at. */
async function refuseLiveSockets({
  nbd,
  control,
}: {
  nbd: readonly string[]
  control: readonly string[]
}): Promise<void> {
  for (const path of [...nbd, ...control]) {
    if ((await socketState(path)) === 'live') throw socketInUse(path)
  }
}

async function listenEarly(
  sockets: Sockets,
  configuration: Configuration,
  activated: readonly ActivatedSocket[],
): Promise<void> {
  const { insecure, listen, listenUnix } = configuration
  const saidNothing = listen === null && listenUnix.length === 0
  const isActivated = activated.some(({ purpose }) => purpose === 'nbd')
  for (const given of listen ?? (saidNothing && !isActivated ? [listenDefault] : [])) {
    const address = await resolveListenAddress(given)
    if (!insecure && !isLoopback(address.host)) throw beyondLoopback(`--listen ${formatAddress(given)}`)
    sockets.nbd.push(await ListeningSocket.tcp(address))
  }
  for (const socket of activated) sockets[socket.purpose].push(await ListeningSocket.activated(socket, insecure))
}

async function listenUnix(
  sockets: Sockets,
  configuration: Configuration,
  activated: readonly ActivatedSocket[],
): Promise<void> {
  const { nbd, control } = unixPaths(configuration, activated)
  for (const path of nbd) sockets.nbd.push(await ListeningSocket.unix(path))
  for (const path of control) sockets.control.push(await ListeningSocket.unix(path))
}

async function openStore(options: DaemonOptions, onEvent: (event: StoreEvent) => void): Promise<OpenedStore> {
  const { configuration } = options
  const { demoDisk, init, dataDirectory } = configuration
  const store = await options.openStore({
    directory: dataDirectory,
    init,
    cacheBytes: configuration.cacheBytes,
    hydrationRateDefault: configuration.hydrationRateDefault,
    hydrationRateTotal: configuration.hydrationRateTotal,
    ...(configuration.chunkBytesPlacement === null ? {} : { chunkBytesPlacement: configuration.chunkBytesPlacement }),
    compression: configuration.compression,
    inlineBytesMax: configuration.inlineBytesMax,
    ...(configuration.reserveBytes === null ? {} : { reserveBytes: configuration.reserveBytes }),
    onEvent,
  })
  if (!store.created || demoDisk === null) return store
  try {
    await store.createDisk(demoDisk)
    await store.setDefaultDisk(demoDisk.name)
  } catch (error) {
    await store.close()
    throw error
  }
  return store
}

/** The store has one listener; the process has several. */
class StoreEvents {
  readonly warnings: string[] = []
  readonly #listeners = new Set<(event: StoreEvent) => void>()
  readonly #log: Log
  readonly #onStoreFailed: (error: Error) => void

  constructor({ log, onStoreFailed }: DaemonOptions) {
    this.#log = log
    this.#onStoreFailed = onStoreFailed
  }

  emit(event: StoreEvent): void {
    logStoreEvent(this.#log, event)
    for (const listener of this.#listeners) listener(event)
    if (event.type !== 'failed') return
    this.warnings.push(`a write to the data directory failed and the daemon is ending: ${event.error.message}`)
    this.#onStoreFailed(event.error)
  }

  listen(listener: (event: StoreEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }
}
