/** What a server says, from any cut of the stream. */

import t from 'tap'
import { HandshakeReplyDecoder, HandshakeReplyFound } from '../../../protocol/client/handshake-reply-decoder.ts'
import { ReplyDecoder, ReplyFound } from '../../../protocol/client/reply-decoder.ts'
import { encodeGreeting, encodeOptionReply } from '../../../protocol/handshake-encoder.ts'
import { writeSimpleReply } from '../../../protocol/simple-reply.ts'

function handshake(pieces: readonly Buffer[]): string[] {
  const decoder = new HandshakeReplyDecoder()
  const lines: string[] = []
  for (const piece of pieces) {
    for (let at = 0; ;) {
      at = decoder.decode(piece, at)
      if (decoder.found === HandshakeReplyFound.nothing) break
      if (decoder.found === HandshakeReplyFound.nonsense) return [...lines, 'nonsense']
      if (decoder.found === HandshakeReplyFound.greeting) lines.push(`greeting ${decoder.handshakeFlags}`)
      else lines.push(`${decoder.option} ${decoder.type} ${decoder.data.toString()}`)
    }
  }
  return lines
}

/** Replies whose cookie is odd carry three bytes. */
function replies(pieces: readonly Buffer[]): string[] {
  const decoder = new ReplyDecoder()
  const lines: string[] = []
  let data = Buffer.alloc(0)
  for (const piece of pieces) {
    for (let at = 0; ;) {
      at = decoder.decode(piece, at)
      if (decoder.found === ReplyFound.nothing) break
      if (decoder.found === ReplyFound.badMagic) return [...lines, 'bad magic']
      if (decoder.found === ReplyFound.data) {
        lines.push(data.toString())
        continue
      }
      lines.push(`${decoder.error} ${decoder.cookieLow}`)
      if (decoder.cookieLow % 2 === 0) continue
      data = Buffer.alloc(3)
      decoder.expectData(data)
    }
  }
  return lines
}

function simpleReply(error: number, cookie: number, data: string): Buffer {
  const bytes = Buffer.alloc(16 + data.length)
  writeSimpleReply(bytes, 0, error, 0, cookie)
  bytes.write(data, 16)
  return bytes
}

t.test('the handshake, cut anywhere', async (t) => {
  const stream = Buffer.concat([
    encodeGreeting(),
    encodeOptionReply(7, 3, Buffer.from('info')),
    encodeOptionReply(7, 1, Buffer.alloc(0)),
    encodeOptionReply(3, 0x80000001, Buffer.from('no')),
  ])
  const expected = ['greeting 3', '7 3 info', '7 1 ', '3 2147483649 no']
  for (let cut = 0; cut <= stream.length; cut++) {
    t.strictSame(handshake([stream.subarray(0, cut), stream.subarray(cut)]), expected, `at ${cut}`)
  }
  t.strictSame(handshake([...stream].map((byte) => Buffer.of(byte))), expected)
})

t.test('simple replies, cut anywhere', async (t) => {
  const stream = Buffer.concat([
    simpleReply(0, 2, ''),
    simpleReply(0, 1, 'abc'),
    simpleReply(28, 4, ''),
    simpleReply(0, 3, 'def'),
  ])
  const expected = ['0 2', '0 1', 'abc', '28 4', '0 3', 'def']
  for (let cut = 0; cut <= stream.length; cut++) {
    t.strictSame(replies([stream.subarray(0, cut), stream.subarray(cut)]), expected, `at ${cut}`)
  }
  t.strictSame(replies([...stream].map((byte) => Buffer.of(byte))), expected)
})

t.test('nonsense', async (t) => {
  t.strictSame(handshake([Buffer.from('SSH-2.0-OpenSSH_9.2 and so on')]), ['nonsense'])
  const old = encodeGreeting()
  old.fill(0, 8, 16)
  t.strictSame(handshake([old]), ['nonsense'])
  const wrong = encodeOptionReply(7, 1, Buffer.alloc(0))
  wrong[7]! ^= 1
  t.strictSame(handshake([encodeGreeting(), wrong]), ['greeting 3', 'nonsense'])
  const huge = encodeOptionReply(7, 1, Buffer.alloc(0))
  huge.writeUInt32BE(0xffffffff, 16)
  t.strictSame(handshake([encodeGreeting(), huge]), ['greeting 3', 'nonsense'])
  t.strictSame(replies([Buffer.alloc(16, 'x')]), ['bad magic'])
})
