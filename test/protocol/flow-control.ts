/** A client costs a bounded amount, whatever it does or does not do. */

import t from 'tap'
import { NBD_CMD, NBD_OPT } from '../../protocol/constants.ts'
import { encodeClientFlags, encodeOption, encodeRequest } from '../../protocol/client/encoder.ts'
import {
  bytesInFlightMax,
  optionReplyBytesWaitingMax,
  payloadBytesMax,
  requestsInFlightMax,
} from '../../protocol/limits.ts'
import { Bench } from '../fixtures/bench-connection.ts'
import { LateDevice } from '../fixtures/late-device.ts'
import { MemoryDevice, TestExport, TestExports } from '../fixtures/memory-export.ts'

const MiB = 1024 * 1024
const size = 256 * MiB

function late() {
  const device = new LateDevice(size)
  return { device, bench: new Bench(new TestExports(new TestExport(device, size))).go() }
}

const reads = (count: number, length: number) =>
  Buffer.concat(Array.from({ length: count }, (_, cookie) => encodeRequest({ type: NBD_CMD.READ, cookie, length })))

t.test('a client that never reads: so many requests and no more', async (t) => {
  const device = new MemoryDevice(1024)
  const bench = new Bench(new TestExports(new TestExport(device, 1024))).go()
  bench.leavesAtOnce = false
  bench.push(reads(10_000, 16))
  t.ok(bench.paused)
  t.equal(bench.connection.counters.requests, requestsInFlightMax)
  bench.leave()
  t.equal(bench.connection.counters.requests, 2 * requestsInFlightMax, 'when replies have left it goes on')
  bench.leavesAtOnce = true
  bench.settle()
  t.equal(bench.connection.counters.requests, 10_000)
  t.equal(bench.sent.length, 10_000 * 32)
  t.notOk(bench.paused)
})

t.test('errors count too', async (t) => {
  const bench = new Bench(new TestExports(new TestExport(new MemoryDevice(0), 0))).go()
  bench.leavesAtOnce = false
  bench.push(reads(10_000, 16))
  t.ok(bench.paused)
  t.equal(bench.connection.counters.errors, requestsInFlightMax)
})

t.test('so many bytes and no more', async (t) => {
  const { bench, device } = late()
  const each = 8 * MiB
  bench.push(reads(10, each))
  t.equal(device.pending.length, bytesInFlightMax / each)
  t.ok(bench.paused)
  device.pending[0]!.finish()
  bench.settle()
  t.equal(device.pending.length, bytesInFlightMax / each, 'one has left, the next was taken')
})

t.test('one that is longer than that is admitted alone', async (t) => {
  const { bench, device } = late()
  bench.push(reads(1, 512), reads(2, payloadBytesMax))
  t.equal(device.pending.length, 1)
  device.pending[0]!.finish()
  bench.settle()
  t.strictSame(
    device.pending.map(({ length }) => length),
    [payloadBytesMax],
  )
  t.ok(bench.paused)
})

t.test('a WRITE that waits for room loses nothing of its payload', async (t) => {
  const { bench, device } = late()
  bench.push(reads(4, 8 * MiB))
  const payload = Buffer.from('the payload')
  bench.write(5, 10, payload)
  t.ok(bench.paused)
  // An adapter cannot always stop what is already on its way.
  bench.read(6, 10, payload.length)
  t.equal(device.pending.length, 4)
  while (device.pending.length > 0) {
    device.pending[0]!.finish()
    bench.settle()
  }
  t.notOk(bench.paused)
  t.equal(bench.sent.subarray(-payload.length).toString(), 'the payload')
})

t.test('a client that sends half a request and stops keeps no memory but its own', async (t) => {
  const { bench } = late()
  const before = process.memoryUsage().arrayBuffers
  bench.push(encodeRequest({ type: NBD_CMD.WRITE, cookie: 1, length: payloadBytesMax }))
  t.ok(process.memoryUsage().arrayBuffers - before < MiB, 'nothing before the first byte of the payload')
  bench.push(Buffer.alloc(1000))
  t.ok(process.memoryUsage().arrayBuffers - before < payloadBytesMax + MiB)
})

t.test('a payload that was gathered is not kept', async (t) => {
  const bench = new Bench(new TestExports(new TestExport(new MemoryDevice(size), size))).go()
  const before = process.memoryUsage().arrayBuffers
  bench.push(encodeRequest({ type: NBD_CMD.WRITE, cookie: 1, length: 48 * MiB }))
  for (let i = 0; i < 48; i++) bench.push(Buffer.alloc(MiB))
  t.equal(bench.sent.length, 16)
  global.gc?.()
  // Without a collector at hand only the answer can be checked.
  if (global.gc) t.ok(process.memoryUsage().arrayBuffers - before < 10 * MiB)
})

t.test('a client that negotiates and never reads is asked to wait', async (t) => {
  const exports = Array.from({ length: 1000 }, (_, i) => new TestExport(new MemoryDevice(0), 0, { name: `disk${i}` }))
  const bench = new Bench(new TestExports(...exports))
  bench.leavesAtOnce = false
  const list = encodeOption(NBD_OPT.LIST, Buffer.alloc(0))
  bench.push(encodeClientFlags(3), ...Array.from({ length: 20 }, () => list))
  t.ok(bench.paused)
  t.equal(bench.writes.length, 2, 'the greeting, and the first lists')
  t.ok(bench.sent.length < 2 * optionReplyBytesWaitingMax)
  bench.leavesAtOnce = true
  bench.settle()
  t.notOk(bench.paused)
  const oneList = exports.reduce((sum, { name }) => sum + 20 + 4 + name.length, 20)
  t.equal(bench.sent.length, 18 + 20 * oneList)
})
