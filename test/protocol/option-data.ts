import t from 'tap'
import { encodeInfoRequest } from '../../protocol/client/encoder.ts'
import { parseInfoRequest, parseName } from '../../protocol/option-data.ts'

t.test('a well-formed request', async (t) => {
  t.match(parseInfoRequest(encodeInfoRequest('disk@snap', [3, 1, 3, 77])), { name: 'disk@snap' })
  t.strictSame([...parseInfoRequest(encodeInfoRequest('', [3, 1, 3, 77]))!.types], [3, 1, 77])
  t.equal(parseInfoRequest(encodeInfoRequest('', []))!.name, '')
  t.equal(parseInfoRequest(encodeInfoRequest('n'.repeat(4096), []))!.name.length, 4096)
})

t.test('every truncation and every addition is malformed', async (t) => {
  const good = encodeInfoRequest('disk', [1, 2])
  for (let length = 0; length < good.length; length++) {
    t.equal(parseInfoRequest(good.subarray(0, length)), undefined, `${length} bytes`)
  }
  t.equal(parseInfoRequest(Buffer.concat([good, Buffer.alloc(1)])), undefined)
  t.equal(parseInfoRequest(Buffer.concat([good, Buffer.alloc(2)])), undefined)
})

t.test('lengths that lie', async (t) => {
  for (const length of [0, 3, 5, 8, 100, 0x7fffffff, 0x80000000, 0xffffffff]) {
    const lying = encodeInfoRequest('disk', [1, 2])
    lying.writeUInt32BE(length, 0)
    t.equal(parseInfoRequest(lying), undefined, `name of ${length}`)
  }
  for (const count of [0, 1, 3, 0xffff]) {
    const lying = encodeInfoRequest('disk', [1, 2])
    lying.writeUInt16BE(count, 8)
    t.equal(parseInfoRequest(lying), undefined, `${count} types`)
  }
})

t.test('names', async (t) => {
  t.equal(parseName(Buffer.from('é€😀')), 'é€😀')
  t.equal(parseName(Buffer.from('\ufeffdisk')), '\ufeffdisk', 'a byte order mark belongs to the name')
  t.equal(parseName(Buffer.from('a\0b')), undefined, 'NUL')
  t.equal(parseName(Buffer.of(0xff)), undefined, 'not UTF-8')
  t.equal(parseName(Buffer.of(0xc0, 0x80)), undefined, 'overlong')
  t.equal(parseName(Buffer.alloc(4097, 'n')), undefined, 'too long')
})
