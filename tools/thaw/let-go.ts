import { detachArguments } from './nbd-client-flags.ts'
import { isUsed, nbdDevices } from './nbd-devices.ts'
import type { Finished, System } from './system.ts'

/** How long the kernel may take to let go, with what was under way: on a busy machine that is many seconds. */
const leaveMillisMax = 60_000
/** A client that is reconnecting to a daemon that is gone does not hear of the disconnection, and is ended after so long. */
const hearMillisMax = 1_000
const pollMillis = 20

/** Called about once a second, with the seconds waited so far. */
export type Waiting = (seconds: number) => void

/**
 * Has nbd-client (`program`) disconnect a device, and waits until it is free. Returns what nbd-client said; `isFree` is
 * false when the kernel did not let go.
 */
export async function letGo(
  system: System,
  program: string,
  device: string,
  waiting: Waiting = () => {},
): Promise<Finished & { readonly isFree: boolean }> {
  const found = () => nbdDevices(system).find((each) => each.device === device)
  const netlink = (found()?.client ?? null) === null
  const outcome = await system.run(program, detachArguments(device, netlink))
  for (let waited = 0; waited < leaveMillisMax; waited += pollMillis) {
    const now = found()
    if (now === undefined || !isUsed(now)) return { ...outcome, isFree: true }
    if (!now.connected && now.client !== null && waited > hearMillisMax) system.terminate(now.client.pid)
    if (waited > 0 && waited % 1000 === 0) waiting(waited / 1000)
    await system.sleep(pollMillis)
  }
  return { ...outcome, isFree: false }
}
