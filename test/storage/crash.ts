/** What is found again after the process ended without a word, on real files: a copy of the directory is what it left. */

import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Environment } from '../../storage/environment.ts'
import { nodeEnvironment } from '../../storage/node-environment.ts'
import { openStore } from '../../storage/open.ts'
import { flush, read, trim, write } from '../fixtures/device-calls.ts'

/** Larger than what is compressed at once. */
const CHUNK = 64 * 1024
const SECTOR = CHUNK / 32

/** A disk whose snapshots stay under way; what a crash leaves of it, and its first chunk as it is then found. */
async function freezing(t: Test) {
  let goOn = () => {}
  const gate = new Promise<void>((resolve) => {
    goOn = resolve
  })
  const environment: Environment = {
    ...nodeEnvironment,
    compression: {
      ...nodeEnvironment.compression,
      compress: async (data) => {
        await gate
        return nodeEnvironment.compression.compress(data)
      },
    },
  }
  const root = t.testdir()
  const directory = join(root, 'store')
  const store = await openStore({ directory, init: true, environment })
  await store.createDisk({ name: 'd', sizeBytes: 1024 * 1024, chunkBytes: CHUNK })
  const crash = async () => {
    const copy = join(root, 'copy')
    cpSync(directory, copy, { recursive: true })
    goOn()
    await store.close()
    return copy
  }
  const chunkAfterCrash = async () => {
    const again = await openStore({ directory: await crash() })
    const chunk = await read(again.diskDevice('d'), 0, CHUNK)
    await again.close()
    return chunk
  }
  const freeze = () => void store.createSnapshot('d', 's').catch(() => {})
  return { device: store.diskDevice('d'), freeze, crash, chunkAfterCrash }
}

t.test('a chunk of the next generation hides what is left of the one before', async (t) => {
  const { device, freeze, chunkAfterCrash } = await freezing(t)
  await write(device, 0, Buffer.alloc(SECTOR, 'a'))
  await flush(device)
  freeze()
  await write(device, 0, Buffer.alloc(CHUNK, 'b'), { fua: true })
  t.same(await chunkAfterCrash(), Buffer.alloc(CHUNK, 'b'))
})

t.test('a discard of the next generation hides what is left of the one before', async (t) => {
  const { device, freeze, chunkAfterCrash } = await freezing(t)
  await write(device, 0, Buffer.alloc(SECTOR, 'a'))
  await flush(device)
  freeze()
  await trim(device, 0, CHUNK)
  await flush(device)
  t.same(await chunkAfterCrash(), Buffer.alloc(CHUNK))
})

t.test('a flush covers both generations of a chunk, whichever was logged first', async (t) => {
  const { device, freeze, chunkAfterCrash } = await freezing(t)
  await write(device, 0, Buffer.alloc(SECTOR, 'a'))
  freeze()
  await write(device, SECTOR, Buffer.alloc(SECTOR, 'b'), { fua: true })
  await flush(device)
  const expected = Buffer.concat([
    Buffer.alloc(SECTOR, 'a'),
    Buffer.alloc(SECTOR, 'b'),
    Buffer.alloc(CHUNK - 2 * SECTOR),
  ])
  t.same(await chunkAfterCrash(), expected)
})

t.test('an older generation that is logged after the newer does not cover it', async (t) => {
  const { device, freeze, chunkAfterCrash } = await freezing(t)
  await write(device, 0, Buffer.alloc(SECTOR, 'a'))
  freeze()
  await write(device, 0, Buffer.alloc(CHUNK, 'b'), { fua: true })
  await flush(device)
  t.same(await chunkAfterCrash(), Buffer.alloc(CHUNK, 'b'))
})

t.test('the generation of an unfinished snapshot is remembered over two starts', async (t) => {
  const { device, freeze, crash } = await freezing(t)
  await write(device, 0, Buffer.alloc(SECTOR, 'a'))
  freeze()
  await write(device, 0, Buffer.alloc(CHUNK, 'b'), { fua: true })
  const directory = await crash()
  await (await openStore({ directory })).close()
  const second = await openStore({ directory })
  await write(second.diskDevice('d'), 0, Buffer.alloc(CHUNK, 'c'))
  await second.close()
  const third = await openStore({ directory })
  t.same(await read(third.diskDevice('d'), 0, CHUNK), Buffer.alloc(CHUNK, 'c'))
  await third.close()
})

t.test('the index is rebuilt from the log', async (t) => {
  const directory = join(t.testdir(), 'store')
  // Small segments, so that some die.
  const segmentBytes = 256 * 1024
  let store = await openStore({ directory, init: true, segmentBytes })
  for (const name of ['kept', 'gone']) await store.createDisk({ name, sizeBytes: 4 * 1024 * 1024, chunkBytes: CHUNK })
  const gone = store.diskDevice('gone')
  for (let at = 0; at < 1024 * 1024; at += CHUNK) await write(gone, at, Buffer.alloc(CHUNK, `gone ${at}`))
  let device = store.diskDevice('kept')
  await write(device, 0, Buffer.alloc(5 * CHUNK, 'a'))
  await store.createSnapshot('kept', 's')
  await write(device, 0, Buffer.alloc(CHUNK, 'b'))
  await trim(device, CHUNK, 2 * CHUNK)
  await write(device, 3 * CHUNK + 512, Buffer.alloc(512, 'c'))
  await write(device, 40 * CHUNK, Buffer.alloc(512, 'd'))
  await flush(device)
  await trim(device, 40 * CHUNK, CHUNK)
  await store.deleteDisk('gone')
  await store.close()
  // Opened once more: what was deleted is freed for good.
  store = await openStore({ directory, segmentBytes })
  while ((await store.status()).states.includes('reclaiming')) await new Promise((resolve) => setTimeout(resolve, 10))
  device = store.diskDevice('kept')
  const head = await read(device, 0, 4 * 1024 * 1024)
  const snapshot = await read(store.snapshotDevice({ disk: 'kept', snapshot: 's' }), 0, 4 * 1024 * 1024)
  await store.close()

  rmSync(join(directory, 'index'), { recursive: true })
  store = await openStore({ directory, segmentBytes })
  t.same(
    store.disks().map(({ name }) => name),
    ['kept'],
  )
  t.ok((await read(store.diskDevice('kept'), 0, 4 * 1024 * 1024)).equals(head), 'the disk')
  const device2 = store.snapshotDevice({ disk: 'kept', snapshot: 's' })
  t.ok((await read(device2, 0, 4 * 1024 * 1024)).equals(snapshot), 'its snapshot')
  await store.close()
})
