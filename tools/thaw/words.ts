/** Small pieces of text that several commands print. */
import type { DiskInfo, HydrationInfo } from '../../storage/contract.ts'
import { formatRate, formatTime } from '../../daemon/quantities.ts'

/** `1 snapshot`, `3 snapshots`. */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}

/** `2026-11-20 10:00:00Z`: shorter than ISO 8601 and just as clear. */
export function formatMoment(iso: string): string {
  return iso.replace('T', ' ').replace(/\.[0-9]+Z$/, 'Z')
}

/** One digit after the point, rounded down: 100% is said of what is complete and of nothing else. */
export function formatPercent(percent: number | null): string {
  return percent === null ? '-' : `${(Math.floor(percent * 10) / 10).toFixed(1)}%`
}

/** `43.2%, 52MiB/s, 1m50s left`, or what keeps it from getting on. */
export function hydrationInWords(hydration: HydrationInfo): string {
  const { state, completionPercent, currentRate, etaSeconds, lastError } = hydration
  const words = completionPercent === null ? [] : [formatPercent(completionPercent)]
  if (state === 'running') {
    words.push(formatRate(currentRate))
    if (etaSeconds !== null) words.push(`${formatTime(etaSeconds)} left`)
  } else {
    words.push(state)
    if (state === 'retrying' && lastError !== null) words.push(lastError)
  }
  return words.join(', ')
}

/** What is to be said of a disk beside its size. */
export function diskInWords({ isDefault, linked, origin, hydration }: DiskInfo): string {
  const words: string[] = []
  if (isDefault) words.push('default')
  if (linked) words.push(`linked to ${origin ?? '-'}`)
  else if (hydration !== null) words.push(`hydrating from ${hydration.origin}: ${hydrationInWords(hydration)}`)
  return words.join('; ')
}
