import { command } from '../command.ts'
import { attach, prepareMachine } from '../attach.ts'
import { wrongUsage } from '../failure.ts'
import { parseTarget } from '../names.ts'
import { deviceName } from '../nbd-client-flags.ts'
import { attachList } from './attach-list.ts'

const attachOne = command({
  command: '$0 <disk> [device]',
  describe: 'Make a disk or a snapshot a block device of this machine (root)',
  builder: (yargs) =>
    yargs
      .positional('disk', { type: 'string', demandOption: true, describe: 'DISK, or DISK@SNAPSHOT (read only)' })
      .positional('device', { type: 'string', describe: 'such as /dev/nbd0; without it the first free one' })
      .option('read-only', { type: 'boolean', describe: 'refuse writes on this machine' })
      .example('$0 attach web0', 'prints the device, /dev/nbd0')
      .example('$0 attach web0@monday /dev/nbd5', 'to look into last Monday'),
  run: async ({ disk: text, device = null, readOnly = false }, session) => {
    const { disk, snapshot } = parseTarget(text)
    if (device !== null && deviceName(device) === null)
      throw wrongUsage(`'${device}' is not an nbd device: write /dev/nbd0`)
    const { system } = session.surroundings
    const program = await prepareMachine(system)
    const { sizeBytes } =
      snapshot === null
        ? (await session.call('disk.show', { name: disk })).disk
        : (await session.call('snapshot.show', { disk, snapshot })).snapshot
    const status = await session.call('status', {})
    const request = { exportName: text, sizeBytes, readOnly: readOnly || snapshot !== null, device }
    const attached = await attach(system, program, request, status)
    session.answer({ device: attached, export: text, sizeBytes, readOnly: request.readOnly }, () => [attached])
  },
})

/** `attach DISK` and `attach list` under one word. */
export const attachCommand = (session: Parameters<typeof attachOne>[0]): ReturnType<typeof attachOne> => ({
  command: 'attach',
  describe: 'Make a disk or a snapshot a block device of this machine (root)',
  builder: (yargs) => yargs.command(attachOne(session)).command(attachList(session)),
  handler: () => {},
})
