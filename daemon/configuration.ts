/**
 * What the daemon was told, checked and complete. Everything that can be wrong
 * with it is found here, before a socket is bound or a file touched.
 */
import { resolve } from 'node:path'
import { parseListenAddress, type ListenAddress } from './listen-address.ts'
import { logLevels, type LogLevel } from './log.ts'
import { checkDiskBytes, checkName } from '../storage/names.ts'
import { StoreError } from '../storage/errors.ts'
import { connectionsMaxDefault } from './nbd-listener.ts'
import type { GivenOption, GivenOptions } from './option-sources.ts'
import type { OptionName } from './options.ts'
import { defaultControlPath, defaultDataDirectory, type Surroundings } from './places.ts'
import { parseRate, parseSize, QuantityError } from './quantities.ts'
import { checkSocketPath } from './unix-socket.ts'
import { UsageError } from './usage-error.ts'

export interface Configuration {
  /** Absolute. */
  readonly dataDirectory: string
  /** Make a store where there is none. */
  readonly init: boolean
  readonly demoDisk: DemoDisk | null
  /** `null` when nothing was said about TCP; an empty list when it is not wanted. */
  readonly listen: readonly ListenAddress[] | null
  /** Absolute, each at most 107 bytes. */
  readonly listenUnix: readonly string[]
  /** Absolute, at most 107 bytes; null when nobody said where and there is no usual place. */
  readonly controlPath: string | null
  /** Whether somebody said where, so that a default is not meant. */
  readonly controlPathGiven: boolean
  readonly insecure: boolean
  readonly connectionsMax: number
  readonly cacheBytes: number
  /** Bytes a second; null is unlimited. */
  readonly hydrationRateDefault: number | null
  readonly hydrationRateTotal: number | null
  /** `null`: as the store was made, or segments for a new one. */
  readonly chunkBytesPlacement: 'segments' | 'leveldb' | null
  readonly compression: 'lz4' | 'none'
  readonly inlineBytesMax: number
  /** `null`: what the store finds right for its file system. */
  readonly reserveBytes: number | null
  readonly logLevel: LogLevel
}

export interface DemoDisk {
  readonly name: string
  readonly sizeBytes: number
}

const MiB = 1024 * 1024

/** Below it, a handful of the largest chunks would push one another out. */
const cacheBytesMin = 16 * MiB
/** More would be rows that are no longer small, which is what makes LevelDB slow. */
const inlineBytesCeiling = 4096
/** The unit's LimitNOFILE leaves room for them beside the files of the store. */
const connectionsCeiling = 10_000

export function configure(given: GivenOptions, surroundings: Surroundings): Configuration {
  const options = new Reader(given)
  const init = options.flag('init')
  const control = options.text('control')
  const controlText = control?.text ?? defaultControlPath(surroundings)
  const controlPath = controlText === null ? null : resolve(controlText)
  if (controlPath !== null) checkSocketPath(controlPath, control?.where ?? 'the control socket')
  return {
    dataDirectory: resolve(options.text('data')?.text ?? defaultDataDirectory(surroundings)),
    init,
    demoDisk: demoDisk(options.text('demo-disk'), init),
    listen: listenAddresses(given.get('listen')),
    listenUnix: socketPaths(given.get('listen-unix')),
    controlPath,
    controlPathGiven: control !== null,
    insecure: options.flag('insecure'),
    connectionsMax: options.count('connections-max', { min: 1, max: connectionsCeiling }, connectionsMaxDefault),
    cacheBytes: options.size('cache', { min: cacheBytesMin, max: Number.MAX_SAFE_INTEGER }, 256 * MiB),
    hydrationRateDefault: options.rate('hydration-rate-default', 100 * MiB),
    hydrationRateTotal: options.rate('hydration-rate-total', null),
    chunkBytesPlacement: options.choice('chunk-bytes', ['segments', 'leveldb'], null),
    compression: options.choice('compression', ['lz4', 'none'], 'lz4'),
    inlineBytesMax: options.size('inline-bytes-max', { min: 0, max: inlineBytesCeiling }, 512),
    reserveBytes: options.size('reserve-bytes', { min: 0, max: Number.MAX_SAFE_INTEGER }, null),
    logLevel: options.choice(
      'log-level',
      logLevels.filter((level) => level !== 'critical'),
      'info',
    ),
  }
}

