/**
 * What is said of an export beside its name: a few words for people, and which
 * one it is. A name can be given to another disk; a client that comes back after
 * a restart can tell by the id whether it has the same one before it, as
 * `thaw-keeper` does before it repeats anything.
 */

/** `10GiB disk, id 5e0a1c3f.../12`. */
export function describeExport(words: string, id: string): string {
  return `${words}, id ${id}`
}

/** The id in a description; null when there is none, as with other servers. */
export function describedId(description: string | null): string | null {
  return /, id (\S+)$/.exec(description ?? '')?.[1] ?? null
}
