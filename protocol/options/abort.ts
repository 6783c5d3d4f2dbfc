import { NBD_REP } from '../constants.ts'
import type { OptionContext } from './option.ts'

/** NBD_OPT_ABORT: acknowledged, whatever data came with it, and then the end. nbd-client does not wait for it. */
export function abort(context: OptionContext): void {
  context.reply(NBD_REP.ACK)
  context.finish()
}
