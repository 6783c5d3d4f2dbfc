import { createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import t from 'tap'
import { NBD_ERROR } from '../../protocol/constants.ts'
import { connectNbd } from '../../protocol/client/connect.ts'
import type { Completion } from '../../protocol/export.ts'
import { NbdListener } from '../../daemon/nbd-listener.ts'
import { KeptDevice } from '../../tools/keeper/kept-device.ts'
import type { Upstream } from '../../tools/keeper/kept-device.ts'
import { MemoryDevice, TestExport, TestExports } from '../fixtures/memory-export.ts'

const size = 1 << 20

/** A device that answers later and in any order, and forgets in a crash what nobody has flushed. */
class ForgetfulDevice extends MemoryDevice {
  durable: Buffer
  /** What happens to the next requests: nothing at all. */
  silent = false
  readonly #random: () => number

  constructor(random: () => number, durable: Buffer) {
    super(size)
    this.#random = random
    this.durable = Buffer.from(durable)
    durable.copy(this.bytes)
  }

  override read(offset: number, into: Buffer, completion: Completion): void {
    super.read(offset, into, this.#later(completion))
  }

  override write(offset: number, payload: Buffer, fua: boolean, completion: Completion): void {
    if (this.silent && this.#random() < 0.5) return
    super.write(offset, payload, fua, this.#later(completion))
    if (fua) payload.copy(this.durable, offset)
  }

  override trim(offset: number, length: number, fua: boolean, completion: Completion): void {
    super.trim(offset, length, fua, this.#later(completion))
    if (fua) this.durable.fill(0, offset, offset + length)
  }

  override flush(completion: Completion): void {
    this.bytes.copy(this.durable)
    super.flush(this.#later(completion))
  }

  #later(completion: Completion): Completion {
    return {
      complete: (error) => {
        if (!this.silent) setTimeout(() => this.silent || completion.complete(error), this.#random() * 3)
      },
    }
  }
}

/** A server on one port, whose life can be ended and begun again. */
class MortalServer implements AsyncDisposable {
  device: ForgetfulDevice
  exportName = 'disk'
  size = size
  #server: Server | undefined
  #sockets = new Set<Socket>()
  #port = 0
  #nbd: NbdListener | undefined
  readonly #random: () => number

  constructor(random: () => number) {
    this.#random = random
    this.device = new ForgetfulDevice(random, Buffer.alloc(size))
  }

  async start(): Promise<void> {
    const exports = new TestExports(new TestExport(this.device, this.size, { name: this.exportName }))
    const nbd = new NbdListener({ exports })
    this.#nbd = nbd
    const { device } = this
    this.#server = createServer({ allowHalfOpen: true }, (socket) => {
      this.#sockets.add(socket)
      // Was accepted in the moment of a crash.
      if (device.silent) socket.destroy()
      nbd.accept(socket, { name: 'test', port: this.#port })
    })
    await new Promise<void>((resolve) => this.#server!.listen(this.#port, '127.0.0.1', resolve))
    this.#port = (this.#server.address() as AddressInfo).port
  }

  /** Nothing said after this is heard, and what was not flushed is gone. */
  crash(): void {
    this.device.silent = true
    this.#server?.close()
    for (const socket of this.#sockets) socket.destroy()
    this.#sockets.clear()
    this.device = new ForgetfulDevice(this.#random, this.device.durable)
  }

  async stop(): Promise<void> {
    this.#server?.close()
    await this.#nbd?.stop()
    this.#sockets.clear()
  }

  readonly connect = async (): Promise<Upstream> => {
    const client = await connectNbd({ host: '127.0.0.1', port: this.#port })
    try {
      return { client, info: await client.go('disk') }
    } catch (error) {
      client.destroy()
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.crash()
  }
}

function promised(request: (completion: Completion) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    request({ complete: (error) => (error === null ? resolve() : reject(error)) })
  })
}

/** Mulberry32. */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

t.test('a server that crashes and stops at any time is not noticed', async (t) => {
  const seed = Number(process.env['THAW_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
  t.comment(`THAW_TEST_SEED=${seed}`)
  const random = randomFrom(seed)
  await using server = new MortalServer(random)
  await server.start()
  // Little room, so that the device flushes by itself and holds answers back as well.
  const volatileBytesMax = 64 * 1024
  const device = new KeptDevice({ connect: server.connect, first: await server.connect(), log() {}, volatileBytesMax })
  const model = Buffer.alloc(size)
  let done = 0
  const rounds = 3_000

  // Each worker has a part of the disk for itself, as no sane client writes to one place twice at a time.
  const workers = 8
  const part = size / workers
  const work = async (worker: number): Promise<void> => {
    for (; done < rounds; done++) {
      const length = 1 + Math.floor(random() * 8192)
      const offset = worker * part + Math.floor(random() * (part - length))
      const kind = random()
      if (kind < 0.4) {
        const payload = Buffer.alloc(length, 1 + Math.floor(random() * 255))
        payload.copy(model, offset)
        const writing = promised((completion) => device.write(offset, payload, random() < 0.1, completion))
        // It was valid only during the call.
        payload.fill(0xee)
        await writing
      } else if (kind < 0.5) {
        model.fill(0, offset, offset + length)
        await promised((completion) => device.trim(offset, length, false, completion))
      } else if (kind < 0.6) {
        await promised((completion) => device.flush(completion))
      } else {
        const into = Buffer.alloc(length)
        await promised((completion) => device.read(offset, into, completion))
        if (!into.equals(model.subarray(offset, offset + length))) throw new Error(`wrong bytes at ${offset}`)
      }
    }
  }
  let restarts = 0
  const trouble = async (): Promise<void> => {
    while (done < rounds) {
      const target = done + 20 + Math.floor(random() * 100)
      while (done < target && done < rounds) await new Promise((resolve) => setImmediate(resolve))
      if (random() < 0.7) server.crash()
      else await server.stop()
      await server.start()
      restarts++
    }
  }
  await Promise.all([...Array.from({ length: workers }, (_, worker) => work(worker)), trouble()])
  await promised((completion) => device.flush(completion))
  t.ok(restarts > 10, `${restarts} restarts`)
  t.ok(server.device.durable.equals(model))
  await device.close()
})

t.test('what is refused stays refused', async (t) => {
  await using server = new MortalServer(Math.random)
  server.device.write = (_offset, _payload, _fua, completion) => {
    completion.complete(Object.assign(new Error('full'), { number: NBD_ERROR.ENOSPC }))
  }
  await server.start()
  const device = new KeptDevice({ connect: server.connect, first: await server.connect(), log() {} })
  await t.rejects(
    promised((completion) => device.write(0, Buffer.alloc(512), false, completion)),
    { code: 'ENOSPC' },
  )
  await device.close()
})

t.test('a disk that is smaller when the server comes back is not used', async (t) => {
  await using server = new MortalServer(Math.random)
  await server.start()
  const said: string[] = []
  const log = (sentence: string): void => void said.push(sentence)
  const device = new KeptDevice({ connect: server.connect, first: await server.connect(), log })
  server.crash()
  const reading = promised((completion) => device.read(0, Buffer.alloc(512), completion))
  server.size = size / 2
  await server.start()
  await t.rejects(reading, { code: 'EIO' })
  await t.rejects(
    promised((completion) => device.flush(completion)),
    { code: 'EIO' },
  )
  t.match(said.at(-1), /smaller/)
  await device.close()
})
