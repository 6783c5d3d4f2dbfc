/**
 * Clients that make mistakes, thousands of them: sessions put together from
 * pieces that are right, nearly right and wrong, cut anywhere, with a device
 * that completes when it likes and a network that takes its time. Whatever they
 * do: every byte that comes back makes sense, nothing throws, nothing hangs,
 * memory is bounded, and the export is let go in the end.
 *
 * THAW_TEST_SEED repeats a run; THAW_TEST_FUZZ_SECONDS makes it longer.
 */

import t from 'tap'
import { NBD_CMD, NBD_OPT } from '../../protocol/constants.ts'
import type { BlockDevice, Completion } from '../../protocol/export.ts'
import { encodeClientFlags, encodeInfoRequest, encodeOption, encodeRequest } from '../../protocol/client/encoder.ts'
import { bytesInFlightMax, payloadBytesMax, requestsInFlightMax } from '../../protocol/limits.ts'
import { Bench } from '../fixtures/bench-connection.ts'
import { LateDevice } from '../fixtures/late-device.ts'
import { TestExport, TestExports } from '../fixtures/memory-export.ts'
import { Random, printSeed } from '../fixtures/random.ts'

const seconds = Number(process.env['THAW_TEST_FUZZ_SECONDS'] ?? 4)
const size = 1024 * 1024
const names = ['', 'disk', 'snap', 'nope', 'n'.repeat(4096), 'n'.repeat(4097), 'a\0b', 'é']
const lengths = [
  0,
  1,
  511,
  512,
  4096,
  70_000,
  size,
  size + 1,
  payloadBytesMax,
  payloadBytesMax + 1,
  0x7fffffff,
  0xffffffff,
]
const offsets = [0n, 1n, 511n, 4096n, BigInt(size) - 1n, BigInt(size), 2n ** 32n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]

/** What a client says in its life, and the cookies that must be answered; null when something in it is out of order. */
interface Session {
  stream: Buffer
  cookies: Set<string> | null
}

/** One option, mostly in order. A `tame` one neither ends the negotiation nor lies about its length. */
function option(random: Random, tame: boolean): Buffer {
  const types = [NBD_OPT.LIST, NBD_OPT.INFO, NBD_OPT.INFO, NBD_OPT.STARTTLS, NBD_OPT.STRUCTURED_REPLY, 0, 99]
  const type = tame ? random.pick(types) : random.pick([...Object.values(NBD_OPT), 7, 7, random.next()])
  let data = encodeInfoRequest(
    random.pick(names),
    Array.from({ length: random.below(6) }, () => random.below(6)),
  )
  if (type === NBD_OPT.EXPORT_NAME) data = Buffer.from(random.pick(names))
  else if (type !== NBD_OPT.INFO && type !== NBD_OPT.GO && random.below(3) > 0) data = Buffer.alloc(0)
  if (random.below(8) === 0) data = data.subarray(0, random.below(data.length + 1))
  if (random.below(8) === 0) data[random.below(data.length)] = random.next()
  const bytes = encodeOption(type, data)
  if (!tame && random.below(20) === 0) bytes.writeUInt32BE(random.pick([...lengths, random.next()]), 12)
  return bytes
}

/** One request, sensible or not, with its payload. */
function request(random: Random, type: number, cookie: number, tame: boolean): Buffer {
  const short = random.below(random.pick([16, 8192, 8192, 100_000]))
  let length = random.below(12) === 0 ? random.pick(lengths) : short
  if (type === NBD_CMD.WRITE && tame && length > 200_000) length = short
  const offset = random.below(12) === 0 ? random.pick(offsets) : random.below(size)
  const flags = random.below(10) === 0 ? random.next() & 0xffff : random.below(2)
  const header = encodeRequest({ type, flags, cookie, offset, length })
  if (type !== NBD_CMD.WRITE || length > 200_000) return header
  return Buffer.concat([header, Buffer.alloc(length, 'w')])
}

function session(random: Random): Session {
  const tame = random.below(2) === 0
  const pieces = [encodeClientFlags(!tame && random.below(20) === 0 ? random.next() : random.below(4))]
  for (let i = random.below(6); i > 0; i--) pieces.push(option(random, tame))
  pieces.push(encodeOption(NBD_OPT.GO, encodeInfoRequest(random.pick(['', 'disk', 'snap']), [])))
  const cookies = new Set<string>()
  let open = true
  // Now and then more than may be in flight.
  for (let i = random.below(random.below(20) === 0 ? 1000 : 60); i > 0; i--) {
    const type = random.below(300) === 0 ? NBD_CMD.DISC : random.pick([0, 0, 0, 1, 1, 1, 3, 4, 6, 5, 7, 8, 9, 999])
    pieces.push(request(random, type, i, tame))
    if (type === NBD_CMD.DISC) open = false
    if (open) cookies.add(i.toString(16).padStart(16, '0'))
  }
  const stream = Buffer.concat(pieces)
  if (tame) return { stream, cookies }
  // A few wrong bits, or half of it.
  if (random.below(5) === 0) stream[random.below(stream.length)]! ^= 1 << random.below(8)
  return { stream: random.below(5) === 0 ? stream.subarray(0, random.below(stream.length)) : stream, cookies: null }
}

/**
 * Reads what a server sent to its end: replies to options, then replies to
 * requests. Returns what is wrong with it, or null. `cookies`, when given, are
 * those that must be answered, each once.
 */
