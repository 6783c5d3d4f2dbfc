/** What the handler of an option may do. One file here for each option; `table.ts` lists them. */

import type { Door } from '../door.ts'
import type { ExportTable } from '../export.ts'

export interface OptionContext {
  readonly exports: ExportTable
  /** The option that is being answered. */
  readonly option: number
  /** The client does not want the 124 zeroes. */
  readonly noZeroes: boolean
  /** NBD_REP.*, with its data. */
  reply(type: number, data?: Buffer): void
  /** One of NBD_REP.ERR_*, with a sentence for people that says what and why. */
  refuse(type: number, text: string): void
  /** Bytes without a reply header: only EXPORT_NAME answers so. */
  replyBare(bytes: Buffer): void
  /** The client has chosen: transmission begins with the next byte. */
  choose(door: Door): void
  /** An export was asked for and not given; for the log. */
  exportRefused(name: string, reason: string): void
  /** Further options are admitted beyond `optionsMax`. */
  admitOptions(count: number): void
  /** The client said goodbye: close when everything has left. */
  finish(): void
  /** Close at once: there is no error reply that could be given. */
  disconnect(reason: string): void
}

/** Answers one option. `data` is null when there were too many to be kept. */
export type OptionHandler = (context: OptionContext, data: Buffer | null) => void
