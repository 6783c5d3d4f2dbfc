/** The server stops: nobody's request is lost without an answer, and nobody can hold it open. */

import t from 'tap'
import { NBD_CMD, NBD_ERROR, NBD_OPT, NBD_REP } from '../../protocol/constants.ts'
import { encodeClientFlags, encodeInfoRequest, encodeOption, encodeRequest } from '../../protocol/client/encoder.ts'
import { Bench } from '../fixtures/bench-connection.ts'
import { LateDevice } from '../fixtures/late-device.ts'
import { TestExport, TestExports } from '../fixtures/memory-export.ts'

function late() {
  const device = new LateDevice(65536)
  const target = new TestExport(device, 65536)
  return { device, target, bench: new Bench(new TestExports(target)) }
}

const errorAt = (bytes: Buffer, reply: number) => [
  bytes.readUInt32BE(reply * 16 + 4),
  bytes.readUInt32BE(reply * 16 + 12),
]

t.test('negotiating: options are refused, ABORT is acknowledged', async (t) => {
  const { bench } = late()
  bench.push(encodeClientFlags(3))
  bench.connection.shutdown()
  t.notOk(bench.ended)
  bench.forget()
  for (const option of [NBD_OPT.GO, NBD_OPT.INFO, NBD_OPT.LIST, NBD_OPT.STARTTLS, 99]) {
    bench.push(encodeOption(option, encodeInfoRequest('', [])))
    t.equal(bench.writes.at(-1)!.readUInt32BE(12), NBD_REP.ERR_SHUTDOWN)
  }
  bench.push(encodeOption(NBD_OPT.ABORT, Buffer.alloc(0)))
  t.equal(bench.writes.at(-1)!.readUInt32BE(12), NBD_REP.ACK)
  t.ok(bench.ended)
})

t.test('negotiating: EXPORT_NAME can only be cut off', async (t) => {
  const { bench } = late()
  bench.connection.shutdown()
  bench.push(encodeClientFlags(3), encodeOption(NBD_OPT.EXPORT_NAME, Buffer.alloc(0)))
  t.ok(bench.destroyed)
})

t.test('transmitting and idle: closed at once', async (t) => {
  const { bench, target } = late()
  bench.go().connection.shutdown()
  t.ok(bench.ended)
  t.equal(target.holders.length, 0)
})

t.test('transmitting: what the device has is answered, later requests get ESHUTDOWN', async (t) => {
  const { bench, device } = late()
  bench.go()
  bench.write(1, 0, Buffer.from('kept'))
  bench.request({ type: NBD_CMD.FLUSH, cookie: 2 })
  bench.connection.shutdown()
  bench.connection.shutdown()
  bench.write(3, 0, Buffer.from('late'))
  bench.request({ type: NBD_CMD.READ, cookie: 4, length: 512 })
  t.notOk(bench.ended)
  t.equal(device.pending.length, 2)
  device.pending[0]!.finish()
  bench.settle()
  t.notOk(bench.ended)
  device.pending[0]!.finish()
  bench.settle()
  t.ok(bench.ended)
  t.strictSame(
    [0, 1, 2, 3].map((reply) => errorAt(bench.sent, reply)),
    [
      [NBD_ERROR.ESHUTDOWN, 3],
      [NBD_ERROR.ESHUTDOWN, 4],
      [0, 1],
      [0, 2],
    ],
  )
  t.equal(device.memory.bytes.toString('latin1', 0, 4), 'kept')
})

t.test('transmitting: replies on their way are waited for', async (t) => {
  const { bench, device } = late()
  bench.go()
  bench.leavesAtOnce = false
  bench.read(1, 0, 512)
  device.pending[0]!.finish()
  bench.settle()
  bench.connection.shutdown()
  t.notOk(bench.ended)
  bench.leave()
  t.ok(bench.ended)
})

t.test('transmitting: requests that waited for room are answered too', async (t) => {
  const { bench, device } = late()
  bench.go()
  bench.leavesAtOnce = false
  bench.push(...Array.from({ length: 300 }, (_, cookie) => encodeRequest({ type: NBD_CMD.READ, cookie, length: 0 })))
  t.ok(bench.paused)
  bench.connection.shutdown()
  t.notOk(bench.ended)
  bench.leavesAtOnce = true
  bench.settle()
  t.ok(bench.ended)
  t.equal(bench.sent.length, 300 * 16)
  t.strictSame(errorAt(bench.sent, 255), [0, 255])
  t.strictSame(errorAt(bench.sent, 256), [NBD_ERROR.ESHUTDOWN, 256])
  t.equal(device.pending.length, 0)
})

t.test('half a WRITE holds nobody up', async (t) => {
  const { bench } = late()
  bench.go()
  bench.push(encodeRequest({ type: NBD_CMD.WRITE, cookie: 1, length: 4096 }), Buffer.alloc(100))
  bench.connection.shutdown()
  t.ok(bench.ended)
})

t.test('the transport goes away in the middle', async (t) => {
  const { bench, device, target } = late()
  bench.go()
  bench.read(1, 0, 512)
  bench.connection.shutdown()
  bench.connection.closed()
  bench.connection.closed()
  t.equal(target.holders.length, 1)
  device.pending[0]!.finish()
  t.equal(target.holders.length, 0)
  t.equal(bench.flushAsked, 0)
  t.notOk(bench.ended)
})
