/** The data that options carry, parsed. `undefined` stands for malformed: the answer is then NBD_REP_ERR_INVALID. */

import { NBD_MAX_STRING } from './constants.ts'

/** `ignoreBOM` keeps a byte order mark: a name is handed on as it came. */
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export interface InfoRequest {
  readonly name: string
  /** Each once, in the order in which they came; unknown ones too. */
  readonly types: ReadonlySet<number>
}

/** NBD_OPT_INFO and NBD_OPT_GO: u32 length of the name, name, u16 count, count * u16. */
export function parseInfoRequest(data: Buffer): InfoRequest | undefined {
  if (data.length < 6) return undefined
  const nameLength = data.readUInt32BE(0)
  if (nameLength > data.length - 6) return undefined
  const name = parseName(data.subarray(4, 4 + nameLength))
  if (name === undefined) return undefined
  let at = 4 + nameLength
  const count = data.readUInt16BE(at)
  at += 2
  if (data.length - at !== count * 2) return undefined
  const types = new Set<number>()
  for (; at < data.length; at += 2) types.add(data.readUInt16BE(at))
  return { name, types }
}

/** A string of the protocol: UTF-8 without NUL, at most 4,096 bytes. */
export function parseName(bytes: Buffer): string | undefined {
  if (bytes.length > NBD_MAX_STRING || bytes.includes(0)) return undefined
  try {
    return utf8.decode(bytes)
  } catch {
    return undefined
  }
}
