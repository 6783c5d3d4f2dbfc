import t from 'tap'
import { NBD_ERROR } from '../../protocol/constants.ts'
import type { Completion } from '../../protocol/export.ts'
import { KeptDevice } from '../../tools/keeper/kept-device.ts'
import { describeExport } from '../../daemon/export-description.ts'
import { LateDevice } from '../fixtures/late-device.ts'
import { MemoryDevice } from '../fixtures/memory-export.ts'
import { MortalServer, promised } from '../fixtures/mortal-server.ts'
import { Random, printSeed } from '../fixtures/random.ts'

const size = 1 << 20

/** A device that answers later and in any order, and forgets in a crash what nobody has flushed. */
class ForgetfulDevice extends MemoryDevice {
  durable: Buffer
  /** What happens to the next requests: nothing at all. */
  silent = false
  readonly #random: () => number

  constructor(random: () => number, durable: Buffer = Buffer.alloc(size)) {
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

/** Takes no writes any more. */
class FullDevice extends MemoryDevice {
  override write(_offset: number, _payload: Buffer, _fua: boolean, completion: Completion): void {
    completion.complete(Object.assign(new Error('full'), { number: NBD_ERROR.ENOSPC }))
  }
}

t.test('a server that crashes and stops at any time is not noticed', async (t) => {
  const numbers = new Random(printSeed(t))
  const random = (): number => numbers.next() / 2 ** 32
  let forgetful = new ForgetfulDevice(random)
  await using server = new MortalServer(forgetful, size)
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
      if (random() < 0.7) {
        // Nothing said after this is heard, and what was not flushed is gone.
        forgetful.silent = true
        server.crash()
        server.device = forgetful = new ForgetfulDevice(random, forgetful.durable)
      } else await server.stop()
      await server.start()
      restarts++
    }
  }
  await Promise.all([...Array.from({ length: workers }, (_, worker) => work(worker)), trouble()])
  await promised((completion) => device.flush(completion))
  t.ok(restarts > 10, `${restarts} restarts`)
  t.ok(forgetful.durable.equals(model))
  await device.close()
})

t.test('what is refused stays refused', async (t) => {
  await using server = new MortalServer(new FullDevice(size), size)
  await server.start()
  const device = new KeptDevice({ connect: server.connect, first: await server.connect(), log() {} })
  await t.rejects(
    promised((completion) => device.write(0, Buffer.alloc(512), false, completion)),
    { code: 'ENOSPC' },
  )
  await device.close()
})

