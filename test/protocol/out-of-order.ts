/** Requests complete in any order: each reply carries its own cookie and its own data. */

import t from 'tap'
import { Bench } from '../fixtures/bench-connection.ts'
import { LateDevice } from '../fixtures/late-device.ts'
import type { PendingIo } from '../fixtures/late-device.ts'
import { TestExport, TestExports } from '../fixtures/memory-export.ts'
import { Random, printSeed } from '../fixtures/random.ts'

const size = 1024 * 1024

t.test('reversed', async (t) => {
  const device = new LateDevice(size)
  for (let i = 0; i < 8; i++) device.memory.bytes.fill(i, i * 512, i * 512 + 512)
  const bench = new Bench(new TestExports(new TestExport(device, size))).go()
  for (let i = 0; i < 8; i++) bench.read(i, i * 512, 512)
  while (device.pending.length > 0) device.pending.at(-1)!.finish()
  bench.settle()
  const { sent } = bench
  for (let i = 0; i < 8; i++) {
    const at = i * 528
    t.equal(sent.readUInt32BE(at + 12), 7 - i)
    t.ok(sent.subarray(at + 16, at + 528).equals(Buffer.alloc(512, 7 - i)))
  }
})

t.test('random orders, while writes to the client take their time', async (t) => {
  const random = new Random(printSeed(t))
  const device = new LateDevice(size)
  const bench = new Bench(new TestExports(new TestExport(device, size))).go()
  bench.leavesAtOnce = false
  /** The cookie of what the device holds. */
  const cookies = new Map<PendingIo, number>()
  /** The data that each reply must carry: those of the moment when the device completed. */
  const expected = new Map<number, Buffer>()
  let cookie = 0
  const complete = (io: PendingIo) => {
    io.finish()
    const read = io.what === 'read' ? device.memory.bytes.subarray(io.offset, io.offset + io.length) : Buffer.alloc(0)
    expected.set(cookies.get(io)!, Buffer.from(read))
  }
  for (let step = 0; step < 20_000; step++) {
    const choice = random.below(10)
    // So few that the limit of requests in flight, tested elsewhere, is not met.
    if (choice < 4 && device.pending.length < 50 && cookie - expected.size < 50) {
      const length = 1 + random.below(3000)
      const offset = random.below(size - length)
      cookie++
      if (choice < 2) bench.read(cookie, offset, length)
      else bench.write(cookie, offset, random.bytes(length))
      if (!bench.paused) cookies.set(device.pending.at(-1)!, cookie)
    } else if (choice < 7 && device.pending.length > 0) {
      complete(random.pick(device.pending))
    } else if (choice < 8) {
      bench.settle()
    } else if (bench.underWay) {
      bench.leave()
    }
    if (bench.paused) {
      bench.leavesAtOnce = true
      bench.settle()
      bench.leavesAtOnce = false
      const last = device.pending.at(-1)!
      if (!cookies.has(last)) cookies.set(last, cookie)
    }
  }
  bench.leavesAtOnce = true
  while (device.pending.length > 0) complete(device.pending[0]!)
  bench.settle()

  const { sent } = bench
  let wrong = 0
  for (let at = 0; at < sent.length;) {
    t.equal(sent.readUInt32BE(at), 0x67446698, 'in step')
    const replied = sent.readUInt32BE(at + 12)
    const data = expected.get(replied)
    if (data === undefined) throw new Error(`cookie ${replied} was not asked for, or is answered twice`)
    expected.delete(replied)
    at += 16
    if (!sent.subarray(at, at + data.length).equals(data)) wrong++
    at += data.length
  }
  t.equal(wrong, 0)
  t.equal(expected.size, 0, 'every request was answered')
  t.ok(cookie > 1000)
})
