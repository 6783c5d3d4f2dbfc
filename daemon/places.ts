/** Where the data and the control socket are when nobody says: the places that systemd gives, then root's, then those of the person. */
import { homedir } from 'node:os'
import { join } from 'node:path'

export interface Surroundings {
  readonly environment: NodeJS.ProcessEnv
  readonly isRoot: boolean
}

/** `$STATE_DIRECTORY`, else /var/lib/thaw as root, else `$XDG_DATA_HOME/thaw`. */
export function defaultDataDirectory({ environment, isRoot }: Surroundings): string {
  const state = firstDirectory(environment['STATE_DIRECTORY'])
  if (state !== null) return state
  if (isRoot) return '/var/lib/thaw'
  return join(environment['XDG_DATA_HOME'] || join(environment['HOME'] || homedir(), '.local', 'share'), 'thaw')
}

/** `control.sock` in `$RUNTIME_DIRECTORY`, else `$XDG_RUNTIME_DIR/thaw`, else /run/thaw as root; else there is no place for it. */
export function defaultControlPath({ environment, isRoot }: Surroundings): string | null {
  const runtime = firstDirectory(environment['RUNTIME_DIRECTORY'])
  if (runtime !== null) return join(runtime, 'control.sock')
  const personal = environment['XDG_RUNTIME_DIR'] || null
  if (personal !== null) return join(personal, 'thaw', 'control.sock')
  return isRoot ? '/run/thaw/control.sock' : null
}

/** systemd lists several directories with colons; the first is ours. */
function firstDirectory(list: string | undefined): string | null {
  return list?.split(':')[0] || null
}
