import { NBD_ERROR, NBD_REP, nameOf } from '../constants.ts'

/**
 * What a client can run into. The code is the document's name of the number
 * that the server gave (`ENOSPC`, `ERR_UNKNOWN`, ...), or `DISCONNECTED` when
 * there is no server any more, or `PROTOCOL` when what it said makes no sense.
 */
export class NbdError extends Error {
  readonly code: string

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'NbdError'
    this.code = code
  }
}

export function requestRefused(command: string, error: number): NbdError {
  const code = nameOf(NBD_ERROR, error)
  return new NbdError(code, `${command} was answered with ${code}`)
}

export function optionRefused(option: string, type: number, text: string): NbdError {
  const code = nameOf(NBD_REP, type)
  return new NbdError(code, `${option} was answered with ${code}${text === '' ? '' : `: ${text.trim()}`}`)
}
