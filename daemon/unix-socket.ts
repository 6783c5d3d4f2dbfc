/**
 * The paths of unix sockets: how long they may be, and what to do about a file
 * that is there already. A socket left behind by a daemon that was killed
 * refuses connections; it is removed, so that nobody has to do it by hand. One
 * that answers belongs to a living process and is never touched.
 */
import { mkdirSync, lstatSync, unlinkSync } from 'node:fs'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import { UsageError } from './usage-error.ts'

/** `sun_path` has 108 bytes with the NUL; Node cuts what is longer without a word, and would listen somewhere else. */
export const socketPathBytesMax = 107

export function checkSocketPath(path: string, where: string): void {
  const bytes = Buffer.byteLength(path)
  if (bytes <= socketPathBytesMax) return
  throw new UsageError(
    `${where} ${path} has ${bytes} bytes, and the path of a unix socket can have at most ${socketPathBytesMax}; choose a shorter one`,
  )
}

export type SocketState = 'absent' | 'dead' | 'live'

/** What is at `path`. Throws when it is something else than a socket, or cannot be told. */
export async function socketState(path: string): Promise<SocketState> {
  try {
    if (!lstatSync(path).isSocket()) {
      throw new Error(`${path} is there and is not a socket; choose another path or move it away`)
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === undefined) throw error
    if (code === 'ENOENT') return 'absent'
    throw unreachable(path, error as NodeJS.ErrnoException)
  }
  return await new Promise((resolve, reject) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve('live')
    })
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') resolve('dead')
      else if (error.code === 'ENOENT') resolve('absent')
      // EAGAIN: its queue is full, so somebody listens.
      else if (error.code === 'EAGAIN') resolve('live')
      else reject(unreachable(path, error))
    })
  })
}

/**
 * Makes `path` free to listen at: its directory exists and no dead socket is
 * in the way. Called with the store's lock held, so that of two daemons started
 * at once on one store only one comes here.
 */
export async function clearSocketPath(path: string): Promise<void> {
  makeDirectoryOf(path)
  const state = await socketState(path)
  if (state === 'live') throw socketInUse(path)
  if (state === 'dead') unlinkSync(path)
}

/** One level, as in `$XDG_RUNTIME_DIR/thaw`. Not `recursive`: where nothing can be made (/proc) Node then tries for ever. */
function makeDirectoryOf(path: string): void {
  try {
    mkdirSync(dirname(path), { mode: 0o755 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

function unreachable(path: string, error: NodeJS.ErrnoException): Error {
  const message = `nobody can tell what is at ${path} (${error.code}); check the path and its permissions, or choose another`
  return new Error(message, { cause: error })
}

export function socketInUse(path: string): Error {
  return new Error(`${path} is in use by a process that answers there; stop it or choose another path`)
}
