/** What a person who started the daemon by hand reads last: where everything is, and three lines to paste. */

export interface GreetingFacts {
  readonly dataDirectory: string
  /** Addresses and paths. */
  readonly listeners: readonly string[]
  readonly controlPath: string
  /** Whether `thaw` finds that path by itself. */
  readonly controlIsUsual: boolean
  /** Then nobody has to become it. */
  readonly isRoot: boolean
  /** A disk to try it with, or null when there is none. */
  readonly disk: string | null
  /** `npm start` runs in a checkout, where the command is `npx thaw`. */
  readonly inCheckout: boolean
}

export function greeting(facts: GreetingFacts): string {
  const { dataDirectory, listeners, controlPath, controlIsUsual, isRoot, disk, inCheckout } = facts
  const sudo = isRoot ? '' : 'sudo '
  const thaw = `${inCheckout ? 'npx thaw' : 'thaw'}${controlIsUsual ? '' : ` --control ${shellWord(controlPath)}`}`
  const lines =
    disk === null
      ? [`${thaw} disk create disk0 10GiB`, `${sudo}${thaw} attach disk0`, `${thaw} status`]
      : [`${sudo}${thaw} attach ${disk}`, `${thaw} snapshot create ${disk}@first`, `${thaw} restore ${disk}@first copy`]
  return [
    '',
    `  data     ${dataDirectory}`,
    ...(listeners.length === 0 ? ['none'] : listeners).map((listener) => `  NBD      ${listener}`),
    `  control  ${controlPath}`,
    '',
    ...lines.map((line) => `  ${line}`),
    '',
  ].join('\n')
}

function shellWord(text: string): string {
  return /^[A-Za-z0-9/._+:@%-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}
