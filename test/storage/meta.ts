import t from 'tap'
import type { Change } from '../../storage/catalogue.ts'
import { appendMeta, MetaReader } from '../../storage/meta.ts'
import { PAYLOAD_BYTES_MAX } from '../../storage/record.ts'
import type { SegmentLog } from '../../storage/segment-log.ts'

t.test('a change of any size is applied all or none', async (t) => {
  const payloads: Buffer[] = []
  const log = { append: (_: unknown, payload: Buffer) => payloads.push(payload) } as unknown as SegmentLog
  const changes: Change[] = Array.from({ length: 9999 }, (_, id) => ({ kind: 'snapshot', id, value: null }))
  appendMeta(log, () => 0, { changes })
  t.ok(payloads.length > 1 && payloads.every(({ length }) => length < PAYLOAD_BYTES_MAX))
  const reader = new MetaReader()
  t.same(
    payloads.map((payload) => reader.read(payload)?.changes.length),
    payloads.map((_, i) => (i < payloads.length - 1 ? undefined : changes.length)),
  )
  t.equal(reader.read(payloads[1] as Buffer), undefined, 'a part without the one before it')
})