t.test('a disk that is smaller when the server comes back is not used', async (t) => {
  await using server = new MortalServer(new MemoryDevice(size), size)
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

// What follows is about the order of things, each with a device that answers when it is told to.

t.test('a flush that was under way when a write was lost does not say that it is durable', async (t) => {
  const late = new LateDevice(size)
  await using server = new MortalServer(late, size)
  await server.start()
  const device = new KeptDevice({ connect: server.connect, first: await server.connect(), log() {} })
  const writing = promised((completion) => device.write(0, Buffer.alloc(512, 1), false, completion))
  await late.arrived(1)
  late.pending[0]!.finish()
  await writing
  const flushing = promised((completion) => device.flush(completion))
  await late.arrived(1)
  server.crash()
  server.device = new FullDevice(size)
  await server.start()
  await t.rejects(flushing, { code: 'EIO' })
  await device.close()
})

t.test('an older write does not come back over one with FUA', async (t) => {
  const memory = new MemoryDevice(size)
  await using server = new MortalServer(memory, size)
  await server.start()
  const device = new KeptDevice({ connect: server.connect, first: await server.connect(), log() {} })
  await promised((completion) => device.write(0, Buffer.alloc(4096, 1), false, completion))
  await promised((completion) => device.write(0, Buffer.alloc(4096, 2), true, completion))
  await server.stop()
  await server.start()
  const into = Buffer.alloc(4096)
  await promised((completion) => device.read(0, into, completion))
  t.strictSame(into, Buffer.alloc(4096, 2))
  await device.close()
})

t.test('an older write does not come back over one that was flushed before the older was answered', async (t) => {
  const memory = new MemoryDevice(size)
  const answers: (() => void)[] = []
  memory.write = (offset, payload, _fua, completion) => {
    payload.copy(memory.bytes, offset)
    answers.push(() => completion.complete(null))
  }
  await using server = new MortalServer(memory, size)
  await server.start()
  const device = new KeptDevice({ connect: server.connect, first: await server.connect(), log() {} })
  const older = promised((completion) => device.write(0, Buffer.alloc(4096, 1), false, completion))
  const newer = promised((completion) => device.write(2048, Buffer.alloc(4096, 2), false, completion))
  while (answers.length < 2) await new Promise((resolve) => setImmediate(resolve))
  answers[1]!()
  await newer
  await promised((completion) => device.flush(completion))
  answers[0]!()
  await older
  await server.stop()
  server.device = new MemoryDevice(size)
  memory.bytes.copy((server.device as MemoryDevice).bytes)
  await server.start()
  const into = Buffer.alloc(4096)
  await promised((completion) => device.read(2048, into, completion))
  t.strictSame(into, Buffer.alloc(4096, 2))
  await device.close()
})

t.test('what overlaps is repeated one after the other, the rest together', async (t) => {
  await using server = new MortalServer(new MemoryDevice(size), size)
  await server.start()
  const device = new KeptDevice({ connect: server.connect, first: await server.connect(), log() {} })
  const write = (offset: number, byte: number): Promise<void> =>
    promised((completion) => device.write(offset, Buffer.alloc(4096, byte), false, completion))
  await write(0, 1)
  await write(8192, 2)
  await promised((completion) => device.trim(2048, 4096, false, completion))
  await write(4096, 3)
  server.crash()
  const late = new LateDevice(size)
  server.device = late
  await server.start()
  await late.arrived(2)
  const into = Buffer.alloc(12_288)
  const reading = promised((completion) => device.read(0, into, completion))
  const seen: string[][] = []
  for (const count of [2, 1, 1, 1]) {
    await late.arrived(count)
    // Whatever else were under way would be here by then.
    await server.connect().then(({ client }) => client.disconnect())
    seen.push(late.pending.map(({ what, offset }) => `${what} ${offset}`))
    for (const io of late.pending.toReversed()) io.finish()
  }
  t.strictSame(seen, [['write 0', 'write 8192'], ['trim 2048'], ['write 4096'], ['read 0']])
  await reading
  const expected = [Buffer.alloc(2048, 1), Buffer.alloc(2048), Buffer.alloc(4096, 3), Buffer.alloc(4096, 2)]
  t.strictSame(into, Buffer.concat(expected))
  await device.close()
})

t.test('closed while the server is away, it gives up what waits and does not come back', async (t) => {
  const memory = new MemoryDevice(size)
  await using server = new MortalServer(memory, size)
  await server.start()
  const device = new KeptDevice({ connect: server.connect, first: await server.connect(), log() {} })
  await promised((completion) => device.write(0, Buffer.alloc(512, 1), false, completion))
  server.crash()
  memory.bytes.fill(0)
  const writing = promised((completion) => device.write(512, Buffer.alloc(512, 2), false, completion))
  const refused = t.rejects(writing, { code: 'DISCONNECTED' })
  await device.close()
  await refused
  await server.start()
  // Longer than the device would wait before it tries again.
  await new Promise((resolve) => setTimeout(resolve, 300))
  t.strictSame(server.exported!.holders, [])
  t.ok(memory.bytes.equals(Buffer.alloc(size)))
})

t.test('closed while it connects again, it lets that connection go', async (t) => {
  const memory = new MemoryDevice(size)
  await using server = new MortalServer(memory, size)
  await server.start()
  let connecting = false
  let goOn = (): void => {}
  const connect = async () => {
    connecting = true
    await new Promise<void>((resolve) => (goOn = resolve))
    return server.connect()
  }
  const device = new KeptDevice({ connect, first: await server.connect(), log() {} })
  await promised((completion) => device.write(0, Buffer.alloc(512, 1), false, completion))
  server.crash()
  memory.bytes.fill(0)
  while (!connecting) await new Promise((resolve) => setImmediate(resolve))
  await device.close()
  await server.start()
  goOn()
  while (server.exported!.holdersEver === 0) await new Promise((resolve) => setImmediate(resolve))
  while (server.exported!.holders.length > 0) await new Promise((resolve) => setImmediate(resolve))
  t.ok(memory.bytes.equals(Buffer.alloc(size)))
})

t.test('another disk of the same name is not written to', async (t) => {
  await using server = new MortalServer(new MemoryDevice(size), size)
  server.description = describeExport('1GiB disk', 'store/7')
  await server.start()
  const said: string[] = []
  const log = (sentence: string): void => void said.push(sentence)
  const device = new KeptDevice({ connect: server.connect, first: await server.connect(), log })
  await promised((completion) => device.write(0, Buffer.alloc(512, 1), false, completion))
  await server.stop()
  // The same one, grown: nothing to object to.
  server.description = describeExport('2GiB disk', 'store/7')
  await server.start()
  await promised((completion) => device.read(0, Buffer.alloc(512), completion))
  await promised((completion) => device.write(512, Buffer.alloc(512, 1), false, completion))
  await server.stop()
  const other = new MemoryDevice(size)
  server.device = other
  server.description = describeExport('1GiB disk', 'store/9')
  await server.start()
  await t.rejects(
    promised((completion) => device.read(0, Buffer.alloc(512), completion)),
    { code: 'EIO' },
  )
  t.match(said.at(-1), /another disk/)
  t.ok(other.bytes.equals(Buffer.alloc(size)))
  await device.close()
})

t.test('that the server has no such disk is said once, and requests wait', async (t) => {
  await using server = new MortalServer(new MemoryDevice(size), size)
  await server.start()
  const said: string[] = []
  const log = (sentence: string): void => void said.push(sentence)
  const device = new KeptDevice({ connect: server.connect, first: await server.connect(), log })
  await server.stop()
  server.exportName = 'renamed'
  await server.start()
  const reading = promised((completion) => device.read(0, Buffer.alloc(512), completion))
  while (said.length < 2) await new Promise((resolve) => setImmediate(resolve))
  await new Promise((resolve) => setTimeout(resolve, 300))
  t.equal(said.filter((sentence) => /no such disk/.test(sentence)).length, 1)
  await server.stop()
  server.exportName = 'disk'
  await server.start()
  await reading
  await device.close()
})
