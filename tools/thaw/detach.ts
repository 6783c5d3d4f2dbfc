import { findProgram, lastLine, needRoot } from './attach.ts'
import { refused } from './failure.ts'
import { letGo, type Waiting } from './let-go.ts'
import { deviceName } from './nbd-client-flags.ts'
import { isUsed, nbdDevices, usesOf } from './nbd-devices.ts'
import type { NbdDevice } from './nbd-devices.ts'
import type { System } from './system.ts'

/** Lets a device go that nobody uses. `target` is a device, or the export that one of them has. Needs no daemon. Returns the device. */
export async function detach(system: System, target: string, waiting: Waiting): Promise<string> {
  needRoot(system, 'detach')
  const program = findProgram(system, 'nbd-client')
  if (program === null)
    throw refused('NBD_CLIENT_MISSING', 'nbd-client is not installed; install it with: apt install nbd-client')
  const { device } = findDevice(nbdDevices(system), target)
  const uses = usesOf(system, device)
  if (uses.length > 0)
    throw refused('DEVICE_IN_USE', `${uses.join(', ')}; unmount or stop that first`, { device, uses })

  const outcome = await letGo(system, program, device, waiting)
  if (outcome.isFree) return device
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
