import type { DiskInfo, StoreContract } from '../../storage/contract.ts'
import type { Correspondent } from './method.ts'
import type { HydrationOutcome } from './wire.ts'

/** How often subscribers hear about progress when nothing remarkable happens. */
export const progressIntervalMillis = 1000

interface Subscription {
  number: number
  /** By id, so that renaming the disk changes nothing. */
  readonly diskId: number
  /** Its last known name. */
  disk: string
  readonly connection: Correspondent
}

/**
 * Tells subscribers how hydration gets on: about once a second, and at once
 * when told that something changed. What is said is read from the store at that
 * moment, so a subscriber never hears of a state that was not.
 */
export class ProgressFeed {
  readonly #store: StoreContract
  readonly #intervalMillis: number
  readonly #subscriptions = new Set<Subscription>()
  #timer: NodeJS.Timeout | undefined

  constructor(store: StoreContract, intervalMillis = progressIntervalMillis) {
    this.#store = store
    this.#intervalMillis = intervalMillis
  }

  /** Follows a disk until it stands alone; for one that does already, the end comes right after the present request was answered. */
  subscribe(disk: DiskInfo, connection: Correspondent): number {
    const subscription = { number: 0, diskId: disk.id, disk: disk.name, connection }
    subscription.number = connection.subscribed(() => this.#remove(subscription))
    this.#subscriptions.add(subscription)
    this.#timer ??= setInterval(() => this.#tellAll(), this.#intervalMillis).unref()
    if (disk.hydration === null) setImmediate(() => this.changed(disk.name))
    return subscription.number
  }

  /** Something about these disks changed (all of them without a name). */
  changed(disk?: string): void {
    this.#tellAll(disk)
  }

  /** The daemon is stopping. */
  close(): void {
    for (const subscription of [...this.#subscriptions]) this.#end(subscription, 'stopping')
  }

  #tellAll(only?: string): void {
    if (this.#subscriptions.size === 0) return
    const disks = new Map(this.#store.disks().map((disk) => [disk.id, disk]))
    for (const subscription of [...this.#subscriptions]) {
      const disk = disks.get(subscription.diskId)
      if (only !== undefined && only !== (disk?.name ?? subscription.disk)) continue
      this.#tell(subscription, disk)
    }
  }

  #tell(subscription: Subscription, disk: DiskInfo | undefined): void {
    if (disk === undefined) return this.#end(subscription, 'deleted')
    subscription.disk = disk.name
    const { hydration } = disk
    if (hydration === null) return this.#end(subscription, 'complete')
    const { connection, number } = subscription
    if (!connection.congested) connection.notify('hydration.progress', { subscription: number, hydration })
  }

  #end(subscription: Subscription, outcome: HydrationOutcome): void {
    const { connection, number, disk } = subscription
    connection.notify('hydration.end', { subscription: number, disk, outcome })
    this.#remove(subscription)
  }

  #remove(subscription: Subscription): void {
    this.#subscriptions.delete(subscription)
    subscription.connection.unsubscribed(subscription.number)
    if (this.#subscriptions.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