function makesSense(sent: Buffer, reads: ReadonlyMap<string, number>, cookies: Set<string> | null): string | null {
  let at = 18
  while (at + 8 <= sent.length && sent.readUInt32BE(at) === 0x0003e889) at += 20 + sent.readUInt32BE(at + 16)
  // The answer to EXPORT_NAME has no header.
  if (at < sent.length && sent.readUInt32BE(at) === 0) {
    const bare = sent.length >= at + 134 && sent.subarray(at + 10, at + 134).every((byte) => byte === 0)
    at += bare ? 134 : 10
  }
  while (at < sent.length) {
    if (sent.length < at + 16 || sent.readUInt32BE(at) !== 0x67446698) return `no reply at ${at} of ${sent.length}`
    const cookie = sent.toString('hex', at + 8, at + 16)
    const failed = sent.readUInt32BE(at + 4) !== 0
    at += 16 + (failed ? 0 : (reads.get(cookie) ?? 0))
    if (cookies !== null && !cookies.delete(cookie)) return `cookie ${cookie} was answered and not asked for, or twice`
  }
  if (cookies !== null && cookies.size > 0) return `${cookies.size} requests were not answered`
  return at === sent.length ? null : `${at - sent.length} bytes missing`
}

/** Lets a session happen; returns what went wrong, or null. */
function run(random: Random): string | null {
  const device = new LateDevice(size)
  const payloads = new Map<string, number>()
  let ambiguous = false
  // Bit errors in a cookie may make a request nobody foresaw: what the device was asked for is what counts.
  const asked = (completion: Completion, payloadBytes: number) => {
    const request = completion as unknown as { cookieHigh: number; cookieLow: number }
    const cookie = [request.cookieHigh, request.cookieLow].map((word) => word.toString(16).padStart(8, '0')).join('')
    // Two requests of one cookie: whose reply comes first nobody can tell.
    ambiguous ||= (payloads.get(cookie) ?? payloadBytes) !== payloadBytes
    payloads.set(cookie, payloadBytes)
    return completion
  }
  const asking: BlockDevice = {
    read: (offset, into, completion) => device.read(offset, into, asked(completion, into.length)),
    write: (offset, data, fua, completion) => device.write(offset, data, fua, asked(completion, 0)),
    trim: (offset, length, fua, completion) => device.trim(offset, length, fua, asked(completion, 0)),
    writeZeroes: (offset, length, noHole, fua, completion) =>
      device.writeZeroes(offset, length, noHole, fua, asked(completion, 0)),
    flush: (completion) => device.flush(asked(completion, 0)),
  }
  const writable = new TestExport(asking, size)
  const readOnly = new TestExport(asking, size, { name: 'snap', readOnly: true })
  const bench = new Bench(new TestExports(writable, readOnly))
  bench.leavesAtOnce = random.below(2) === 0
  const { stream, cookies } = session(random)
  const step = () => {
    const choice = random.below(4)
    if (choice === 0 && device.pending.length > 0) {
      const error = random.below(10) === 0 ? new Error('wanted') : undefined
      random.pick(device.pending).finish(error)
    } else if (choice === 1) bench.settle()
    else if (choice === 2 && bench.underWay) bench.leave()
    else if (choice === 3 && random.below(500) === 0 && cookies === null) bench.connection.shutdown()
    const inDevice = device.pending.reduce((sum, { what, length }) => sum + (what === 'read' ? length : 0), 0)
    if (device.pending.length > requestsInFlightMax || inDevice > bytesInFlightMax) {
      throw new Error('more in flight than agreed')
    }
  }
  for (let at = 0; at < stream.length;) {
    if (bench.destroyed !== null || bench.ended) break
    // A socket that was told to pause may deliver a little more, and then stops.
    if (!bench.paused || random.below(20) === 0) {
      const length = 1 + random.below(random.pick([4, 100, 70_000, stream.length]))
      bench.push(stream.subarray(at, at + length))
      at += length
    }
    step()
  }
  if (cookies === null && random.below(5) === 0) bench.connection.closed()
  else bench.connection.ended()
  bench.leavesAtOnce = true
  while (device.pending.length > 0) device.pending[0]!.finish()
  bench.settle()
  while (device.pending.length > 0) {
    device.pending[0]!.finish()
    bench.settle()
  }
  const { phase } = bench.connection
  if (phase !== 'over' && !bench.ended) return `left in phase ${phase}`
  if (writable.holders.length + readOnly.holders.length > 0) return 'the export is still held'
  if (cookies !== null && bench.destroyed !== null) return `disconnected: ${bench.destroyed}`
  const unread = ambiguous || (phase === 'over' && bench.destroyed === null)
  return unread ? null : makesSense(bench.sent, payloads, cookies)
}

t.test(`sessions for ${seconds} s`, { timeout: (seconds + 60) * 1000 }, async (t) => {
  const seed = printSeed(t)
  const end = performance.now() + seconds * 1000
  let count = 0
  let heapLate = 0
  for (; performance.now() < end; count++) {
    const problem = run(new Random(seed + count))
    if (problem !== null) t.fail(`${problem}: THAW_TEST_SEED=${seed + count}`)
    if (count === 200) heapLate = process.memoryUsage().rss
    // The collector gets a turn.
    if (count % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  t.comment(`${count} sessions`)
  t.ok(count > 100)
  const grown = process.memoryUsage().rss - heapLate
  t.ok(grown < 400 * 1024 * 1024, `memory grew by ${Math.round(grown / 1024 / 1024)} MiB`)
})
