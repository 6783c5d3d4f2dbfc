import { NBD_CMD } from '../../protocol/constants.ts'
import type { Completion } from '../../protocol/export.ts'

/** One request to a kept device, for as long as it may have to be sent again. */
export interface KeptRequest {
  /** NBD_CMD.* */
  readonly type: number
  /** NBD_CMD_FLAG.* */
  readonly flags: number
  readonly offset: number
  readonly length: number
  readonly payload: Buffer | undefined
  /** Where the data of a read go. */
  readonly into: Buffer | undefined
  readonly completion: Completion | undefined
  /** The server has answered it; it is kept until that is durable. Counts up from 1 in the order of the answers; 0 before. */
  answeredAt: number
  /** Of a flush: what had been answered when it was sent is durable when it is answered. */
  coversUntil: number
}

/** What a request costs beside its payload; a stream of tiny writes or discards is bounded by it as well. */
const requestBytes = 4096

/** Memory that it takes, about. */
export function costOf({ payload }: KeptRequest): number {
  return requestBytes + (payload?.length ?? 0)
}

/** Whether it leaves other bytes behind: a write, a discard, zeroes. */
export function isChange({ type }: KeptRequest): boolean {
  return type !== NBD_CMD.READ && type !== NBD_CMD.FLUSH
}

export function overlap(a: KeptRequest, b: KeptRequest): boolean {
  return a.offset < b.offset + b.length && b.offset < a.offset + a.length
}
