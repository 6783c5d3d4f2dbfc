/** The simple reply: u32 magic, u32 error, u64 cookie, and after a READ without error its data. */

import { NBD_SIMPLE_REPLY_MAGIC } from './constants.ts'

/** Writes the header at `at`. `error` is 0 or a number of NBD_ERROR. */
export function writeSimpleReply(into: Buffer, at: number, error: number, cookieHigh: number, cookieLow: number): void {
  into.writeUInt32BE(NBD_SIMPLE_REPLY_MAGIC, at)
  into.writeUInt32BE(error, at + 4)
  into.writeUInt32BE(cookieHigh, at + 8)
  into.writeUInt32BE(cookieLow, at + 12)
}
