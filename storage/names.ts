/** Names and sizes that people give, checked in one place. */

import { StoreError } from './errors.ts'

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/

export function checkName(name: string, what: 'disk' | 'snapshot'): string {
  if (typeof name === 'string' && NAME.test(name)) return name
  throw new StoreError(
    'NAME_INVALID',
    `'${String(name).slice(0, 80)}' is no name for a ${what}: use 1 to 63 letters, digits, '.', '_' or '-', beginning with a letter or digit`,
  )
}

/** `20261120-104501Z`: the UTC time, to the second. */
export function nameOfTime(millis: number): string {
  const iso = new Date(millis).toISOString()
  return `${iso.slice(0, 10).replaceAll('-', '')}-${iso.slice(11, 19).replaceAll(':', '')}Z`
}

export const DISK_ALIGN_BYTES = 4096
/** 2^52 bytes: offsets stay exact as numbers, and chunk numbers fit the keys. */
export const DISK_BYTES_MAX = 2 ** 52
export const CHUNK_BYTES_MIN = 4096
export const CHUNK_BYTES_MAX = 1024 * 1024

export function checkDiskBytes(sizeBytes: number): number {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < DISK_ALIGN_BYTES || sizeBytes > DISK_BYTES_MAX) {
    throw new StoreError('SIZE_INVALID', `a disk has 4 KiB to 4 PiB, not ${sizeBytes} bytes`)
  }
  if (sizeBytes % DISK_ALIGN_BYTES !== 0) {
    throw new StoreError('SIZE_INVALID', `the size of a disk is a multiple of 4 KiB; ${sizeBytes} bytes are not`)
  }
  return sizeBytes
}

export function checkChunkBytes(chunkBytes: number): number {
  const power = Number.isInteger(Math.log2(chunkBytes))
  if (power && chunkBytes >= CHUNK_BYTES_MIN && chunkBytes <= CHUNK_BYTES_MAX) return chunkBytes
  throw new StoreError('CHUNK_SIZE_INVALID', `a chunk is a power of two from 4 KiB to 1 MiB, not ${chunkBytes} bytes`)
}

export function checkRate(rate: number | null): number | null {
  if (rate === null || (Number.isFinite(rate) && rate >= 1)) return rate
  throw new StoreError('RATE_INVALID', `a rate is at least 1 byte a second, or unlimited; to stop hydration, pause it`)
}
