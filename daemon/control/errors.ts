import { StoreError } from '../../storage/errors.ts'
import { QuantityError } from '../quantities.ts'
import type { ErrorObject } from './wire.ts'

/** The error numbers of JSON-RPC 2.0; `refused` is the first of those it leaves to us. */
export const rpc = {
  notJson: -32700,
  requestInvalid: -32600,
  methodNotFound: -32601,
  parametersInvalid: -32602,
  internal: -32603,
  refused: -32000,
} as const

/** What the control protocol itself refuses; the store's own codes come beside these. */
export type ControlErrorCode =
  | 'REQUEST_NOT_JSON'
  | 'REQUEST_INVALID'
  | 'REQUEST_TOO_LONG'
  | 'METHOD_NOT_FOUND'
  | 'PARAMETERS_INVALID'
  | 'TOO_MANY_CONNECTIONS'
  | 'TOO_MANY_SUBSCRIPTIONS'
  | 'INTERNAL_ERROR'

const numbers: Readonly<Record<ControlErrorCode, number>> = {
  REQUEST_NOT_JSON: rpc.notJson,
  REQUEST_INVALID: rpc.requestInvalid,
  REQUEST_TOO_LONG: rpc.requestInvalid,
  METHOD_NOT_FOUND: rpc.methodNotFound,
  PARAMETERS_INVALID: rpc.parametersInvalid,
  TOO_MANY_CONNECTIONS: rpc.refused,
  TOO_MANY_SUBSCRIPTIONS: rpc.refused,
  INTERNAL_ERROR: rpc.internal,
}

/** A request that the control server refuses. The message is one line: what, why, what to do. */
export class ControlError extends Error {
  readonly code: ControlErrorCode
  readonly details: Readonly<Record<string, unknown>>

  constructor(code: ControlErrorCode, message: string, details: Readonly<Record<string, unknown>> = {}) {
    super(message)
    this.name = 'ControlError'
    this.code = code
    this.details = details
  }
}

/** Any error as it goes over the socket. What is neither a refusal of ours nor of the store is our fault, and its text stays in the log. */
export function errorObject(error: unknown): ErrorObject {
  if (error instanceof ControlError) return object(numbers[error.code], error.code, error.message, error.details)
  if (error instanceof StoreError) return object(rpc.refused, error.code, error.message, error.details)
  if (error instanceof QuantityError) return object(rpc.refused, error.code, error.message, {})
  return object(rpc.internal, 'INTERNAL_ERROR', 'the daemon failed at this request; its log says more', {})
}

function object(code: number, name: string, message: string, details: ErrorObject['data']['details']): ErrorObject {
  return { code, message: message.replaceAll(/\s*\n\s*/g, ' '), data: { code: name, details } }
}
