import type { Rate, SnapshotName } from '../../storage/contract.ts'
import { QuantityError } from '../quantities.ts'
import { ControlError } from './errors.ts'
import { isObject } from './request.ts'

/**
 * One parameter: how its value is read and whether it may be left out.
 * `read` throws; whether the value makes sense to the store is for the store to say.
 */
export interface Field<T, Optional extends boolean = boolean> {
  readonly optional: Optional
  read(value: unknown, name: string): T
}

/** The fields of a method's parameters: an optional one is required to be declared so. */
export type Fields<P> = {
  readonly [K in keyof P]-?: Field<P[K], Record<never, never> extends Pick<P, K> ? true : false>
}

/** Reads parameters strictly. Throws ControlError PARAMETERS_INVALID naming the parameter. */
export function readParameters<P>(params: Readonly<Record<string, unknown>>, fields: Fields<P>, within = ''): P {
  const known = fields as Readonly<Record<string, Field<unknown>>>
  for (const name of Object.keys(params)) {
    if (!Object.hasOwn(known, name)) {
      const names = Object.keys(known)
      const those = names.length === 0 ? 'it takes none' : `known are ${names.join(', ')}`
      throw invalid(within + name, `unknown parameter '${(within + name).slice(0, 64)}': ${those}`)
    }
  }
  const result: Record<string, unknown> = {}
  for (const [name, field] of Object.entries(known)) {
    if (Object.hasOwn(params, name)) result[name] = field.read(params[name], within + name)
    else if (!field.optional) throw invalid(within + name, `parameter '${within + name}' is missing`)
  }
  return result as P
}

export function optional<T>(field: Field<T, false>): Field<T, true> {
  return { ...field, optional: true }
}

export const text = required((value, name): string => {
  if (typeof value !== 'string') throw invalid(name, `'${name}' must be a string`)
  return value
})

export const textOrNull = required((value, name): string | null => (value === null ? null : text.read(value, name)))

export const flag = required((value, name): boolean => {
  if (typeof value !== 'boolean') throw invalid(name, `'${name}' must be true or false`)
  return value
})

export const bytes = required((value, name): number => {
  if (!isWholeNumber(value)) throw invalid(name, `'${name}' must be a whole number of bytes`)
  return value
})

export const number = required((value, name): number => {
  if (!isWholeNumber(value)) throw invalid(name, `'${name}' must be a whole number`)
  return value
})

/** Bytes a second or null. 0 is refused with RATE_INVALID: elsewhere it means unlimited. */
export const rate = required((value, name): Rate => {
  if (value === null) return null
  if (!isWholeNumber(value))
    throw invalid(name, `'${name}' must be a whole number of bytes a second, or null for unlimited`)
  if (value === 0)
    throw new QuantityError(
      'RATE_INVALID',
      `'${name}' must not be 0: use null for unlimited, or hydration.pause to stop copying`,
    )
  return value
})

export function oneOf<const T extends string>(...choices: readonly T[]): Field<T, false> {
  return required((value, name): T => {
    const choice = choices.find((each) => each === value)
    if (choice === undefined)
      throw invalid(name, `'${name}' must be ${choices.map((each) => `"${each}"`).join(' or ')}`)
    return choice
  })
}

export function objectOf<P>(fields: Fields<P>): Field<P, false> {
  return required((value, name): P => {
    if (!isObject(value)) throw invalid(name, `'${name}' must be an object`)
    return readParameters(value, fields, `${name}.`)
  })
}

/** At least one. */
export function listOf<T>(field: Field<T>): Field<readonly T[], false> {
  return required((value, name): readonly T[] => {
    if (!Array.isArray(value) || value.length === 0)
      throw invalid(name, `'${name}' must be a list with something in it`)
    return value.map((each: unknown, index) => field.read(each, `${name}[${index}]`))
  })
}

export const snapshotName: Field<SnapshotName, false> = objectOf<SnapshotName>({ disk: text, snapshot: text })

function required<T>(read: (value: unknown, name: string) => T): Field<T, false> {
  return { optional: false, read }
}

function isWholeNumber(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function invalid(parameter: string, message: string): ControlError {
  return new ControlError('PARAMETERS_INVALID', message, { parameter: parameter.slice(0, 64) })
}
