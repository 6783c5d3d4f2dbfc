import t from 'tap'
import { encodeRequest } from '../../protocol/client/encoder.ts'
import { NBD_CMD } from '../../protocol/constants.ts'
import { RequestDecoder, RequestFound } from '../../protocol/request-decoder.ts'

/** What the decoder finds, as lines; payloads of cookie 13 are skipped. */
function found(pieces: readonly Buffer[]): string[] {
  const decoder = new RequestDecoder()
  const lines: string[] = []
  for (const piece of pieces) {
    for (let at = 0; ;) {
      at = decoder.decode(piece, at)
      if (decoder.found === RequestFound.nothing) break
      if (decoder.found === RequestFound.badMagic) return [...lines, 'bad magic']
      if (decoder.found === RequestFound.payload) {
        lines.push(`payload ${decoder.payload.toString('latin1')}`)
        continue
      }
      const { type, flags, cookieLow, offset, length } = decoder
      lines.push(`${type} ${flags} ${cookieLow} ${offset} ${length}`)
      if (type !== NBD_CMD.WRITE) continue
      if (cookieLow === 13) decoder.skipPayload()
      else decoder.expectPayload()
    }
  }
  return lines
}

const { READ, WRITE, FLUSH, DISC } = NBD_CMD
const stream = Buffer.concat([
  encodeRequest({ type: READ, cookie: 1, offset: 4096, length: 512 }),
  encodeRequest({ type: WRITE, cookie: 2, flags: 1, offset: 0xfffffffff, length: 5 }),
  Buffer.from('hello'),
  encodeRequest({ type: WRITE, cookie: 13, length: 7 }),
  Buffer.from('refused'),
  encodeRequest({ type: WRITE, cookie: 3, length: 0 }),
  encodeRequest({ type: FLUSH, cookie: 4 }),
  encodeRequest({ type: DISC, cookie: 5 }),
])
const expected = [
  '0 0 1 4096 512',
  '1 1 2 68719476735 5',
  'payload hello',
  '1 0 13 0 7',
  '1 0 3 0 0',
  'payload ',
  '3 0 4 0 0',
  '2 0 5 0 0',
]

t.test('all at once', async (t) => t.strictSame(found([stream]), expected))

t.test('cut anywhere, once and twice', async (t) => {
  for (let first = 0; first <= stream.length; first++) {
    for (let second = first; second <= stream.length; second++) {
      const pieces = [stream.subarray(0, first), stream.subarray(first, second), stream.subarray(second)]
      const lines = found(pieces)
      if (lines.join() !== expected.join()) t.strictSame(lines, expected, `at ${first} and ${second}`)
    }
  }
  t.pass('all cuts')
})

t.test('byte by byte', async (t) => t.strictSame(found([...stream].map((byte) => Buffer.of(byte))), expected))

t.test('a payload in one piece is not copied, one in two pieces is gathered', async (t) => {
  const decoder = new RequestDecoder()
  const piece = Buffer.concat([encodeRequest({ type: WRITE, cookie: 2, length: 5 }), Buffer.from('hello')])
  let at = decoder.decode(piece, 0)
  decoder.expectPayload()
  at = decoder.decode(piece, at)
  t.equal(decoder.payload.buffer, piece.buffer)
  t.equal(decoder.payload.byteOffset, piece.byteOffset + 28)
  decoder.decode(piece, at)
  decoder.decode(piece.subarray(0, 28), 0)
  decoder.expectPayload()
  decoder.decode(piece.subarray(28, 30), 0)
  decoder.decode(piece.subarray(30), 0)
  t.equal(decoder.payload.toString(), 'hello')
  t.not(decoder.payload.buffer, piece.buffer)
})

t.test('cookies of all bits', async (t) => {
  const request = encodeRequest({ type: READ, cookie: 0 })
  request.fill(0xff, 8, 16)
  const decoder = new RequestDecoder()
  decoder.decode(request, 0)
  t.strictSame([decoder.cookieHigh, decoder.cookieLow], [0xffffffff, 0xffffffff])
})

t.test('64-bit offsets', async (t) => {
  for (const [offset, length, number, wraps] of [
    [0xffffffffn, 1, 0xffffffff, false],
    [2n ** 53n - 1n, 0xffffffff, Number.MAX_SAFE_INTEGER, false],
    [2n ** 53n, 1, Infinity, false],
    [2n ** 63n, 1, Infinity, false],
    [2n ** 64n - 1n, 0, Infinity, false],
    [2n ** 64n - 2n, 1, Infinity, false],
    [2n ** 64n - 1n, 1, Infinity, true],
    [2n ** 64n - 0xffffffffn, 0xffffffff, Infinity, true],
    [2n ** 64n - 0x100000000n, 0xffffffff, Infinity, false],
  ] as const) {
    const decoder = new RequestDecoder()
    decoder.decode(encodeRequest({ type: READ, cookie: 1, offset, length }), 0)
    t.strictSame([decoder.offset, decoder.wraps], [number, wraps], `${offset} + ${length}`)
  }
})

t.test('each byte of the magic number counts', async (t) => {
  for (let i = 0; i < 4; i++) {
    const request = encodeRequest({ type: READ, cookie: 1 })
    request[i]! ^= 0x80
    t.strictSame(found([request]), ['bad magic'])
  }
})
