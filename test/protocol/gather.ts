import t from 'tap'
import { Gather } from '../../protocol/gather.ts'

const bytes = Buffer.from('0123456789')

t.test('what one piece holds is used where it lies', async (t) => {
  const gather = new Gather(4)
  t.equal(gather.take(bytes, 3), 7)
  t.ok(gather.done)
  t.equal(gather.source, bytes)
  t.equal(gather.start, 3)
})

t.test('any two cuts give the same bytes', async (t) => {
  for (let first = 0; first <= 10; first++) {
    for (let second = first; second <= 10; second++) {
      const gather = new Gather(10)
      for (const piece of [bytes.subarray(0, first), bytes.subarray(first, second), bytes.subarray(second)]) {
        t.notOk(gather.done)
        t.equal(gather.take(piece, 0), piece.length)
        if (gather.done) break
      }
      t.ok(gather.done)
      t.equal(gather.source.toString('latin1', gather.start, gather.start + 10), '0123456789')
    }
  }
})

t.test('nothing beyond the expected bytes is taken', async (t) => {
  const gather = new Gather(4)
  gather.take(bytes, 8)
  t.equal(gather.take(bytes, 0), 2)
  t.equal(gather.source.toString('latin1', 0, 4), '8901')
  gather.expect(3)
  t.notOk(gather.done)
  t.equal(gather.take(bytes, 2), 5)
  t.equal(gather.source.toString('latin1', gather.start, gather.start + 3), '234')
})

t.test('nothing to wait for is there at once', async (t) => {
  const gather = new Gather(0)
  t.equal(gather.take(bytes, 10), 10)
  t.ok(gather.done)
})

t.test('a large announcement costs nothing before its bytes come', async (t) => {
  const before = process.memoryUsage().arrayBuffers
  const gather = new Gather(0)
  gather.expect(1024 ** 3)
  gather.take(Buffer.alloc(0), 0)
  t.ok(process.memoryUsage().arrayBuffers - before < 1024 ** 2)
})
