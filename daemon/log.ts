/**
 * The log: one line an event on standard error, a sentence for a person with a
 * fixed `key=value` tail for `grep` and programs.
 *
 *     2026-11-20T10:52:26.123Z notice client attached  client=127.0.0.1:40312 export=disk0
 *
 * Under systemd the journal has the time already, so there the line begins with
 * the priority in the form that the journal understands (`<5>client attached ...`).
 * What a client reads or writes is never logged; names, numbers and codes are.
 */
import { fstatSync } from 'node:fs'

/** From the most to the least talkative; the numbers are syslog's priorities. */
export const logPriorities = { debug: 7, info: 6, notice: 5, warning: 4, error: 3, critical: 2 } as const

export type LogLevel = keyof typeof logPriorities

export const logLevels = Object.keys(logPriorities) as LogLevel[]

/** The tail of a line. `undefined` leaves the key out; an Error stands for its code and message, with those of its causes. */
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined | Error>>

export interface Log {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  notice(message: string, fields?: LogFields): void
  warning(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  critical(message: string, fields?: LogFields): void
}

export interface LogOptions {
  /** Lines of a lower level are left out. */
  readonly level: LogLevel
  readonly journal: boolean
  write(line: string): void
  now?(): Date
}

export function createLog(options: LogOptions): Log {
  const { level: lowest, journal, write, now = () => new Date() } = options
  const at =
    (level: LogLevel) =>
    (message: string, fields: LogFields = {}): void => {
      if (logPriorities[level] > logPriorities[lowest]) return
      const head = journal ? `<${logPriorities[level]}>` : `${now().toISOString()} ${level} `
      write(`${head}${oneLine(message)}${tail(fields)}\n`)
    }
  return {
    debug: at('debug'),
    info: at('info'),
    notice: at('notice'),
    warning: at('warning'),
    error: at('error'),
    critical: at('critical'),
  }
}

/** A reader that went away (`thawd 2>&1 | head`) must not stop a daemon that holds somebody's disk. */
export function writeToStandardError(line: string): void {
  if (process.stderr.listenerCount('error') === 0) process.stderr.on('error', () => {})
  process.stderr.write(line)
}

/** Whether standard error goes to the journal: `$JOURNAL_STREAM` names the device and inode that systemd gave us there. */
export function standardErrorIsJournal(environment: NodeJS.ProcessEnv): boolean {
  const stream = environment['JOURNAL_STREAM']
  if (stream === undefined) return false
  try {
    const { dev, ino } = fstatSync(2, { bigint: true })
    return stream === `${dev}:${ino}`
  } catch {
    return false
  }
}

/** Message and code of an error and of its causes, outermost first: `the log cannot be written: ENOSPC: no space left on device`. */
export function errorText(error: unknown): string {
  const parts: string[] = []
  let at: unknown = error
  for (let depth = 0; at !== undefined && at !== null && depth < 8; depth += 1) {
    const text = at instanceof Error ? at.message || at.name : String(at)
    // A wrapper often repeats what it wraps; once is enough.
    if (!parts.some((part) => part.includes(text))) parts.push(text)
    at = at instanceof Error ? at.cause : undefined
  }
  return oneLine(parts.join(': '))
}

/** The outermost code of an error or its causes, for the `code=` of a line. */
export function errorCode(error: unknown): string | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    const { code } = at as NodeJS.ErrnoException
    if (typeof code === 'string') return code
  }
  return undefined
}

function tail(fields: LogFields): string {
  let text = ''
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined) continue
    if (value instanceof Error) {
      const code = errorCode(value)
      if (code !== undefined) text += ` code=${quoted(code)}`
      text += ` ${key}=${quoted(errorText(value))}`
    } else {
      text += ` ${key}=${quoted(String(value))}`
    }
  }
  // Two spaces set the tail off from the sentence, for eyes and for `sed 's/  .*//'`.
  return text === '' ? '' : ` ${text}`
}

function quoted(value: string): string {
  return /^[^\s"=\p{Cc}]+$/u.test(value) ? value : JSON.stringify(value)
}

/** Whatever a client may put into a name or a message, it stays one line and moves no cursor. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ')
}
