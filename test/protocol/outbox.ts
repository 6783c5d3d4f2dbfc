import t from 'tap'
import { Outbox } from '../../protocol/outbox.ts'
import type { Output } from '../../protocol/output.ts'
import { ReplyArena, SlabPool } from '../../protocol/reply-arena.ts'
import type { Slab } from '../../protocol/reply-arena.ts'

function outbox() {
  const writes: (readonly Buffer[])[] = []
  const output = { write: (pieces: readonly Buffer[]) => void writes.push(pieces) } as Output
  const arena = new ReplyArena(new SlabPool())
  const box = new Outbox(output, arena)
  const reserve = (text: string): [Slab, number, number] => {
    const slab = arena.slabFor(text.length)
    const start = slab.used
    slab.used += slab.buffer.write(text, start)
    slab.living++
    return [slab, start, slab.used]
  }
  const texts = () => writes.map((pieces) => pieces.map(String))
  return { arena, box, reserve, texts, writes }
}

t.test('neighbours leave as one piece, others as pieces of one write', async (t) => {
  const { box, reserve, texts } = outbox()
  const [a, b, c, d] = [reserve('aa'), reserve('bb'), reserve('cc'), reserve('dd')]
  box.add(...a, 1)
  box.add(...b, 2)
  box.add(...d, 3)
  box.add(...c, 4)
  box.flush()
  t.strictSame(texts(), [['aabb', 'dd', 'cc']])
  t.strictSame(box.left(), { requests: 4, payloadBytes: 10 })
  t.ok(box.empty)
  t.equal(a[0].living, 0)
})

t.test('one write at a time', async (t) => {
  const { box, reserve, texts } = outbox()
  box.flush()
  t.strictSame(texts(), [], 'nothing to write is no write')
  box.add(...reserve('aa'), 0)
  box.flush()
  box.add(...reserve('bb'), 0)
  box.flush()
  box.add(...reserve('cc'), 0)
  box.flush()
  t.strictSame(texts(), [['aa']])
  t.notOk(box.empty)
  box.left()
  t.notOk(box.empty)
  box.flush()
  t.strictSame(texts(), [['aa'], ['bbcc']])
  box.left()
  t.ok(box.empty)
})

t.test('bytes that are on their way are not used again', async (t) => {
  const { arena, box, reserve } = outbox()
  const [slab, start, end] = reserve('aa')
  box.add(slab, start, end, 0)
  box.flush()
  box.close()
  t.not(arena.slabFor(1024 * 1024 - 1), slab)
  t.equal(slab.living, 1, 'left to the collector')
})

t.test('after the end everything is let go', async (t) => {
  const { box, reserve, writes } = outbox()
  const first = reserve('aa')
  const second = reserve('bb')
  box.add(...first, 0)
  box.close()
  box.add(...second, 0)
  box.flush()
  t.equal(writes.length, 0)
  t.equal(first[0].living, 0)
})
