/** What a process has used, from /proc. */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

/** Linux counts processor time in this many ticks a second, whatever the kernel was built with (USER_HZ). */
const ticksPerSecond = 100

export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // The second field is the name in brackets and may hold spaces.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
}

/** Bytes that the process caused to be sent to a disk, or will have when its dirty pages are written. */
export function writtenBytes(pid: number): number {
  return field(`/proc/${pid}/io`, 'write_bytes')
}

/** Anonymous memory, bytes: what the kernel cannot take back, as it can mapped files. */
export function anonymousBytes(pid: number): number {
  return field(`/proc/${pid}/status`, 'RssAnon') * 1024
}

/** Returns once the process has been nearly idle for a while, or after `millisMax`; resolves with the milliseconds that it took. */
export async function untilIdle(pid: number, millisMax: number): Promise<number> {
  const began = performance.now()
  const windowMillis = 400
  for (;;) {
    const before = cpuSeconds(pid)
    await sleep(windowMillis)
    const busy = ((cpuSeconds(pid) - before) * 1000) / windowMillis
    const millis = performance.now() - began
    if (busy <= 0.05 || millis > millisMax) return millis
  }
}

function field(path: string, name: string): number {
  const line = readFileSync(path, 'utf8')
    .split('\n')
    .find((line) => line.startsWith(`${name}:`))
  if (line === undefined) throw new Error(`${path} has no line ${name}`)
  return Number.parseInt(line.slice(name.length + 1), 10)
}
