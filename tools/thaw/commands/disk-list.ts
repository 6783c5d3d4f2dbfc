import { formatSize } from '../../../daemon/quantities.ts'
import { command } from '../command.ts'
import { table } from '../table.ts'
import { diskInWords, formatMoment } from '../words.ts'

export const diskList = command({
  command: 'list',
  describe: 'List the disks',
  builder: (yargs) => yargs.example('$0 disk list --json', 'the same for a program'),
  run: async (_, session) => {
    const result = await session.call('disk.list', {})
    session.answer(result, () => {
      if (result.disks.length === 0) return ['there are no disks; thaw disk create NAME SIZE makes one']
      return table(
        [
          { title: 'DISK' },
          { title: 'SIZE', align: 'right' },
          { title: 'SNAPSHOTS', align: 'right' },
          { title: 'CREATED' },
          { title: 'STATE' },
        ],
        result.disks.map((disk) => [
          disk.name,
          formatSize(disk.sizeBytes),
          String(disk.snapshotCount),
          formatMoment(disk.createdAt),
          diskInWords(disk),
        ]),
      )
    })
  },
})
