import t from 'tap'
import { encodeClientFlags, encodeOption } from '../../protocol/client/encoder.ts'
import { HandshakeDecoder, HandshakeFound } from '../../protocol/handshake-decoder.ts'
import { optionBytesMax, optionBytesSkippedMax } from '../../protocol/limits.ts'

/** What the decoder finds in the pieces, as lines. */
function found(pieces: readonly Buffer[]): string[] {
  const decoder = new HandshakeDecoder()
  const lines: string[] = []
  for (const piece of pieces) {
    for (let at = 0; ;) {
      at = decoder.decode(piece, at)
      if (decoder.found === HandshakeFound.nothing) break
      if (decoder.found === HandshakeFound.clientFlags) lines.push(`flags ${decoder.clientFlags}`)
      else if (decoder.found === HandshakeFound.option)
        lines.push(`option ${decoder.option} ${decoder.length} ${decoder.data?.toString().slice(0, 20) ?? 'skipped'}`)
      else if (decoder.found === HandshakeFound.badMagic) return [...lines, 'bad magic']
      else return [...lines, 'absurd']
    }
  }
  return lines
}

const stream = Buffer.concat([
  encodeClientFlags(3),
  encodeOption(3, Buffer.alloc(0)),
  encodeOption(0xfffffffe, Buffer.from('what is this')),
  encodeOption(7, Buffer.from('name')),
])
const expected = ['flags 3', 'option 3 0 ', 'option 4294967294 12 what is this', 'option 7 4 name']

t.test('all at once', async (t) => t.strictSame(found([stream]), expected))

t.test('cut anywhere', async (t) => {
  for (let cut = 0; cut <= stream.length; cut++) {
    t.strictSame(found([stream.subarray(0, cut), stream.subarray(cut)]), expected, `at ${cut}`)
  }
})

t.test('byte by byte', async (t) => t.strictSame(found([...stream].map((byte) => Buffer.of(byte))), expected))

t.test('data too long to keep are skipped in step', async (t) => {
  const long = encodeOption(99, Buffer.alloc(optionBytesMax + 1))
  const kept = encodeOption(98, Buffer.alloc(optionBytesMax))
  const all = Buffer.concat([encodeClientFlags(0), long, kept, encodeOption(3, Buffer.alloc(0))])
  const lines = [
    'flags 0',
    `option 99 ${optionBytesMax + 1} skipped`,
    `option 98 ${optionBytesMax} ${'\0'.repeat(20)}`,
    'option 3 0 ',
  ]
  t.strictSame(found([all]), lines)
  for (const cut of [5, 20, 21, 1000, long.length + 3, long.length + 4, long.length + 5]) {
    t.strictSame(found([all.subarray(0, cut), all.subarray(cut)]), lines, `cut at ${cut}`)
  }
})

t.test('a length that no option has', async (t) => {
  const header = encodeOption(3, Buffer.alloc(0))
  header.writeUInt32BE(optionBytesSkippedMax + 1, 12)
  t.strictSame(found([Buffer.concat([encodeClientFlags(0), header])]), ['flags 0', 'absurd'])
  header.writeUInt32BE(0xffffffff, 12)
  t.strictSame(found([Buffer.concat([encodeClientFlags(0), header])]), ['flags 0', 'absurd'])
})

t.test('each byte of the magic number counts', async (t) => {
  for (let i = 0; i < 8; i++) {
    const option = encodeOption(3, Buffer.alloc(0))
    option[i]! ^= 1
    t.strictSame(found([Buffer.concat([encodeClientFlags(0), option])]), ['flags 0', 'bad magic'], `byte ${i}`)
  }
})
