/** SIGTERM, SIGINT and SIGHUP (a closed terminal) as a first and a second request to stop. */

/**
 * Ctrl-C under npm arrives twice: from the terminal, and passed on by npm. A person
 * who means it again needs longer than this.
 */
const sameSignalMillis = 500

export function onStopSignals({ first, second }: { first(signal: string): void; second(signal: string): void }): void {
  let since: number | null = null
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => {
      const now = performance.now()
      if (since === null) {
        since = now
        first(signal)
      } else if (now - since > sameSignalMillis) {
        second(signal)
      }
    })
  }
}
