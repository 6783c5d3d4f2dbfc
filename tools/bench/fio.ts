/** Runs a job file of fio and reads what it measured. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The job files are not compiled: they stand in the source tree, to be used by fio alone as well. */
const jobsDirectory = fileURLToPath(new URL('../../../tools/bench/jobs', import.meta.url))

export interface FioRun {
  readonly bytes: number
  readonly requests: number
  readonly bytesPerSecond: number
  readonly requestsPerSecond: number
  /** From submission to completion of a request, microseconds. */
  readonly latency: { readonly p50: number; readonly p99: number; readonly max: number }
}

interface FioSide {
  readonly io_bytes: number
  readonly total_ios: number
  readonly bw_bytes: number
  readonly iops: number
  readonly clat_ns: { readonly max: number; readonly percentile?: Readonly<Record<string, number>> }
}

interface FioReport {
  readonly jobs: readonly { readonly error: number; readonly read: FioSide; readonly write: FioSide }[]
}

/** `job` without its ending. Rejects when fio is not there, or when a request failed. */
export async function runFio(job: string, uri: string, seconds: number): Promise<FioRun> {
  const path = join(jobsDirectory, `${job}.fio`)
  const text = await output('fio', ['--output-format=json', path], { URI: uri, SECONDS_EACH: String(seconds) })
  // Notes of fio may stand before the document.
  const report = JSON.parse(text.slice(text.indexOf('{'))) as FioReport
  const [found] = report.jobs
  if (found === undefined || found.error !== 0) throw new Error(`fio ${job}: a request failed (${found?.error})`)
  const { read, write } = found
  const side = read.total_ios > 0 ? read : write
  const { max, percentile = {} } = side.clat_ns
  return {
    bytes: side.io_bytes,
    requests: side.total_ios,
    bytesPerSecond: side.bw_bytes,
    requestsPerSecond: side.iops,
    latency: {
      p50: (percentile['50.000000'] ?? NaN) / 1000,
      p99: (percentile['99.000000'] ?? NaN) / 1000,
      max: max / 1000,
    },
  }
}

/** What a command writes to standard output. */
export function output(command: string, args: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...environment } })
    let out = ''
    let errors = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text))
    child.on('error', (error: NodeJS.ErrnoException) => {
      const missing = error.code === 'ENOENT'
      reject(missing ? new Error(`${command} is not installed (Debian: apt-get install fio qemu-utils)`) : error)
    })
    child.on('close', (code) => {
      if (code === 0) resolve(out)
      else reject(new Error(`${command} ${args.join(' ')} ended with ${code}: ${errors.trim() || out.trim()}`))
    })
  })
}
