import type { DaemonStatus } from '../../daemon/control/wire.ts'
import { refused } from './failure.ts'
import { startKeeper } from './keeper.ts'
import { letGo } from './let-go.ts'
import { attachArguments, chooseListener, deviceName } from './nbd-client-flags.ts'
import { isUsed, nbdDevices } from './nbd-devices.ts'
import type { NbdDevice } from './nbd-devices.ts'
import type { Finished, System } from './system.ts'

/** How long the kernel may take until the device has its size. */
const appearMillisMax = 10_000
const pollMillis = 20

export interface AttachRequest {
  readonly exportName: string
  readonly sizeBytes: number
  readonly readOnly: boolean
  /** As typed; null: the first free one. */
  readonly device: string | null
}

/** That this machine can attach anything at all. Throws Failure naming the first thing that is missing; loads the module when it can. Returns the path of nbd-client. */
export async function prepareMachine(system: System): Promise<string> {
  needRoot(system, 'attach')
  const program = findProgram(system, 'nbd-client')
  if (program === null) {
    throw refused('NBD_CLIENT_MISSING', 'nbd-client is not installed; install it with: apt install nbd-client')
  }
  if (!hasModule(system)) {
    const modprobe = findProgram(system, 'modprobe')
    const outcome = modprobe === null ? null : await system.run(modprobe, ['nbd'])
    if (!hasModule(system)) {
      const why =
        outcome === null
          ? 'there is no modprobe to load it'
          : `modprobe nbd: ${lastLine(outcome) || 'nothing appeared'}`
      throw refused(
        'NBD_MODULE_MISSING',
        `this kernel has no nbd devices (${why}); install or load the kernel's nbd module`,
      )
    }
  }
  return program
}

/** Attaches an export and waits until the device can be used. Returns the device. */
export async function attach(
  system: System,
  program: string,
  request: AttachRequest,
  status: DaemonStatus,
): Promise<string> {
  const listener = chooseListener(status.listeners)
  if (listener === null) {
    throw refused('NO_LISTENER', 'the daemon listens nowhere without TLS; start thawd with --listen-unix PATH')
  }
  const { exportName, readOnly, sizeBytes } = request
  // Between choosing a device and having it, another of us must not choose the
  // same: nbd-client would clear the connection of whoever came first.
  return await system.exclusively('thaw-attach', async () => {
    const device = chooseDevice(nbdDevices(system), request.device)
    const keeper = await startKeeper(system, { listener, exportName, device })
    const words = attachArguments({ listener: keeper.listener, exportName, device, readOnly })
    const outcome = await system.run(program, words)
    if (outcome.status !== 0) {
      system.terminate(keeper.pid)
      throw refused(
        'NBD_CLIENT_FAILED',
        `nbd-client could not attach ${exportName} to ${device}: ${lastLine(outcome) || `exit ${outcome.status}`}`,
      )
    }
    let now: NbdDevice | undefined
    for (let waited = 0; waited < appearMillisMax; waited += pollMillis) {
      now = nbdDevices(system).find((each) => each.device === device)
      if (now?.connected === true && now.sizeBytes === sizeBytes) return device
      await system.sleep(pollMillis)
    }
    // What is not as it should be must not be used, nor stand in the way of another attempt.
    await letGo(system, program, device)
    system.terminate(keeper.pid)
    const isOther = now?.connected === true && now.sizeBytes > 0
    throw refused(
      'NBD_CLIENT_FAILED',
      isOther
        ? `${device} had ${now?.sizeBytes} bytes where ${exportName} has ${sizeBytes}, and was let go: try again`
        : `nbd-client was started, but ${device} has not got its size, and was let go; the kernel's log (dmesg) may say why`,
    )
  })
}

export function needRoot(system: System, what: string): void {
  if (system.uid !== 0) throw refused('NOT_ROOT', `only root can ${what} devices; use sudo`)
}

export function findProgram(system: System, name: string): string | null {
  return (
    system.programDirectories.map((directory) => `${directory}/${name}`).find((path) => system.isExecutable(path)) ??
    null
  )
}

/** What a program said last; nbd-client's complaints begin with `Error: ` and end `Exiting.`. */
export function lastLine({ stderr, stdout }: Finished): string {
  const lines = `${stdout}\n${stderr}`.split('\n').map((line) => line.trim())
  const telling = lines.filter((line) => line !== '' && !/^Exiting\.?$/.test(line) && !/^(Negotiation|bs=)/.test(line))
  return (telling.at(-1) ?? '').replace(/^(E|Error): /, '')
}

function hasModule(system: System): boolean {
  return system.list('/sys/block').some((name) => /^nbd[0-9]+$/.test(name))
}

function chooseDevice(devices: readonly NbdDevice[], wanted: string | null): string {
  if (wanted !== null) {
    const device = `/dev/${deviceName(wanted)}`
    const found = devices.find((each) => each.device === device)
    if (found === undefined) {
      throw refused(
        'DEVICE_NOT_FOUND',
        `there is no ${device}: this kernel has ${devices.length} nbd devices, ${devices[0]?.device} to ${devices.at(-1)?.device}`,
      )
    }
    if (isUsed(found)) {
      const by = found.client === null ? '' : ` by ${found.client.exportName} from ${found.client.address}`
      throw refused('DEVICE_IN_USE', `${device} is in use${by}; name another, or none to get the first free one`)
    }
    return device
  }
  const free = devices.find((each) => !isUsed(each))
  if (free === undefined) {
    throw refused(
      'NO_FREE_DEVICE',
      `all ${devices.length} nbd devices are in use; detach one, or load the module with more: nbds_max=64`,
    )
  }
  return free.device
}
