/**
 * What the size of a chunk costs and gains: the same jobs on disks with chunks of
 * several sizes, each in a daemon of its own, in turns, with qemu-nbd beside them.
 *
 *   node dist/tools/bench/chunk-size.js [--sizes 16,32,64] [--rounds 3] [--seconds 5] [--jobs NAME,NAME] [--json]
 *
 * Ratios are to the first size.
 */
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { compare, jobs, precondition, type JobResult } from './compare.ts'
import { startQemu, startThaw, type Server, type ThawServer } from './servers.ts'
import { median, pairedRatio, spread } from './statistics.ts'

const KiB = 1024
const diskBytes = KiB ** 3

const { values } = parseArgs({
  options: {
    sizes: { type: 'string', default: '16,32,64' },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '5' },
    jobs: { type: 'string' },
    directory: { type: 'string', default: tmpdir() },
    json: { type: 'boolean', default: false },
  },
})

const sizes = values.sizes.split(',').map(Number)
const names = values.jobs?.split(',')
const directory = mkdtempSync(join(values.directory, 'thaw-bench-'))
const servers: Server[] = []
const progress = (line: string) => process.stderr.write(`${line}\n`)

try {
  const daemons: ThawServer[] = []
  for (const size of sizes) {
    const disk = { sizeBytes: diskBytes, chunkBytes: size * KiB }
    daemons.push(await startThaw({ directory: join(directory, `${size}`), name: `${size} KiB`, disk }))
  }
  servers.push(...daemons, await startQemu(join(directory, 'qemu'), diskBytes))
  await precondition({ servers, progress })
  const indexBytes = daemons.map(({ dataDirectory }) => bytesBelow(join(dataDirectory, 'index')))
  const results = await compare({
    servers,
    jobs: names === undefined ? jobs : jobs.filter(({ name }) => names.includes(name)),
    rounds: Number(values.rounds),
    seconds: Number(values.seconds),
    progress,
  })
  if (values.json) process.stdout.write(`${JSON.stringify({ sizes, indexBytes, results })}\n`)
  else print(results, indexBytes)
} finally {
  await Promise.all(servers.map((server) => server.stop()))
  rmSync(directory, { recursive: true, force: true })
}

/** A table in Markdown, as it stands in FORMAT.md. */
function print(results: readonly JobResult[], indexBytes: readonly number[]): void {
  const last = sizes.length
  line(['job', ...sizes.map((size) => `${size} KiB`), 'qemu-nbd'])
  line(['---', ...sizes.map(() => '---'), '---'])
  for (const { job, runs } of results) {
    const scores = runs.map((rounds) => rounds.map(({ score }) => score))
    const cells = scores.map((own, i) => {
      const ratio = i === 0 ? '1.00' : pairedRatio(own, scores[0]!).toFixed(2)
      return `${ratio} (${Math.round(median(own))} ±${Math.round(spread(own) * 50)} %)`
    })
    line([`${job.name}, ${job.unit}`, ...cells])
    const cpu = runs.map((rounds) => median(rounds.map(({ cpuSeconds, requests }) => (cpuSeconds / requests) * 1e6)))
    line([`${job.name}, CPU µs a request`, ...cpu.map((micros) => micros.toFixed(0))])
    if (!job.name.includes('write')) continue
    const written = runs.map((rounds) => median(rounds.map(({ writtenBytes, bytes }) => writtenBytes / bytes)))
    line([`${job.name}, bytes written per byte`, ...written.map((times) => times.toFixed(2))])
  }
  line([
    'index, MiB per GiB stored',
    ...indexBytes.slice(0, last).map((bytes) => ((bytes / diskBytes) * KiB).toFixed(1)),
    '-',
  ])
}

function line(cells: readonly string[]): void {
  process.stdout.write(`| ${cells.join(' | ')} |\n`)
}

function bytesBelow(path: string): number {
  return readdirSync(path).reduce((sum, name) => sum + statSync(join(path, name)).size, 0)
}
