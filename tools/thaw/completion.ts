import type { Session } from './session.ts'

/** A shell that waits longer feels broken. */
const waitMillisMax = 500

/** What may stand behind a command, before the options. */
const completed: Readonly<Record<string, readonly ('disk' | 'snapshot')[]>> = {
  'disk show': ['disk'],
  'disk rename': ['disk'],
  'disk resize': ['disk'],
  'disk delete': ['disk'],
  'disk default': ['disk'],
  'snapshot create': ['disk'],
  'snapshot list': ['disk'],
  'snapshot show': ['snapshot'],
  'snapshot rename': ['snapshot'],
  'snapshot delete': ['snapshot'],
  'snapshot diff': ['snapshot', 'disk'],
  'hydration show': ['disk'],
  'hydration set': ['disk'],
  'hydration pause': ['disk'],
  'hydration resume': ['disk'],
  'hydration wait': ['disk'],
  restore: ['snapshot'],
  attach: ['disk', 'snapshot'],
  detach: ['disk', 'snapshot'],
}

/** What a shell asks to complete, word by word, when this is such a question: the script of `thaw completion` puts an option in front. */
export function completionsAsked(words: readonly string[]): readonly string[] | null {
  return words[0] === '--get-yargs-completions' ? words.slice(2) : null
}

/** The names of the daemon's disks and snapshots that may stand there. Without a daemon there are none, and nothing is said about it. */
export async function nameCompletions(typed: readonly string[], session: Session): Promise<string[]> {
  const [first = '', second = ''] = typed
  const kinds = completed[`${first} ${second}`] ?? completed[first]
  const last = typed.at(-1) ?? ''
  if (kinds === undefined || typed.length < 2 || last.startsWith('-')) return []
  const names = await Promise.race([
    namesOf(kinds, session).catch(() => []),
    new Promise<string[]>((resolve) => setTimeout(resolve, waitMillisMax, []).unref()),
  ])
  return names.filter((name) => name.startsWith(last))
}

async function namesOf(kinds: readonly ('disk' | 'snapshot')[], session: Session): Promise<string[]> {
  const names: string[] = []
  if (kinds.includes('disk')) {
    const { disks } = await session.call('disk.list', {})
    names.push(...disks.map(({ name }) => name))
  }
  if (kinds.includes('snapshot')) {
    const { snapshots } = await session.call('snapshot.list', {})
    names.push(...snapshots.map(({ disk, name }) => `${disk}@${name}`))
  }
  return names
}
