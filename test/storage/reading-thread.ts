/** The reading thread: what it reads and checks, what it hands back, and that nothing is lost with it. */

import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ReadOutcome } from '../../storage/environment.ts'
import { SLOT_BYTES, SLOTS } from '../../storage/reading-ring.ts'
import { NodeReadingThread } from '../../storage/reading-thread.ts'
import { Codec, incarnationCrc, payloadOffset, recordBytes, RecordType, sealRecord } from '../../storage/record.ts'

const CHUNK_BYTES = 16 * 1024
const RECORD_BYTES = recordBytes(RecordType.CHUNK, Codec.RAW, CHUNK_BYTES)
const PAYLOAD_AT = payloadOffset(RecordType.CHUNK, Codec.RAW, CHUNK_BYTES)
const RECORDS = 200
const crc = incarnationCrc(Buffer.alloc(16, 7))

/** A file of records; the payload of each is its number. */
function setUp(t: Test) {
  const directory = mkdtempSync(join(tmpdir(), 'thaw-reading-'))
  const fd = openSync(join(directory, 'segment'), 'wx+')
  for (let number = 0; number < RECORDS; number++) {
    const record = Buffer.alloc(RECORD_BYTES, number)
    sealRecord(
      record,
      0,
      {
        type: RecordType.CHUNK,
        codec: Codec.RAW,
        sequence: number,
        lineage: 1,
        generation: 1,
        chunk: number,
        extent: 0,
        payloadBytes: CHUNK_BYTES,
        chunkBytes: CHUNK_BYTES,
        durableSegment: 0,
        durableOffset: 0,
      },
      crc,
    )
    writeSync(fd, record, 0, RECORD_BYTES, number * RECORD_BYTES)
  }
  const thread = new NodeReadingThread((error) => t.fail(error.message))
  t.teardown(async () => {
    await thread.close()
    closeSync(fd)
    rmSync(directory, { recursive: true })
  })
  return { fd, thread }
}

/** One read, tried until the thread takes it: after a read that was handed back it takes none for a while. */
async function read(thread: NodeReadingThread, fd: number, number: number, records: number, incarnation = crc) {
  const offsets = Array.from({ length: records }, (_, i) => i * RECORD_BYTES)
  const position = number * RECORD_BYTES
  for (;;) {
    const answer = new Promise<{ outcome: ReadOutcome; bytes: Buffer }>((resolve, reject) => {
      const taken = thread.read(fd, position, records * RECORD_BYTES, offsets, incarnation, (outcome, memory, at) =>
        resolve({ outcome, bytes: Buffer.from(memory.subarray(at, at + records * RECORD_BYTES)) }),
      )
      if (!taken) reject(new Error('not taken'))
    })
    const found = await answer.catch(() => undefined)
    if (found !== undefined) return found
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** The same, as long as only the machine was slow. */
async function readInTheEnd(thread: NodeReadingThread, fd: number, number: number, records: number) {
  for (;;) {
    const found = await read(thread, fd, number, records)
    if (found.outcome !== ReadOutcome.NOT_READ) return found
  }
}

t.test('many reads at once, each with its own bytes', async (t) => {
  const { fd, thread } = setUp(t)
  await Promise.all(
    Array.from({ length: 3 * SLOTS }, async (_, i) => {
      const number = (i * 7) % (RECORDS - 3)
      const { outcome, bytes } = await readInTheEnd(thread, fd, number, 1 + (i % 3))
      if (outcome !== ReadOutcome.GOOD) t.fail(`record ${number}: ${outcome}`)
      for (let k = 0; k <= i % 3; k++) {
        const first = k * RECORD_BYTES + PAYLOAD_AT
        if (!bytes.subarray(first, first + CHUNK_BYTES).equals(Buffer.alloc(CHUNK_BYTES, number + k))) {
          t.fail(`record ${number + k} is another's`)
        }
      }
    }),
  )
  t.pass('all read')
})

t.test('a damaged record among good ones is not called good', async (t) => {
  const { fd, thread } = setUp(t)
  writeSync(fd, Buffer.from([255]), 0, 1, 3 * RECORD_BYTES + PAYLOAD_AT + 5000)
  t.equal((await readInTheEnd(thread, fd, 2, 1)).outcome, ReadOutcome.GOOD)
  t.equal((await readInTheEnd(thread, fd, 2, 2)).outcome, ReadOutcome.UNCHECKED)
  t.equal((await readInTheEnd(thread, fd, 4, 2)).outcome, ReadOutcome.GOOD)
})

t.test('a record of another life of the segment is not called good', async (t) => {
  const { fd, thread } = setUp(t)
  for (;;) {
    const { outcome } = await read(thread, fd, 0, 1, crc + 1)
    if (outcome === ReadOutcome.NOT_READ) continue
    t.equal(outcome, ReadOutcome.UNCHECKED)
    break
  }
})

t.test('what cannot be read is handed back', async (t) => {
  const { fd, thread } = setUp(t)
  t.equal((await read(thread, fd, RECORDS - 1, 2)).outcome, ReadOutcome.NOT_READ, 'beyond the end')
  t.equal((await read(thread, 1_000_000, 0, 1)).outcome, ReadOutcome.NOT_READ, 'no such file')
  t.equal((await readInTheEnd(thread, fd, 0, 1)).outcome, ReadOutcome.GOOD, 'and the next is read')
})

t.test('a read that is too long is not taken', async (t) => {
  const { fd, thread } = setUp(t)
  t.notOk(thread.read(fd, 0, SLOT_BYTES + 1, [0], crc, () => t.fail('not taken and answered')))
})

t.test('a read asked for while another is answered, and closing is waited for', async (t) => {
  const { fd, thread } = setUp(t)
  const nested = new Promise<string>((resolve) => {
    const again = () => {
      const taken = thread.read(fd, 0, RECORD_BYTES, [0], crc, () => resolve('answered'))
      if (!taken) resolve('not taken')
    }
    thread.read(fd, 0, RECORD_BYTES, [0], crc, () => queueMicrotask(again))
  })
  await thread.close()
  t.match(await nested, /^(answered|not taken)$/)
})

t.test('closing answers what was taken, and takes nothing more', async (t) => {
  const { fd, thread } = setUp(t)
  let answered = 0
  const taken = Array.from({ length: 20 }, () => thread.read(fd, 0, RECORD_BYTES, [0], crc, () => answered++))
  await thread.close()
  t.ok(taken[0])
  t.equal(answered, taken.filter(Boolean).length)
  t.notOk(thread.read(fd, 0, RECORD_BYTES, [0], crc, () => t.fail('answered after the end')))
})
