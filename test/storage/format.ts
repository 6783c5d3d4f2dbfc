/** FORMAT.md says everything: a reader that knows only that page finds in the files what the devices gave. */

import { randomBytes } from 'node:crypto'
import { cpSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openStore } from '../../storage/open.ts'
import type { Store } from '../../storage/store.ts'
import { flush, read, trim, write } from '../fixtures/device-calls.ts'
import { FormatReader } from '../fixtures/format-reader.ts'

const KIB = 1024

/** Ends within a chunk. */
const SIZE = 1020 * KIB

/** A store with everything in it that the format knows; `a` and `r` have writes in the log that are not yet whole. */
async function fill(store: Store): Promise<void> {
  await store.createDisk({ name: 'a', sizeBytes: SIZE, chunkBytes: 16 * KIB })
  await store.createDisk({ name: 'b', sizeBytes: SIZE, chunkBytes: 64 * KIB })
  await store.createDisk({ name: 'old', sizeBytes: SIZE, chunkBytes: 4 * KIB })
  const [a, b, old] = ['a', 'b', 'old'].map((name) => store.diskDevice(name))
  if (a === undefined || b === undefined || old === undefined) throw new Error('three disks were made')
  for (const device of [a, b, old]) {
    await write(device, 0, randomBytes(200 * KIB))
    await write(device, 200 * KIB, Buffer.alloc(64 * KIB, 'compresses to an inline row '))
    await write(device, 264 * KIB, Buffer.concat([randomBytes(60 * KIB), Buffer.alloc(60 * KIB)]))
    await write(device, 400 * KIB, Buffer.from(randomBytes(96 * KIB).toString('hex')))
    await write(device, SIZE - 100 * KIB, randomBytes(100 * KIB))
    await flush(device)
  }
  await store.createSnapshot('a', 's1')
  await write(a, 33 * KIB, randomBytes(5 * KIB))
  await trim(a, 60 * KIB, 100 * KIB)
  await write(a, 400 * KIB, Buffer.alloc(32 * KIB))
  await store.createSnapshot('a', 's2')
  await trim(a, 0, 40 * KIB)
  await write(a, 80 * KIB, randomBytes(20 * KIB))
  await store.createSnapshot('old', 'kept')
  await trim(old, 0, SIZE)
  await store.deleteDisk('old', { snapshots: 'keep' })
  await store.renameDisk('b', 'renamed')
  await trim(b, 64 * KIB, 128 * KIB)

  await store.restore({ disk: 'a', snapshot: 's1' }, { name: 'r', sizeBytes: SIZE + 512 * KIB, rate: 256 * KIB })
  const r = store.diskDevice('r')
  await write(r, 5 * KIB, randomBytes(3 * KIB))
  await trim(r, 96 * KIB, 70 * KIB)
  await store.createSnapshot('r', 'half')
  await trim(r, 200 * KIB, 32 * KIB)
  await write(r, SIZE + 100 * KIB, randomBytes(9 * KIB))
  while ((store.disk('r').hydration?.hydratedBytes ?? 0) < 128 * KIB) await sleep(10)
  await store.setHydration('r', { paused: true })
  for (const device of [a, r]) {
    await write(device, 600 * KIB + 1024, randomBytes(1024))
    await write(device, 500 * KIB, randomBytes(512))
    await flush(device)
  }
}

/** What the devices give, by their names. */
async function contents(store: Store): Promise<Map<string, Buffer>> {
  const found = new Map<string, Buffer>()
  for (const { name, sizeBytes } of store.disks()) found.set(name, await read(store.diskDevice(name), 0, sizeBytes))
  for (const { disk, name: snapshot, sizeBytes } of store.snapshots()) {
    found.set(`${disk}@${snapshot}`, await read(store.snapshotDevice({ disk, snapshot }), 0, sizeBytes))
  }
  return found
}

function compare(t: Test, reader: FormatReader, expected: Map<string, Buffer>): void {
  t.same(reader.names(), [...expected.keys()].sort())
  for (const [name, bytes] of expected) {
    const difference = reader.read(name).findIndex((byte, i) => byte !== bytes[i])
    t.equal(difference, -1, name)
  }
}

for (const chunkBytesPlacement of ['segments', 'leveldb'] as const) {
  t.test(`chunk bytes in ${chunkBytesPlacement}`, async (t) => {
    const directory = join(t.testdir(), 'store')
    const options = { directory, chunkBytesPlacement, reserveBytes: 0, segmentBytes: 512 * KIB }
    const store = await openStore({ ...options, init: true })
    await fill(store)
    t.ok((store.disk('r').hydration?.completionPercent ?? 100) < 100, 'half hydrated')
    const running = join(directory, '..', 'running')
    cpSync(directory, running, { recursive: true })
    const expected = await contents(store)
    await store.close()

    for (const [state, place] of [
      ['closed', directory],
      ['not closed', running],
    ] as const) {
      t.test(`${state}: rows`, async (t) => compare(t, await FormatReader.fromIndex(place), expected))
      if (chunkBytesPlacement === 'leveldb') continue
      t.test(`${state}: the log alone`, async (t) => compare(t, FormatReader.fromLog(place), expected))
    }
    t.test('opened again', async (t) => {
      const again = await openStore(options)
      const found = await contents(again)
      await again.close()
      for (const [name, bytes] of expected) t.ok(found.get(name)?.equals(bytes), name)
      compare(t, await FormatReader.fromIndex(directory), expected)
    })
  })
}
