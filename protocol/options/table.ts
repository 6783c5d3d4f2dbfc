/** Which options there are. One that is not here is refused with NBD_REP_ERR_UNSUP, and the client goes on without it. */

import { NBD_OPT } from '../constants.ts'
import { abort } from './abort.ts'
import { exportName } from './export-name.ts'
import { infoOrGo } from './info.ts'
import { list } from './list.ts'
import type { OptionHandler } from './option.ts'

export const optionHandlers: ReadonlyMap<number, OptionHandler> = new Map<number, OptionHandler>([
  [NBD_OPT.EXPORT_NAME, exportName],
  [NBD_OPT.ABORT, abort],
  [NBD_OPT.LIST, list],
  [NBD_OPT.INFO, infoOrGo],
  [NBD_OPT.GO, infoOrGo],
])
