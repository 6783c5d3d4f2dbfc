import type { HydrationInfo } from '../../storage/contract.ts'
import { formatRate, formatSize, formatTime } from '../../daemon/quantities.ts'
import type { Output } from './surroundings.ts'
import { formatPercent } from './words.ts'

const barWidthMax = 40
/** A bar shorter than this says nothing. */
const barWidthMin = 5

/** One line of a terminal, drawn over and over. */
export class ProgressBar {
  readonly #output: Output
  readonly #marks: readonly [string, string]

  constructor(output: Output, env: Readonly<Record<string, string | undefined>>) {
    this.#output = output
    const locale = env['LC_ALL'] || env['LC_CTYPE'] || env['LANG'] || ''
    this.#marks = /utf-?8/i.test(locale) ? ['█', '░'] : ['#', '.']
  }

  draw(hydration: HydrationInfo): void {
    this.#output.write(`\r\x1b[K${progressLine(hydration, this.#output.columns ?? 80, this.#marks)}`)
  }

  clear(): void {
    this.#output.write('\r\x1b[K')
  }
}

/** `copy0  ████░░░░  43.2%  4.3GiB of 10GiB  52MiB/s  1m50s left`, never wider than `columns`. */
export function progressLine(
  hydration: HydrationInfo,
  columns: number,
  [full, empty]: readonly [string, string],
): string {
  const { disk, state, completionPercent, totalBytes, hydratedBytes, currentRate, etaSeconds, lastError } = hydration
  const words = [formatPercent(completionPercent).padStart(5)]
  if (totalBytes !== null && hydratedBytes !== null)
    words.push(`${formatSize(hydratedBytes)} of ${formatSize(totalBytes)}`)
  if (state === 'running') {
    words.push(formatRate(currentRate))
    if (etaSeconds !== null) words.push(`${formatTime(etaSeconds)} left`)
  } else {
    words.push(state === 'retrying' && lastError !== null ? `${state}: ${lastError}` : state)
  }
  const text = words.join('  ')
  // The last column stays free, or some terminals would begin a new line.
  const room = Math.min(barWidthMax, columns - 1 - disk.length - 2 - 2 - text.length)
  if (room < barWidthMin) return `${disk}  ${text}`.slice(0, Math.max(0, columns - 1))
  const filled = Math.floor(((completionPercent ?? 0) / 100) * room)
  return `${disk}  ${full.repeat(filled)}${empty.repeat(room - filled)}  ${text}`
}
