/**
 * The same jobs against several servers, in turns: A B, B A, A B. The machine may
 * be busier in one minute than in the next, and this way it is so for all.
 */
import { cpuSeconds, untilIdle, writtenBytes } from './process-usage.ts'
import { runFio, type FioRun } from './fio.ts'
import type { Server } from './servers.ts'

/** What one server did may still be written behind; the next one shall not pay for it. */
const idleMillisMax = 15_000

export interface Job {
  readonly name: string
  /** What counts. */
  readonly unit: 'IOPS' | 'MB/s'
}

/** The jobs of the early look. */
export const jobs: readonly Job[] = [
  { name: 'randread-4k-q16', unit: 'IOPS' },
  { name: 'randread-4k-q1', unit: 'IOPS' },
  { name: 'randwrite-4k-q16', unit: 'IOPS' },
  { name: 'randwrite-4k-q1', unit: 'IOPS' },
  { name: 'seqread-128k', unit: 'MB/s' },
  { name: 'seqwrite-128k', unit: 'MB/s' },
  { name: 'randwrite-4k-flush', unit: 'IOPS' },
]

export interface Run extends FioRun {
  /** In the unit of the job. */
  readonly score: number
  /** Of the server, until it was idle again. */
  readonly cpuSeconds: number
  readonly writtenBytes: number
}

export interface JobResult {
  readonly job: Job
  /** Of each server its rounds, in the order of the servers. */
  readonly runs: readonly (readonly Run[])[]
}

export interface CompareOptions {
  readonly servers: readonly Server[]
  readonly jobs: readonly Job[]
  readonly rounds: number
  readonly seconds: number
  /** A line about what is under way. */
  progress(line: string): void
}

export async function precondition({ servers, progress }: Pick<CompareOptions, 'servers' | 'progress'>): Promise<void> {
  for (const { name, uri, pid } of servers) {
    progress(`filling the disk of ${name}`)
    await runFio('precondition', uri, 0)
    await untilIdle(pid, idleMillisMax)
  }
}

export async function compare(options: CompareOptions): Promise<JobResult[]> {
  const { servers, rounds, seconds, progress } = options
  const results: JobResult[] = []
  for (const job of options.jobs) {
    const runs: Run[][] = servers.map(() => [])
    for (let round = 0; round < rounds; round++) {
      const order = servers.map((_, i) => (round % 2 === 0 ? i : servers.length - 1 - i))
      for (const i of order) {
        const server = servers[i]!
        progress(`${job.name}, round ${round + 1} of ${rounds}: ${server.name}`)
        runs[i]!.push(await runOnce(job, server, seconds))
      }
    }
    results.push({ job, runs })
  }
  return results
}

async function runOnce(job: Job, { pid, uri }: Server, seconds: number): Promise<Run> {
  const before = { cpu: cpuSeconds(pid), written: writtenBytes(pid) }
  const run = await runFio(job.name, uri, seconds)
  await untilIdle(pid, idleMillisMax)
  return {
    ...run,
    score: job.unit === 'IOPS' ? run.requestsPerSecond : run.bytesPerSecond / 1e6,
    cpuSeconds: cpuSeconds(pid) - before.cpu,
    writtenBytes: writtenBytes(pid) - before.written,
  }
}
