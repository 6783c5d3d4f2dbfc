/** Where the log ends: torn, lost or rotten, on simulated files. */

import t, { type Test } from 'tap'
import { Codec, type RecordHeader, RecordType } from '../../storage/record.ts'
import { offsetOf, segmentOf } from '../../storage/position.ts'
import { SegmentFiles } from '../../storage/segment-files.ts'
import { SegmentLog } from '../../storage/segment-log.ts'
import { scanLog } from '../../storage/segment-scan.ts'
import { Simulation } from '../fixtures/simulation/environment.ts'
import type { Fate } from '../fixtures/simulation/disk.ts'

const SEGMENT_BYTES = 64 * 1024
const PAYLOAD_BYTES = 4096

function header(sequence: number): RecordHeader {
  return {
    type: RecordType.CHUNK,
    codec: Codec.RAW,
    sequence,
    lineage: 1,
    generation: 1,
    chunk: sequence,
    extent: 0,
    payloadBytes: PAYLOAD_BYTES,
    chunkBytes: PAYLOAD_BYTES,
    durableSegment: 0,
    durableOffset: 0,
  }
}

/** A log on a simulated disk. */
function logOn(simulation: Simulation, firstSegment = 1) {
  const environment = simulation.start()
  const files = new SegmentFiles(environment.files, '/segments')
  simulation.disk.directories.add('/segments')
  const log = new SegmentLog(environment, files, firstSegment, {
    segmentBytes: SEGMENT_BYTES,
    onFailed: (error) => {
      throw error
    },
    onNoSpace: () => {},
  })
  return {
    files,
    log,
    append: (sequence: number) => log.append(header(sequence), Buffer.alloc(PAYLOAD_BYTES, sequence)),
    /** Written, and not synced. */
    written: () => simulation.world.sleep(5000),
  }
}

async function scan(simulation: Simulation, from = { segment: 0, offset: 0 }) {
  simulation.ended()
  const files = new SegmentFiles(simulation.start().files, '/segments')
  await files.load()
  const sequences: number[] = []
  const result = await scanLog(files, from, ({ header }) => {
    sequences.push(header.sequence)
  })
  await files.close()
  return { sequences, ...result }
}

const range = (first: number, final: number) => Array.from({ length: final - first + 1 }, (_, i) => first + i)

function inSimulation(name: string, body: (t: Test, simulation: Simulation) => Promise<void>): void {
  t.test(name, (t) => {
    const simulation = new Simulation(7)
    return simulation.world.run(body(t, simulation))
  })
}

inSimulation('all records, in the order of the log', async (t, simulation) => {
  const { log, append } = logOn(simulation)
  for (const sequence of range(1, 40)) append(sequence)
  await log.synced()
  const { sequences, end, damaged } = await scan(simulation)
  t.same(sequences, range(1, 40))
  t.same(damaged, [])
  t.same(end, { segment: segmentOf(log.stagedPosition), offset: offsetOf(log.stagedPosition) })
})

for (const fate of ['none', 'length', 'prefix', 'sectors'] as const) {
  inSimulation(
    `an end that was not synced may be lost, and nothing after it counts: ${fate}`,
    async (t, simulation) => {
      const { log, append, written } = logOn(simulation)
      for (const sequence of range(1, 5)) append(sequence)
      await log.synced()
      for (const sequence of range(6, 40)) append(sequence)
      await written()
      t.ok(segmentOf(log.stagedPosition) >= 2, 'some segments')
      // What was written last is on the disk, what was written before that is not.
      simulation.powerCut((path): Fate => (path.endsWith('00000001.seg') ? fate : 'all'))
      const { sequences, end, damaged } = await scan(simulation)
      t.same(sequences, range(1, sequences.length), 'a prefix of what was appended')
      t.ok(sequences.length >= 5, 'with all that was synced')
      t.ok(sequences.length < 15, 'and nothing behind what was lost')
      t.same(damaged, [])
      t.equal(end?.segment, 1)
    },
  )
}

inSimulation('a bad record below the durable mark of a later one is rot: the rest is there', async (t, simulation) => {
  const { log, append } = logOn(simulation)
  const positions = range(1, 20).map((sequence) => append(sequence))
  await log.synced()
  append(21)
  await log.synced()
  const rotten = positions[7] as number
  const file = simulation.disk.file('/segments/00000001.seg')
  file?.visible.put(Buffer.from('rot'), offsetOf(rotten) + 200)
  const { sequences, damaged } = await scan(simulation)
  t.same(damaged, [rotten])
  t.same(
    sequences,
    range(1, 21).filter((sequence) => sequence !== 8),
  )
})

inSimulation('a segment whose header is bad is rot when a later record says so', async (t, simulation) => {
  const { log, append } = logOn(simulation)
  for (const sequence of range(1, 40)) append(sequence)
  await log.synced()
  append(41)
  await log.synced()
  simulation.disk.file('/segments/00000002.seg')?.visible.put(Buffer.from('rot'), 8)
  const { sequences, damaged } = await scan(simulation)
  t.equal(damaged.length, 1)
  t.equal(segmentOf(damaged[0] as number), 2)
  t.equal(sequences.at(-1), 41)
  t.equal(sequences[0], 1)
})

inSimulation('a segment that was removed on purpose is no loss', async (t, simulation) => {
  const { log, append, files } = logOn(simulation)
  for (const sequence of range(1, 60)) append(sequence)
  await log.synced()
  await files.remove(2)
  const { sequences, damaged } = await scan(simulation)
  t.same(damaged, [])
  t.equal(sequences.at(-1), 60)
})

inSimulation('nothing of an earlier life of a segment is taken for a record', async (t, simulation) => {
  const first = logOn(simulation)
  for (const sequence of range(1, 5)) first.append(sequence)
  await first.log.synced()
  const before = Buffer.from(simulation.disk.file('/segments/00000001.seg')?.visible.content ?? [])
  simulation.ended()
  await simulation.start().files.remove('/segments/00000001.seg')
  simulation.ended()
  const second = logOn(simulation)
  second.append(6)
  await second.log.synced()
  const file = simulation.disk.file('/segments/00000001.seg')
  const length = file?.visible.length ?? 0
  file?.visible.put(before.subarray(length), length)
  const { sequences, end } = await scan(simulation)
  t.same(sequences, [6])
  t.same(end, { segment: 1, offset: length })
})

inSimulation('a record without all of its padding is torn', async (t, simulation) => {
  const { log, append } = logOn(simulation)
  const positions = range(1, 3).map((sequence) => append(sequence))
  await log.synced()
  simulation.disk.file('/segments/00000001.seg')?.visible.resize(offsetOf(log.stagedPosition) - 1)
  const { sequences, end } = await scan(simulation)
  t.same(sequences, [1, 2])
  t.same(end, { segment: 1, offset: offsetOf(positions[2] as number) })
})

inSimulation('from a place in the middle', async (t, simulation) => {
  const { log, append } = logOn(simulation)
  const positions = range(1, 40).map((sequence) => append(sequence))
  await log.synced()
  const from = positions[9] as number
  const { sequences } = await scan(simulation, { segment: segmentOf(from), offset: offsetOf(from) })
  t.same(sequences, range(10, 40))
})
