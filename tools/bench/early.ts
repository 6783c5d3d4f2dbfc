/**
 * `npm run bench:early`: thawd beside qemu-nbd over qcow2, on this machine, in
 * one run. What each job is stands in its file in `jobs/`.
 *
 *   npm run bench:early -- [--rounds 3] [--seconds 5] [--jobs NAME,NAME] [--directory DIR] [--json]
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { compare, jobs, precondition, type JobResult } from './compare.ts'
import { startQemu, startThaw, type Server } from './servers.ts'
import { geometricMean, median, pairedRatio, spread } from './statistics.ts'

const diskBytes = 1024 ** 3

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '5' },
    jobs: { type: 'string' },
    directory: { type: 'string', default: tmpdir() },
    json: { type: 'boolean', default: false },
    'node-arguments': { type: 'string' },
  },
})

const names = values.jobs?.split(',')
const directory = mkdtempSync(join(values.directory, 'thaw-bench-'))
const servers: Server[] = []
const progress = (line: string) => process.stderr.write(`${line}\n`)

try {
  const nodeArguments = values['node-arguments']?.split(' ') ?? []
  servers.push(await startThaw({ directory: join(directory, 'thaw'), disk: { sizeBytes: diskBytes }, nodeArguments }))
  servers.push(await startQemu(join(directory, 'qemu'), diskBytes))
  await precondition({ servers, progress })
  const results = await compare({
    servers,
    jobs: names === undefined ? jobs : jobs.filter(({ name }) => names.includes(name)),
    rounds: Number(values.rounds),
    seconds: Number(values.seconds),
    progress,
  })
  if (values.json) process.stdout.write(`${JSON.stringify({ servers: servers.map(({ name }) => name), results })}\n`)
  else print(results)
} finally {
  await Promise.all(servers.map((server) => server.stop()))
  rmSync(directory, { recursive: true, force: true })
}

function print(results: readonly JobResult[]): void {
  const ratios: number[] = []
  const rows = results.map(({ job, runs }) => {
    const [ours = [], theirs = []] = runs.map((rounds) => rounds.map(({ score }) => score))
    const ratio = pairedRatio(ours, theirs)
    ratios.push(ratio)
    const [ourCpu, theirCpu] = runs.map((rounds) =>
      median(rounds.map(({ cpuSeconds, requests }) => (cpuSeconds / requests) * 1e6)),
    )
    const [ourMax, theirMax] = runs.map((rounds) => Math.max(...rounds.map(({ latency }) => latency.max)) / 1000)
    return [
      job.name,
      job.unit,
      `${round(median(ours))} ±${percent(spread(ours) / 2)}`,
      `${round(median(theirs))} ±${percent(spread(theirs) / 2)}`,
      ratio.toFixed(2),
      `${round(ourCpu!)} / ${round(theirCpu!)}`,
      `${round(ourMax!)} / ${round(theirMax!)}`,
    ]
  })
  const head = ['job', 'unit', servers[0]!.name, servers[1]!.name, 'ratio', 'CPU µs a request', 'longest ms']
  table([head, ...rows])
  process.stdout.write(
    `\nMedians of ${values.rounds} rounds in turns, ± half of what lies between the least and the most; ` +
      `ratio: median of the rounds' ratios.\nGeometric mean of the ratios: ${geometricMean(ratios).toFixed(2)}\n`,
  )
}

function table(rows: readonly (readonly string[])[]): void {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  for (const row of rows) {
    process.stdout.write(
      `${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ')}\n`,
    )
  }
}

function round(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString('en-US') : value.toFixed(1)
}

function percent(part: number): string {
  return `${Math.round(part * 100)}%`
}
