/**
 * Where replies are built. Replies that are made one after another lie one
 * after another in a slab, header and data together, so that a whole batch
 * leaves as one piece of memory in one system call, and a device reads straight
 * into the bytes that leave.
 *
 *   slab  | header | data 4 KiB | header | header | data 4 KiB |      free      |
 *           READ                  WRITE    READ                  ^ used
 *
 * A slab counts the replies in it; when the last has left it starts anew.
 */

/** Room for a few of the requests of 256 KiB that nbdcopy sends, small enough to stay in a processor's cache with small ones. */
const slabBytes = 1024 * 1024
/** A longer reply gets a slab of its own, which is not kept. */
const sharedReplyBytesMax = slabBytes / 2

export class Slab {
  readonly buffer: Buffer
  used = 0
  /** Replies in it that have not left yet. */
  living = 0

  constructor(bytes: number) {
    // Not from Node's pool, and not cleared: every byte that leaves was written.
    this.buffer = Buffer.allocUnsafeSlow(bytes)
  }
}

/** Slabs that nobody uses at the moment, shared by all connections of a server. */
export class SlabPool {
  readonly #free: Slab[] = []
  readonly #countMax: number

  /** @param bytesMax memory that may lie idle */
  constructor(bytesMax: number = 16 * slabBytes) {
    this.#countMax = Math.floor(bytesMax / slabBytes)
  }

  take(): Slab {
    return this.#free.pop() ?? new Slab(slabBytes)
  }

  give(slab: Slab): void {
    if (slab.buffer.length !== slabBytes || this.#free.length >= this.#countMax) return
    slab.used = 0
    this.#free.push(slab)
  }
}

/** The slabs of one connection: one that is being filled, and those whose replies have not all left. */
export class ReplyArena {
  readonly #pool: SlabPool
  #current: Slab | null = null

  constructor(pool: SlabPool) {
    this.#pool = pool
  }

  /** The slab in which the next reply of that many bytes is built, from `used` on; the caller moves `used` and `living`. */
  slabFor(bytes: number): Slab {
    const current = this.#current
    if (current !== null && current.buffer.length - current.used >= bytes) return current
    if (bytes > sharedReplyBytesMax) return new Slab(bytes)
    return (this.#current = this.#pool.take())
  }

  /** So many replies have left the slab, or never will. */
  release(slab: Slab, replies: number): void {
    slab.living -= replies
    if (slab.living > 0) return
    if (slab === this.#current) this.#current = null
    this.#pool.give(slab)
  }
}
