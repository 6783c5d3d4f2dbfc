import { readFileSync } from 'node:fs'

/** The version in package.json, from sources as well as from `dist/`. */
export function programVersion(): string {
  for (const path of ['../../package.json', '../../../package.json']) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as {
        name?: unknown
        version?: unknown
      }
      if (name === 'thaw' && typeof version === 'string') return version
    } catch {
      // The next place.
    }
  }
  return 'unknown'
}
