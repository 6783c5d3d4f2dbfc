import { formatSize } from '../../../daemon/quantities.ts'
import { command } from '../command.ts'
import { isUsed, nbdDevices, usesOf } from '../nbd-devices.ts'
import { table } from '../table.ts'

export const attachList = command({
  command: 'list',
  describe: 'List the nbd devices of this machine that are in use',
  builder: (yargs) => yargs.example('$0 attach list', 'which device is which disk, and where it is mounted'),
  run: async (_, session) => {
    const { system } = session.surroundings
    const devices = nbdDevices(system)
      .filter(isUsed)
      .map(({ device, sizeBytes, readOnly, connected, client }) => ({
        device,
        export: client?.exportName ?? null,
        address: client?.address ?? null,
        sizeBytes,
        readOnly,
        connected,
        pid: client?.pid ?? null,
        uses: usesOf(system, device),
      }))
    session.answer({ devices }, () => {
      if (devices.length === 0) return ['no nbd device is in use']
      return table(
        [
          { title: 'DEVICE' },
          { title: 'EXPORT' },
          { title: 'SIZE', align: 'right' },
          { title: 'FROM' },
          { title: 'STATE' },
        ],
        devices.map((each) => [
          each.device,
          // Over netlink no process is left that could tell.
          each.export ?? '(not known)',
          formatSize(each.sizeBytes),
          each.address ?? '',
          [...(each.connected ? [] : ['reconnecting']), ...(each.readOnly ? ['read only'] : []), ...each.uses].join(
            ', ',
          ),
        ]),
      )
    })
  },
})
