/**
 * How long after `restore` does the new disk answer? From the request on the
 * control socket to the first 4 KiB read over NBD, for
 *
 *   full    1 GiB, every chunk stored
 *   empty   1 TiB, nothing stored
 *   many    1 TiB, four million chunks stored, one in sixteen
 *
 *   node dist/tools/bench/restore-latency.js [--times 20] [--chunks 4000000] [--cases full,empty,many] [--json]
 *
 * It also says how much anonymous memory the daemon has at the end of each.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { connectNbd } from '../../protocol/client/connect.ts'
import { CHUNK_BYTES_DEFAULT } from '../../storage/store.ts'
import { openStore } from '../../storage/open.ts'
import { ControlClient } from '../control-client.ts'
import { runFio } from './fio.ts'
import { anonymousBytes } from './process-usage.ts'
import { startThaw, type ThawServer } from './servers.ts'
import { median } from './statistics.ts'

const GiB = 1024 ** 3
const TiB = 1024 * GiB

const { values } = parseArgs({
  options: {
    times: { type: 'string', default: '20' },
    chunks: { type: 'string', default: '4000000' },
    cases: { type: 'string', default: 'full,empty,many' },
    directory: { type: 'string', default: tmpdir() },
    json: { type: 'boolean', default: false },
  },
})

interface Latencies {
  readonly name: string
  /** Milliseconds, in the order in which they were measured. */
  readonly restored: number[]
  readonly read: number[]
  anonymousBytes: number
}

const directory = mkdtempSync(join(values.directory, 'thaw-bench-'))
const times = Number(values.times)
const chunks = Number(values.chunks)
const wanted = values.cases.split(',')
const progress = (line: string) => process.stderr.write(`${line}\n`)

try {
  const results: Latencies[] = []
  if (wanted.includes('full'))
    results.push(await measure('full', GiB, (server) => runFio('precondition', server.uri, 0)))
  if (wanted.includes('empty')) results.push(await measure('empty', TiB, async () => {}))
  if (wanted.includes('many')) {
    await storeMany(join(directory, 'many', 'data'))
    results.push(await measure('many', TiB, async () => {}))
  }
  if (values.json) process.stdout.write(`${JSON.stringify(results)}\n`)
  else print(results)
} finally {
  rmSync(directory, { recursive: true, force: true })
}

async function measure(
  name: string,
  sizeBytes: number,
  fill: (server: ThawServer) => Promise<unknown>,
): Promise<Latencies> {
  const isMade = name === 'many'
  const began = performance.now()
  const server = await startThaw({ directory: join(directory, name), ...(isMade ? {} : { disk: { sizeBytes } }) })
  progress(`${name}: the daemon serves after ${Math.round(performance.now() - began)} ms`)
  const result: Latencies = { name, restored: [], read: [], anonymousBytes: 0 }
  try {
    await fill(server)
    await using control = await ControlClient.connect(server.controlPath)
    await control.call('snapshot.create', { disk: 'disk0', snapshot: 'base' })
    for (let i = 0; i < times; i++) {
      const disk = `copy${i}`
      const asked = performance.now()
      await control.call('restore', { disk: 'disk0', snapshot: 'base', name: disk })
      const restored = performance.now()
      const client = await connectNbd({ path: join(directory, name, 'nbd.sock') })
      await client.go(disk)
      await client.read(offsetOf(i, sizeBytes), 4096)
      result.read.push(performance.now() - asked)
      result.restored.push(restored - asked)
      await client.disconnect()
      result.anonymousBytes = Math.max(result.anonymousBytes, anonymousBytes(server.pid))
      await sleep(200)
      await control.call('disk.delete', { name: disk })
    }
  } finally {
    await server.stop()
  }
  return result
}

/** Another place each time, so that no read is helped by the one before. */
function offsetOf(i: number, sizeBytes: number): number {
  return Math.floor(((i + 0.5) / times) * (sizeBytes / 4096)) * 4096
}

/** Through the store itself: a daemon would do the same, behind a socket. */
async function storeMany(dataDirectory: string): Promise<void> {
  const began = performance.now()
  const store = await openStore({ directory: dataDirectory, init: true })
  await store.createDisk({ name: 'disk0', sizeBytes: TiB, chunkBytes: CHUNK_BYTES_DEFAULT })
  const device = store.diskDevice('disk0')
  const stride = Math.floor(TiB / CHUNK_BYTES_DEFAULT / chunks) * CHUNK_BYTES_DEFAULT
  const payload = Buffer.alloc(CHUNK_BYTES_DEFAULT, 'small when it is compressed; ')
  const inFlightMax = 1024
  let next = 0
  await new Promise<void>((resolve, reject) => {
    let inFlight = 0
    const complete = (error: Error | null) => {
      if (error !== null) return reject(error)
      if (--inFlight === 0) setImmediate(more)
    }
    const more = () => {
      if (next === chunks) return resolve()
      for (; next < chunks && inFlight < inFlightMax; next++) {
        payload.writeUInt32LE(next, 0)
        inFlight++
        device.write(next * stride, payload, false, { complete })
      }
    }
    more()
  })
  await store.close()
  progress(`${chunks} chunks stored in ${Math.round((performance.now() - began) / 1000)} s`)
}

function print(results: readonly Latencies[]): void {
  const smallest = Math.min(...results.map(({ read }) => median(read)))
  const smallestWorst = Math.min(...results.map(({ read }) => Math.max(...read)))
  for (const { name, read, restored, anonymousBytes } of results) {
    const worst = Math.max(...read)
    process.stdout.write(
      `${name.padEnd(6)} first read after: median ${median(read).toFixed(1)} ms (${(median(read) / smallest).toFixed(2)} of the smallest), ` +
        `worst ${worst.toFixed(1)} ms (${(worst / smallestWorst).toFixed(2)}); ` +
        `restore answered after ${median(restored).toFixed(1)} ms; anonymous memory ${Math.round(anonymousBytes / 1024 ** 2)} MiB\n`,
    )
  }
}
