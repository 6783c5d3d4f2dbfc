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

/** Adds the names that fit to what the parser knows. Without a daemon there are none, and nothing is said about it. */
export async function complete(
  args: { readonly _: readonly string[]; readonly control?: unknown },
  known: readonly string[],
  session: Session,
): Promise<string[]> {
  const [first = '', second = ''] = args._.slice(1)
  const kinds = completed[`${first} ${second}`] ?? completed[first]
  // A name that begins like an option is none.
  if (kinds === undefined || args._.at(-1)?.startsWith('-') === true) return [...known]
  if (typeof args.control === 'string') session.controlPath = args.control
  const names = await Promise.race([
    namesOf(kinds, session).catch(() => []),
    new Promise<string[]>((resolve) => setTimeout(resolve, waitMillisMax, []).unref()),
  ])
  return [...names, ...known]
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
