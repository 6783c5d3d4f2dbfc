import { readFileSync, statSync } from 'node:fs'
import { ControlClient } from '../control-client.ts'
import { exitCodes, Failure, wrongUsage } from './failure.ts'

/** What a unix socket's path may have; Node cuts longer ones silently and would connect elsewhere. */
const pathBytesMax = 107

type Environment = Readonly<Record<string, string | undefined>>

/** Where to look for the daemon, in order. One that was given is the only one. */
export function controlPaths(given: string | undefined, env: Environment): string[] {
  const said = given ?? nonEmpty(env['THAW_CONTROL'])
  if (said !== undefined) {
    if (said === '') throw wrongUsage('--control must name a path')
    const bytes = Buffer.byteLength(said)
    if (bytes > pathBytesMax) {
      throw wrongUsage(
        `the control socket's path has ${bytes} bytes, a socket's may have ${pathBytesMax}: choose a shorter one, or a symbolic link`,
      )
    }
    return [said]
  }
  const runtime = nonEmpty(env['XDG_RUNTIME_DIR'])
  const sudoUid = nonEmpty(env['SUDO_UID'])
  const directories = [
    ...(runtime === undefined ? [] : [`${runtime}/thaw`]),
    ...(sudoUid === undefined || !/^[0-9]+$/.test(sudoUid) ? [] : [`/run/user/${sudoUid}/thaw`]),
    '/run/thaw',
  ]
  return [...new Set(directories.map((directory) => `${directory}/control.sock`))]
}

/** Connects to the first that answers. Throws Failure DAEMON_NOT_REACHABLE saying of each path why not. */
export async function connectToDaemon(paths: readonly string[]): Promise<ControlClient> {
  const tried: { path: string; reason: string }[] = []
  for (const path of paths) {
    if (Buffer.byteLength(path) > pathBytesMax) {
      tried.push({ path, reason: `its path is longer than the ${pathBytesMax} bytes a socket's may have` })
      continue
    }
    try {
      return await ControlClient.connect(path)
    } catch (error) {
      tried.push({ path, reason: reasonOf(path, error as NodeJS.ErrnoException) })
    }
  }
  const reasons = tried.map(({ path, reason }) => `${path}: ${reason}`).join('; ')
  throw new Failure(
    exitCodes.notReachable,
    'DAEMON_NOT_REACHABLE',
    `no daemon answers (${reasons}). Is thawd running? If it listens elsewhere, say --control PATH`,
    { details: { tried } },
  )
}

/** Why a path is of no use, in a few words. */
export function reasonOf(path: string, error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case 'ENOENT':
      return 'no such file'
    case 'ENOTDIR':
      return 'a part of the path is not a directory'
    case 'EACCES':
    case 'EPERM':
      return `permission denied, ${whoMay(path)}`
    case 'ECONNREFUSED':
      return isSocket(path) ? 'a dead socket: its daemon is gone' : 'not a socket'
    case 'ENOTSOCK':
      return 'not a socket'
    case 'EAGAIN':
      return 'the daemon is there but too busy to accept'
    default:
      return error.message
  }
}

function isSocket(path: string): boolean {
  try {
    return statSync(path).isSocket()
  } catch {
    return true
  }
}

/** Whom the socket lets in, or as much of that as can be seen from outside. */
function whoMay(path: string): string {
  let gid: number
  try {
    gid = statSync(path).gid
  } catch {
    return 'its directory is closed to you: use sudo'
  }
  const group = groupName(gid)
  // Joining root's group is no advice to give.
  return gid === 0
    ? 'it is for root: use sudo'
    : `it is for group ${group}: use sudo, or join with: sudo usermod -aG ${group} $USER`
}

function groupName(gid: number): string {
  try {
    const lines = readFileSync('/etc/group', 'utf8').split('\n')
    return lines.find((line) => line.split(':')[2] === String(gid))?.split(':')[0] ?? String(gid)
  } catch {
    return String(gid)
  }
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text
}
