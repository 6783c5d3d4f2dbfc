/**
 * The one door between a client and a device. What a client may do is worked
 * out once, when it picks the export; the flags that are advertised and the
 * check of every request both come from that, and so cannot disagree. Behind
 * the door a device may trust range, flags and writability.
 */

import assert from 'node:assert/strict'
import { NBD_CMD, NBD_CMD_FLAG, NBD_ERROR, NBD_FLAG } from './constants.ts'
import type { Export } from './export.ts'
import { payloadBytesMax } from './limits.ts'

/** What the door looks at. */
export interface RequestHeader {
  readonly type: number
  readonly flags: number
  /** Bytes; `Infinity` when it is no safe integer. */
  readonly offset: number
  /** Whether offset plus length goes past 2^64. */
  readonly wraps: boolean
  /** Bytes, an unsigned 32-bit number. */
  readonly length: number
}

interface Rule {
  /** The command flags that may come with it. */
  readonly flags: number
  /** The answer to a request that is otherwise in order, when this export does not allow it; 0 when it does. */
  readonly refusal: number
  /** The answer when the range crosses the end of the export. */
  readonly pastEnd: number
  readonly lengthMax: number
  /** Offset and length have no meaning and must be zero. */
  readonly rangeless: boolean
}

const LENGTH_ANY = 0xffffffff
const { FUA, NO_HOLE } = NBD_CMD_FLAG
const { EINVAL, ENOSPC, EPERM } = NBD_ERROR

export class Door {
  readonly export: Export
  /** What the client is told that it can do. */
  readonly transmissionFlags: number
  readonly #size: number
  readonly #rules: (Rule | undefined)[] = []

  constructor(target: Export) {
    assert(Number.isSafeInteger(target.size) && target.size >= 0, 'the size of an export is a safe integer')
    this.export = target
    this.#size = target.size
    // FUA is good on every command once it is advertised, also where it changes nothing.
    const { HAS_FLAGS, SEND_FLUSH, SEND_FUA, CAN_MULTI_CONN, READ_ONLY, SEND_TRIM, SEND_WRITE_ZEROES } = NBD_FLAG
    let advertised = HAS_FLAGS | SEND_FLUSH | SEND_FUA | CAN_MULTI_CONN
    const rules = this.#rules
    const rule = { flags: FUA, refusal: 0, pastEnd: EINVAL, lengthMax: LENGTH_ANY, rangeless: false }
    rules[NBD_CMD.READ] = { ...rule, lengthMax: payloadBytesMax }
    rules[NBD_CMD.FLUSH] = { ...rule, rangeless: true }

    const refusal = target.readOnly ? EPERM : 0
    advertised |= target.readOnly ? READ_ONLY : SEND_TRIM | SEND_WRITE_ZEROES
    rules[NBD_CMD.WRITE] = { ...rule, refusal, pastEnd: ENOSPC, lengthMax: payloadBytesMax }
    rules[NBD_CMD.TRIM] = { ...rule, refusal }
    rules[NBD_CMD.WRITE_ZEROES] = { ...rule, refusal, pastEnd: ENOSPC, flags: FUA | NO_HOLE }
    this.transmissionFlags = advertised
  }

  /** 0 when the request may go to the device, otherwise the error number of its reply. */
  check(request: RequestHeader): number {
    const rule = this.#rules[request.type]
    if (rule === undefined || (request.flags & ~rule.flags) !== 0) return EINVAL
    if (rule.refusal !== 0) return rule.refusal
    if (rule.rangeless) return request.offset === 0 && request.length === 0 ? 0 : EINVAL
    if (request.wraps) return EINVAL
    if (request.offset + request.length > this.#size) return rule.pastEnd
    return request.length > rule.lengthMax ? EINVAL : 0
  }
}
