/**
 * The marker of a store: `thaw.json` in its data directory. A store is made only
 * when somebody says so, because a missed mount must never hand a reconnecting
 * client a blank disk.
 */

import { dirname, join } from 'node:path'
import type { Environment } from './environment.ts'
import { StoreError, systemCode } from './errors.ts'
import { FORMAT_VERSION } from './record.ts'

export interface Marker {
  readonly format: number
  readonly storeId: string
  /** Where chunk bytes live; chosen when the store is made. */
  readonly chunkBytes: 'segments' | 'leveldb'
  readonly createdAt: string
}

const NAME = 'thaw.json'
/** Directories that a fresh file system has of its own. */
const EMPTY_ENOUGH = new Set(['lost+found'])

export const indexDirectory = (directory: string) => join(directory, 'index')
export const segmentsDirectory = (directory: string) => join(directory, 'segments')

/** Reads the marker, or makes a new store when `init` allows it. Says whether it did. */
export async function openMarker(
  environment: Environment,
  options: { directory: string; init: boolean; chunkBytes: Marker['chunkBytes'] | undefined },
): Promise<{ marker: Marker; created: boolean }> {
  const { directory } = options
  const { files } = environment
  let names: string[]
  try {
    names = await files.list(directory)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw unusable(directory, error)
    if (!options.init) throw notFound(directory, 'does not exist')
    names = []
  }
  const text = names.includes(NAME) ? await files.readFile(join(directory, NAME)) : undefined
  if (text !== undefined) return { marker: checkMarker(directory, text, options.chunkBytes), created: false }
  const others = names.filter((name) => !EMPTY_ENOUGH.has(name))
  if (!options.init) throw notFound(directory, others.length === 0 ? 'is empty' : `holds other things and no ${NAME}`)
  if (others.length > 0 && !isUnfinished(others)) {
    throw new StoreError(
      'STORE_NOT_EMPTY',
      `${directory} holds other files (${others.slice(0, 3).join(', ')}): a store is made in an absent or empty directory`,
    )
  }
  return { marker: await makeStore(environment, directory, options.chunkBytes ?? 'segments'), created: true }
}

/** What an `--init` that was interrupted before its marker leaves behind. */
function isUnfinished(names: string[]): boolean {
  return names.every((name) => name === 'index' || name === 'segments')
}

async function makeStore(
  environment: Environment,
  directory: string,
  chunkBytes: Marker['chunkBytes'],
): Promise<Marker> {
  const { files } = environment
  const marker: Marker = {
    format: FORMAT_VERSION,
    storeId: environment.random.bytes(16).toString('hex'),
    chunkBytes,
    createdAt: new Date(environment.clock.wallMillis()).toISOString(),
  }
  try {
    await files.makeDirectory(directory)
    await files.makeDirectory(indexDirectory(directory))
    await files.makeDirectory(segmentsDirectory(directory))
    await files.syncDirectory(directory)
    await files.syncDirectory(dirname(directory))
    // Last: with the marker there, the store is one.
    await files.writeFile(join(directory, NAME), `${JSON.stringify(marker, null, 2)}\n`)
  } catch (error) {
    throw unusable(directory, error)
  }
  return marker
}

function checkMarker(directory: string, text: Buffer, chunkBytes: Marker['chunkBytes'] | undefined): Marker {
  let marker: Partial<Marker>
  try {
    marker = JSON.parse(text.toString()) as Partial<Marker>
  } catch (error) {
    throw new StoreError(
      'STORE_FOREIGN',
      `${join(directory, NAME)} is not JSON: this is no store of thaw's, or its marker is damaged`,
      {
        cause: error,
      },
    )
  }
  const { format, storeId, createdAt } = marker
  if (typeof format !== 'number' || typeof storeId !== 'string' || typeof createdAt !== 'string') {
    throw new StoreError(
      'STORE_FOREIGN',
      `${join(directory, NAME)} is not a marker of thaw's: the directory belongs to something else`,
    )
  }
  if (format > FORMAT_VERSION) {
    throw new StoreError(
      'STORE_NEWER',
      `the store in ${directory} has format ${format}, and this thawd reads up to ${FORMAT_VERSION}: use a newer thawd`,
    )
  }
  if (marker.chunkBytes !== 'segments' && marker.chunkBytes !== 'leveldb') {
    throw new StoreError(
      'STORE_DAMAGED',
      `${join(directory, NAME)} does not say where chunk bytes live ("chunkBytes": "segments" or "leveldb")`,
    )
  }
  if (chunkBytes !== undefined && chunkBytes !== marker.chunkBytes) {
    throw new StoreError(
      'ARGUMENT_INVALID',
      `the store in ${directory} keeps chunk bytes in '${marker.chunkBytes}', chosen when it was made: remove the setting '${chunkBytes}', or make a new store`,
    )
  }
  return marker as Marker
}

function notFound(directory: string, what: string): StoreError {
  return new StoreError(
    'STORE_NOT_FOUND',
    `${directory} ${what}: is it mounted? To make a new store there: thawd --init --data ${directory}`,
  )
}

function unusable(directory: string, cause: unknown): StoreError {
  const code = systemCode(cause)
  if (code === 'EROFS' || code === 'EACCES' || code === 'EPERM') {
    return new StoreError(
      'STORE_READ_ONLY',
      `${directory} cannot be written (${code}): mount it writable, or run as its owner`,
      { cause },
    )
  }
  if (code === 'ENOTDIR') return new StoreError('STORE_FOREIGN', `${directory} is not a directory`, { cause })
  return new StoreError('STORE_FAILED', `cannot use ${directory}: ${(cause as Error).message}`, { cause })
}
