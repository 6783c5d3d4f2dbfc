import { NBD_INFO, NBD_OPT, NBD_REP } from '../constants.ts'
import { Door } from '../door.ts'
import { encodeInfoBlockSize, encodeInfoExport, encodeInfoText } from '../handshake-encoder.ts'
import { blockBytesMin, blockBytesPreferredMin, payloadBytesAdvertised } from '../limits.ts'
import { parseInfoRequest } from '../option-data.ts'
import type { OptionContext } from './option.ts'

/**
 * NBD_OPT_INFO and NBD_OPT_GO, which differ in one thing: after GO comes
 * transmission. Unknown kinds of information are ignored; a kind that has
 * nothing to say (no description) is left out.
 */
export function infoOrGo(context: OptionContext, data: Buffer | null): void {
  if (data === null) {
    context.refuse(NBD_REP.ERR_TOO_BIG, 'The option is longer than this server reads.')
    return
  }
  const request = parseInfoRequest(data)
  if (request === undefined) {
    context.refuse(NBD_REP.ERR_INVALID, 'The name or the lengths in this option are malformed.')
    return
  }
  const { name, types } = request
  const found = context.exports.find(name)
  if (found === undefined) {
    const reason = name === '' ? 'There is no default export: name one.' : `There is no export "${name.slice(0, 200)}".`
    context.exportRefused(name, reason)
    context.refuse(NBD_REP.ERR_UNKNOWN, reason)
    return
  }
  const door = new Door(found)
  context.reply(NBD_REP.INFO, encodeInfoExport(found.size, door.transmissionFlags))
  if (types.has(NBD_INFO.NAME)) context.reply(NBD_REP.INFO, encodeInfoText(NBD_INFO.NAME, found.name))
  if (types.has(NBD_INFO.DESCRIPTION) && found.description !== '') {
    context.reply(NBD_REP.INFO, encodeInfoText(NBD_INFO.DESCRIPTION, found.description))
  }
  if (types.has(NBD_INFO.BLOCK_SIZE)) {
    const preferred = Math.max(found.preferredBlockBytes, blockBytesPreferredMin)
    context.reply(NBD_REP.INFO, encodeInfoBlockSize(blockBytesMin, preferred, payloadBytesAdvertised))
  }
  context.reply(NBD_REP.ACK)
  if (context.option === NBD_OPT.GO) context.choose(door)
}
