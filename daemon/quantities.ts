/**
 * Sizes, rates and times as people write and read them: the same words on the
 * command line, in the configuration file and in what is printed.
 *
 * Units are binary and are called what they are (`KiB`, `MiB`, ...); a bare
 * letter means the same. `10GB` is refused instead of guessed at, because half
 * of the world means 10,000,000,000 by it and a disk is made once.
 */

/** What was written is not a quantity. `code` is the one that the control protocol answers with, `message` says what to write instead. */
export class QuantityError extends Error {
  readonly code: 'SIZE_INVALID' | 'RATE_INVALID' | 'ARGUMENT_INVALID'

  constructor(code: QuantityError['code'], message: string) {
    super(message)
    this.name = 'QuantityError'
    this.code = code
  }
}

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const
const sizePattern = /^([0-9]+)(?:\.([0-9]+))? ?([a-z]*)$/i

/**
 * Bytes, 0 to 2^53 - 1, of `4096`, `4KiB`, `10G`, `10GiB`, `1.5TiB` (letters in
 * either case). Throws QuantityError SIZE_INVALID. What a disk or a cache
 * may measure is not decided here.
 */
export function parseSize(text: string): number {
  const trimmed = text.trim()
  const match = sizePattern.exec(trimmed)
  if (match === null) throw sizeError(text, 'write bytes, or a number with K, M, G or T: 4096, 64KiB, 10G')
  const [, whole = '', fraction = '', unit = ''] = match
  const exponent = sizeExponent(text, whole, fraction, unit)
  const bytes = scaled(whole, fraction, exponent)
  if (bytes === null) throw sizeError(text, 'it is not a whole number of bytes')
  if (bytes > BigInt(Number.MAX_SAFE_INTEGER)) throw sizeError(text, 'the largest size is just below 8PiB')
  return Number(bytes)
}

/**
 * Bytes a second, at least 1, or `null` for `unlimited`, of `50MiB/s`, `50M` or
 * `1048576`. Throws QuantityError RATE_INVALID.
 */
export function parseRate(text: string): number | null {
  const trimmed = text.trim()
  if (trimmed.toLowerCase() === 'unlimited') return null
  let rate: number
  try {
    rate = parseSize(trimmed.replace(/ ?\/s$/i, ''))
  } catch {
    throw rateError(text, 'write it as 50M/s or 50MiB/s, or unlimited')
  }
  if (rate === 0) throw rateError(text, 'elsewhere 0 means unlimited; say unlimited, or pause to stop copying')
  return rate
}

const timePattern = /^([0-9]+(?:\.[0-9]+)?) ?(ms|s|m|h|d|)$/
const secondsOf: Readonly<Record<string, number>> = { ms: 0.001, '': 1, s: 1, m: 60, h: 3600, d: 86_400 }
/** What a Node timer can count; about 24.8 days. */
const timeSecondsMax = 2_147_483

/** Seconds, above 0 and at most 24 days, of `30`, `30s`, `5m`, `2h`. Throws QuantityError ARGUMENT_INVALID. */
export function parseTime(text: string): number {
  const match = timePattern.exec(text.trim())
  const seconds = Number(match?.[1]) * (secondsOf[match?.[2] ?? ''] ?? NaN)
  if (!(seconds > 0)) throw new QuantityError('ARGUMENT_INVALID', `'${text}' is not a time: write 30s, 5m or 2h`)
  if (seconds > timeSecondsMax) throw new QuantityError('ARGUMENT_INVALID', `'${text}' is too long a time: at most 24d`)
  return seconds
}

/** About three digits, for people: `0B`, `812KiB`, `9.53GiB`, `10GiB`. Rounded down, so that 99.99 of something never reads as all of it. */
export function formatSize(bytes: number): string {
  let value = Math.abs(bytes)
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit += 1
  }
  const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2
  const factor = 10 ** digits
  // Dropping zeroes after the point: 10.0 says no more than 10.
  const shown = String(Math.floor(value * factor) / factor)
  return `${bytes < 0 ? '-' : ''}${shown}${units[unit]}`
}

/** Exactly this many bytes, in the largest unit that divides them; `parseSize` reads it back. For messages about limits. */
export function formatSizeExactly(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 1024 && value % 1024 === 0 && unit < units.length - 1) {
    value /= 1024
    unit += 1
  }
  return unit === 0 ? `${value}` : `${value}${units[unit]}`
}

/** `50MiB/s`, or `unlimited`. */
export function formatRate(rate: number | null): string {
  return rate === null ? 'unlimited' : `${formatSize(rate)}/s`
}

/** `45s`, `3m20s`, `1h02m`, `2d03h`; two units are enough for anybody waiting. Rounded up, so that something still running never reads `0s`. */
export function formatTime(seconds: number): string {
  const total = Math.max(0, Math.ceil(seconds))
  const padded = (value: number): string => String(value).padStart(2, '0')
  if (total < 60) return `${total}s`
  if (total < 3600) return `${Math.floor(total / 60)}m${padded(total % 60)}s`
  if (total < 86_400) return `${Math.floor(total / 3600)}h${padded(Math.floor((total % 3600) / 60))}m`
  return `${Math.floor(total / 86_400)}d${padded(Math.floor((total % 86_400) / 3600))}h`
}

function sizeExponent(text: string, whole: string, fraction: string, unit: string): number {
  const lower = unit.toLowerCase()
  if (lower === '' || lower === 'b') return 0
  const exponent = 1 + 'kmgtp'.indexOf(lower.charAt(0))
  if (exponent > 0 && (lower.length === 1 || lower.slice(1) === 'ib')) return exponent
  const number = fraction === '' ? whole : `${whole}.${fraction}`
  if (exponent > 0 && (lower.slice(1) === 'b' || lower.slice(1) === 'i')) {
    const letter = lower.charAt(0).toUpperCase()
    throw sizeError(text, `say ${number}${letter} or ${number}${letter}iB`)
  }
  throw sizeError(text, `the units are K, M, G and T, or KiB, MiB, GiB and TiB`)
}

/** whole.fraction * 1024^exponent, exactly; null when that is not an integer. */
function scaled(whole: string, fraction: string, exponent: number): bigint | null {
  const denominator = 10n ** BigInt(fraction.length)
  const numerator = BigInt(whole + fraction) * 1024n ** BigInt(exponent)
  return numerator % denominator === 0n ? numerator / denominator : null
}

function sizeError(text: string, what: string): QuantityError {
  return new QuantityError('SIZE_INVALID', `'${text}' is not a size: ${what}`)
}

function rateError(text: string, what: string): QuantityError {
  return new QuantityError('RATE_INVALID', `'${text}' is not a rate: ${what}`)
}
