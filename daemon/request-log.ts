/**
 * What is worth a line about single requests: those that failed, those that took
 * over a second, and those that hang. A full disk refuses thousands of writes a
 * second, so the first failure of an export and code is told at once and the others
 * are counted; slow requests, and those that hang, are gathered into one line a
 * second for each export.
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

/** Requests of an export that were reported for the same reason. */
interface Gathered {
  count: number
  /** The one that took longest. */
  longest: RequestReport
  millis: number
}

export class RequestLog {
  readonly #log: Log
  readonly #now: () => number
  readonly #failures = new Map<string, Failures>()
  readonly #slow = new Map<string, Gathered>()
  readonly #hanging = new Map<string, Gathered>()
  readonly #timer: NodeJS.Timeout

  /** `look` is called once a second, for what happens without an event. */
  constructor(options: { readonly log: Log; now?(): number; look?(): void }) {
    const { log, now = () => performance.now(), look = () => {} } = options
    this.#log = log
    this.#now = now
    this.#timer = setInterval(() => {
      look()
      this.tick()
    }, tickMillis)
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
    gather(this.#slow, request, millis)
  }

  /** `millis`: since the request's arrival. When it ends after all, it is a slow one too. */
  hanging(request: RequestReport, millis: number): void {
    gather(this.#hanging, request, millis)
  }

  /** Writes what has gathered; called once a second. */
  tick(): void {
    this.#tell('requests took over 1 s', this.#slow)
    this.#tell('requests are still running after 10 s', this.#hanging)
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

  #tell(what: string, gathered: Map<string, Gathered>): void {
    for (const [exportName, { count, longest, millis }] of gathered) {
      const { command, offset, length } = longest
      const fields = { export: exportName, count, request: command, offset, length, millis: Math.round(millis) }
      this.#log.warning(what, fields)
    }
    gathered.clear()
  }
}

function gather(into: Map<string, Gathered>, request: RequestReport, millis: number): void {
  const gathered = into.get(request.exportName)
  if (gathered === undefined) {
    into.set(request.exportName, { count: 1, longest: request, millis })
    return
  }
  gathered.count += 1
  if (millis <= gathered.millis) return
  gathered.longest = request
  gathered.millis = millis
}
