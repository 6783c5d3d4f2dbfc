/** What the program ends with. */
export const exitCodes = {
  done: 0,
  /** Somebody said no: the daemon, the system, or the person who was asked. */
  refused: 1,
  usage: 2,
  notReachable: 3,
  timeout: 4,
} as const

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes]

/** Ends a command. The message is one line: what, why, what to do; `code` is stable and for programs. */
export class Failure extends Error {
  readonly exitCode: ExitCode
  readonly code: string
  readonly details: Readonly<Record<string, unknown>>

  constructor(
    exitCode: ExitCode,
    code: string,
    message: string,
    options: { details?: Readonly<Record<string, unknown>>; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'Failure'
    this.exitCode = exitCode
    this.code = code
    this.details = options.details ?? {}
  }
}

export function refused(code: string, message: string, details?: Readonly<Record<string, unknown>>): Failure {
  return new Failure(exitCodes.refused, code, message, details === undefined ? {} : { details })
}

export function wrongUsage(message: string): Failure {
  return new Failure(exitCodes.usage, 'USAGE', message)
}
