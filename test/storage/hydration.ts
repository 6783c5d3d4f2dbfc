import { setTimeout as sleep } from 'node:timers/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Environment } from '../../storage/environment.ts'
import { nodeEnvironment } from '../../storage/node-environment.ts'
import { openStore } from '../../storage/open.ts'
import type { Store } from '../../storage/store.ts'
import { flush, read, write } from '../fixtures/device-calls.ts'

const CHUNK = 16 * 1024
const from = { disk: 'd', snapshot: 's' }

async function storeWithSnapshot(t: Test, environment: Environment = nodeEnvironment): Promise<Store> {
  const store = await openStore({ directory: join(t.testdir(), 'store'), init: true, environment, reserveBytes: 0 })
  await store.createDisk({ name: 'd', sizeBytes: 1024 * 1024, chunkBytes: CHUNK })
  for (let chunk = 0; chunk < 40; chunk++)
    await write(store.diskDevice('d'), chunk * CHUNK, Buffer.alloc(CHUNK, `chunk ${chunk} `))
  await store.createSnapshot('d', 's')
  return store
}

async function hydrated(store: Store, disk: string): Promise<boolean> {
  for (let tries = 0; tries < 500 && store.disk(disk).hydration !== null; tries++) await sleep(10)
  return store.disk(disk).hydration === null
}

/** Asks for free space slowly. */
function slowSpace(millis: () => number): Environment {
  return {
    ...nodeEnvironment,
    files: {
      ...nodeEnvironment.files,
      async space(path) {
        await sleep(millis())
        return nodeEnvironment.files.space(path)
      },
    },
  }
}

t.test('it ends though the last count comes while it asks for space', async (t) => {
  const store = await storeWithSnapshot(
    t,
    slowSpace(() => 500),
  )
  await store.restore(from, { name: 'r', rate: null })
  t.ok(await hydrated(store, 'r'))
  await store.close()
})

t.test('a very low rate keeps nobody waiting who wants to stop', async (t) => {
  const store = await storeWithSnapshot(t)
  await store.restore(from, { name: 'r', rate: 1 })
  await store.restore(from, { name: 'q', rate: 1 })
  await sleep(200)
  const began = Date.now()
  await store.deleteDisk('q')
  await store.close()
  t.ok(Date.now() - began < 2000)
})

t.test('a disk can be deleted while its hydration is being surveyed', async (t) => {
  const store = await storeWithSnapshot(t)
  await store.restore(from, { name: 'r' })
  await store.deleteDisk('r')
  t.same(
    store.disks().map(({ name }) => name),
    ['d'],
  )
  await store.close()
  const again = await openStore({ directory: (await store.status()).dataDirectory })
  t.same(
    again.disks().map(({ name }) => name),
    ['d'],
  )
  await again.close()
})

t.test('a snapshot deleted while a restore of it asks for space is not found', async (t) => {
  let millis = 0
  const store = await storeWithSnapshot(
    t,
    slowSpace(() => millis),
  )
  millis = 100
  const restored = store.restore(from, { name: 'r' })
  await Promise.all([store.deleteSnapshots([from]), t.rejects(restored, { code: 'SNAPSHOT_NOT_FOUND' })])
  t.same(
    store.disks().map(({ name }) => name),
    ['d'],
  )
  await store.close()
})

t.test('a read keeps what it fetched, also when the log has to catch up', async (t) => {
  const chunks = 256
  const directory = join(t.testdir(), 'store')
  // Dirty bytes: a quarter of the cache, 16 chunks.
  const store = await openStore({ directory, init: true, reserveBytes: 0, cacheBytes: 64 * CHUNK, compression: 'none' })
  await store.createDisk({ name: 'd', sizeBytes: chunks * CHUNK, chunkBytes: CHUNK })
  for (let chunk = 0; chunk < chunks; chunk++)
    await write(store.diskDevice('d'), chunk * CHUNK, Buffer.alloc(CHUNK, `chunk ${chunk} `))
  await store.createSnapshot('d', 's')
  await store.restore(from, { name: 'r', paused: true })
  const device = store.diskDevice('r')
  const reads = Array.from({ length: chunks / 8 }, (_, i) => read(device, i * 8 * CHUNK, 8 * CHUNK))
  for (const [i, bytes] of (await Promise.all(reads)).entries())
    t.ok(bytes.subarray(0, CHUNK).equals(Buffer.alloc(CHUNK, `chunk ${i * 8} `)))
  await flush(device)
  t.ok(await hydrated(store, 'r'), 'nothing is left for the paused worker')
  await store.close()
})
