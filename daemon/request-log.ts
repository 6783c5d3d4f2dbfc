/**
 * What is worth a line about single requests: those that failed, and those that
 * took over a second. A full disk refuses thousands of writes a second, so the
 * first failure of an export and code is told at once and the others are
 * counted; slow requests are gathered into one line a second for each export.
 */
import type { RequestReport } from '../protocol/observer.ts'
import { errorCode, type Log } from './log.ts'

const tickMillis = 1000
/** After the first line about a failure, further ones of the same export and code are counted for so long. */
const repeatMillis = 10_000

interface Failures {
  /** When the last line about it was written. */
  since: number
  /** Those that no line has told yet. */
  count: number
}

export class RequestLog {
  readonly #log: Log
  readonly #now: () => number
  readonly #failures = new Map<string, Failures>()
  readonly #slow = new Map<string, { count: number; longest: RequestReport; millis: number }>()
  readonly #timer: NodeJS.Timeout

  constructor({ log, now = () => performance.now() }: { readonly log: Log; now?(): number }) {
    this.#log = log
    this.#now = now
    this.#timer = setInterval(() => this.tick(), tickMillis)
    this.#timer.unref()
  }

  failed(request: RequestReport, error: Error): void {
    const { exportName, command, offset, length } = request
    const key = `${exportName} ${errorCode(error) ?? error.name}`
    const failures = this.#failures.get(key)
    if (failures !== undefined) {
      failures.count += 1
      return
    }
    this.#failures.set(key, { since: this.#now(), count: 0 })
    this.#log.error('a request failed', { export: exportName, request: command, offset, length, error })
  }

  /** `millis`: from the request's arrival to the device's answer. */
  slow(request: RequestReport, millis: number): void {
    const slow = this.#slow.get(request.exportName)
    if (slow === undefined) {
      this.#slow.set(request.exportName, { count: 1, longest: request, millis })
      return
    }
    slow.count += 1
    if (millis <= slow.millis) return
    slow.longest = request
    slow.millis = millis
  }

  /** Writes what has gathered; called once a second. */
  tick(): void {
    for (const [exportName, { count, longest, millis }] of this.#slow) {
      const { command, offset, length } = longest
      const fields = { export: exportName, count, request: command, offset, length, millis: Math.round(millis) }
      this.#log.warning('requests took over 1 s', fields)
    }
    this.#slow.clear()
    const now = this.#now()
    for (const [key, failures] of this.#failures) {
      if (now - failures.since < repeatMillis) continue
      if (failures.count === 0) {
        this.#failures.delete(key)
        continue
      }
      const [exportName, code] = key.split(' ')
      this.#log.error('requests go on failing', { export: exportName, code, count: failures.count })
      failures.since = now
      failures.count = 0
    }
  }

  /** Writes the last lines and stops the timer. */
  close(): void {
    clearInterval(this.#timer)
    this.tick()
  }
}
