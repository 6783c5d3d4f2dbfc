import { NBD_REP } from '../constants.ts'
import { encodeServerEntry, truncateUtf8 } from '../handshake-encoder.ts'
import { listDescriptionBytesMax, optionsPerListedExport } from '../limits.ts'
import type { OptionContext } from './option.ts'

/** NBD_OPT_LIST: all exports. The replies leave in one write, because nbd-client reads each field with a plain read(). */
export function list(context: OptionContext, data: Buffer | null): void {
  if (data === null || data.length > 0) {
    context.refuse(NBD_REP.ERR_INVALID, 'LIST carries no data.')
    return
  }
  let count = 0
  for (const { name, description } of context.exports.list()) {
    context.reply(NBD_REP.SERVER, encodeServerEntry(name, truncateUtf8(description, listDescriptionBytesMax)))
    count++
  }
  context.reply(NBD_REP.ACK)
  context.admitOptions(count * optionsPerListedExport)
}