interface Bounds {
  readonly min: number
  readonly max: number
}

/** Reads options as the kinds of value there are. */
class Reader {
  readonly #given: GivenOptions

  constructor(given: GivenOptions) {
    this.#given = given
  }

  text(name: OptionName): { text: string; where: string } | null {
    const given = this.#given.get(name)
    const text = given?.texts[0]
    if (given === undefined || text === undefined) return null
    // Mostly a shell variable that was not set; the default would be a surprise.
    if (text === '') throw new UsageError(`${given.where} is empty; give it a value or leave it out`)
    return { text, where: given.where }
  }

  flag(name: OptionName): boolean {
    return this.text(name)?.text === 'true'
  }

  size<T extends number | null>(name: OptionName, { min, max }: Bounds, otherwise: T): number | T {
    return this.#quantity(name, otherwise, (text) => {
      const bytes = parseSize(text)
      if (bytes < min) throw new QuantityError('SIZE_INVALID', `${text} is too little; at least ${min} bytes`)
      if (bytes > max) throw new QuantityError('SIZE_INVALID', `${text} is too much; at most ${max} bytes`)
      return bytes
    })
  }

  rate(name: OptionName, otherwise: number | null): number | null {
    return this.#quantity(name, otherwise, parseRate)
  }

  count(name: OptionName, { min, max }: Bounds, otherwise: number): number {
    return this.#quantity(name, otherwise, (text) => {
      const count = /^[0-9]{1,9}$/.test(text) ? Number(text) : NaN
      if (count >= min && count <= max) return count
      throw new QuantityError('ARGUMENT_INVALID', `'${text}' must be a whole number from ${min} to ${max}`)
    })
  }

  choice<const T extends string, D extends string | null>(name: OptionName, words: readonly T[], otherwise: D): T | D {
    const given = this.text(name)
    if (given === null) return otherwise
    const word = words.find((candidate) => candidate === given.text)
    if (word === undefined) throw new UsageError(`${given.where} '${given.text}' is not one of ${words.join(', ')}`)
    return word
  }

  #quantity<T, D>(name: OptionName, otherwise: D, parse: (text: string) => T): T | D {
    const given = this.text(name)
    return given === null ? otherwise : quantity(given.where, () => parse(given.text))
  }
}

function quantity<T>(where: string, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    if (error instanceof QuantityError || error instanceof StoreError)
      throw new UsageError(`${where}: ${error.message}`)
    throw error
  }
}

function demoDisk(given: { text: string; where: string } | null, init: boolean): DemoDisk | null {
  if (given === null) return null
  const { text, where } = given
  if (!init) throw new UsageError(`${where} only says what a new store begins with; it needs --init`)
  const at = text.indexOf('=')
  if (at < 1) throw new UsageError(`${where} '${text}' is not NAME=SIZE, like disk0=10GiB`)
  return quantity(where, () => ({
    name: checkName(text.slice(0, at), 'disk'),
    sizeBytes: checkDiskBytes(parseSize(text.slice(at + 1))),
  }))
}

function listenAddresses(given: GivenOption | undefined): readonly ListenAddress[] | null {
  if (given === undefined) return null
  const { texts, where } = given
  if (texts.includes('none')) {
    if (texts.length > 1) throw new UsageError(`${where} none stands alone; it means that there is no TCP listener`)
    return []
  }
  return texts.map((text) => parseListenAddress(text, where))
}

function socketPaths(given: GivenOption | undefined): readonly string[] {
  if (given === undefined) return []
  return given.texts.map((text) => {
    if (text === '') throw new UsageError(`${given.where} is empty; it is the path of a unix socket`)
    const path = resolve(text)
    checkSocketPath(path, given.where)
    return path
  })
}
