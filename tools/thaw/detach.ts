import { findProgram, lastLine, needRoot } from './attach.ts'
import { refused } from './failure.ts'
import { detachArguments, deviceName } from './nbd-client-flags.ts'
import { isUsed, nbdDevices, usesOf } from './nbd-devices.ts'
import type { NbdDevice } from './nbd-devices.ts'
import type { System } from './system.ts'

/** How long the kernel may take to let go, with what was under way. */
const leaveMillisMax = 10_000
const pollMillis = 20

/** Lets a device go that nobody uses. `target` is a device, or the export that one of them has. Needs no daemon. Returns the device. */
export async function detach(system: System, target: string): Promise<string> {
  needRoot(system, 'detach')
  const program = findProgram(system, 'nbd-client')
  if (program === null)
    throw refused('NBD_CLIENT_MISSING', 'nbd-client is not installed; install it with: apt install nbd-client')
  const found = findDevice(nbdDevices(system), target)
  const { device } = found
  const uses = usesOf(system, device)
  if (uses.length > 0)
    throw refused('DEVICE_IN_USE', `${uses.join(', ')}; unmount or stop that first`, { device, uses })

  const outcome = await system.run(program, detachArguments(device, found.client === null))
  const state = (): NbdDevice | undefined => nbdDevices(system).find((each) => each.device === device)
  for (let waited = 0; waited < leaveMillisMax; waited += pollMillis) {
    const now = state()
    if (now === undefined || !isUsed(now)) return device
    // One that is reconnecting to a daemon that is gone does not hear of the disconnection.
    if (!now.connected && now.client !== null && waited > leaveMillisMax / 10) system.terminate(now.client.pid)
    await system.sleep(pollMillis)
  }
  throw refused('NBD_CLIENT_FAILED', `${device} is still there: ${lastLine(outcome) || 'the kernel did not let it go'}`)
}

function findDevice(devices: readonly NbdDevice[], target: string): NbdDevice {
  const used = devices.filter(isUsed)
  const name = deviceName(target)
  if (name !== null && target.startsWith('/dev/')) {
    const found = used.find((each) => each.device === `/dev/${name}`)
    if (found === undefined)
      throw refused('NOT_ATTACHED', `nothing is attached to /dev/${name}; thaw attach list shows what is`)
    return found
  }
  const having = used.filter((each) => each.client?.exportName === target)
  const [first, second] = having
  if (first === undefined) {
    throw refused(
      'NOT_ATTACHED',
      `'${target}' is not attached here, as far as can be seen; thaw attach list shows what is`,
    )
  }
  if (second !== undefined) {
    throw refused(
      'NOT_ATTACHED',
      `'${target}' is attached several times (${having.map((each) => each.device).join(', ')}); name the device`,
    )
  }
  return first
}
