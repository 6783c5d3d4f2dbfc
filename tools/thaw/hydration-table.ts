import type { HydrationInfo } from '../../storage/contract.ts'
import { formatRate, formatSize, formatTime } from '../../daemon/quantities.ts'
import { table } from './table.ts'
import { formatPercent } from './words.ts'

export function hydrationTable(hydrations: readonly HydrationInfo[]): string[] {
  return table(
    [
      { title: 'DISK' },
      { title: 'ORIGIN' },
      { title: 'STATE' },
      { title: 'DONE', align: 'right' },
      { title: 'OF', align: 'right' },
      { title: 'RATE', align: 'right' },
      { title: 'AT MOST', align: 'right' },
      { title: 'LEFT', align: 'right' },
    ],
    hydrations.map((each) => [
      each.disk,
      each.origin,
      each.state,
      formatPercent(each.completionPercent),
      each.totalBytes === null ? '-' : formatSize(each.totalBytes),
      formatRate(each.currentRate),
      formatRate(each.rate),
      each.etaSeconds === null ? '-' : formatTime(each.etaSeconds),
    ]),
  )
}
