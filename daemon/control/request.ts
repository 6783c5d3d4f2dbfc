import { ControlError } from './errors.ts'
import type { RequestId } from './wire.ts'

export interface ControlRequest {
  /** Undefined: a notification, which is never answered. */
  readonly id: RequestId | undefined
  readonly method: string
  readonly params: Readonly<Record<string, unknown>>
}

/** A line that is no request, with the id under which to say so (null when it has none that can be used). */
export class RequestRefused extends Error {
  readonly id: RequestId
  override readonly cause: ControlError

  constructor(id: RequestId, cause: ControlError) {
    super(cause.message)
    this.id = id
    this.cause = cause
  }
}

const decoder = new TextDecoder('utf-8', { fatal: true })
const members: ReadonlySet<string> = new Set(['jsonrpc', 'id', 'method', 'params'])

/** Reads one line. Throws RequestRefused. */
export function parseRequest(line: Buffer): ControlRequest {
  let value: unknown
  try {
    value = JSON.parse(decoder.decode(line))
  } catch {
    throw new RequestRefused(
      null,
      new ControlError('REQUEST_NOT_JSON', 'this line is not JSON: send one JSON-RPC 2.0 object a line'),
    )
  }
  if (Array.isArray(value)) throw refused(null, 'batches are not understood: send one object a line')
  if (!isObject(value)) throw refused(null, 'a request is an object: {"jsonrpc":"2.0","id":1,"method":"status"}')

  const { id, method, params = {} } = value
  if (!isRequestId(id)) throw refused(null, "'id' must be a string, a number or null")
  const answerTo = id ?? null
  if (value['jsonrpc'] !== '2.0') throw refused(answerTo, `'jsonrpc' must be "2.0"`)
  if (typeof method !== 'string') throw refused(answerTo, "'method' must be a string")
  const unknown = Object.keys(value).find((key) => !members.has(key))
  if (unknown !== undefined)
    throw refused(answerTo, `unknown member '${unknown.slice(0, 64)}': parameters belong into 'params'`)
  if (!isObject(params)) {
    throw new RequestRefused(
      answerTo,
      new ControlError('PARAMETERS_INVALID', "'params' must be an object: parameters go by name"),
    )
  }
  return { id, method, params }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isRequestId(id: unknown): id is RequestId | undefined {
  return id === undefined || id === null || typeof id === 'string' || typeof id === 'number'
}

function refused(id: RequestId, message: string): RequestRefused {
  return new RequestRefused(id, new ControlError('REQUEST_INVALID', message))
}
