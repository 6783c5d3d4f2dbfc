import { Door } from '../door.ts'
import { encodeExportNameAnswer } from '../handshake-encoder.ts'
import { parseName } from '../option-data.ts'
import type { OptionContext } from './option.ts'

/**
 * NBD_OPT_EXPORT_NAME, the old way to choose. Its answer has no room for an
 * error, so all that can be done about a wrong name is to hang up.
 */
export function exportName(context: OptionContext, data: Buffer | null): void {
  const name = data === null ? undefined : parseName(data)
  if (name === undefined) {
    context.disconnect('EXPORT_NAME with a malformed name')
    return
  }
  const found = context.exports.find(name)
  if (found === undefined) {
    context.exportRefused(name, 'there is no such export')
    context.disconnect('EXPORT_NAME of an unknown export')
    return
  }
  const door = new Door(found)
  context.replyBare(encodeExportNameAnswer(found.size, door.transmissionFlags, context.noZeroes))
  context.choose(door)
}
