import { formatSize } from '../../../daemon/quantities.ts'
import { command, given } from '../command.ts'
import { table } from '../table.ts'
import { formatMoment } from '../words.ts'

export const snapshotList = command({
  command: 'list [disk]',
  describe: 'List snapshots, of all disks or of one',
  builder: (yargs) =>
    yargs
      .positional('disk', { type: 'string', describe: 'only of this disk' })
      .example('$0 snapshot list web0', 'the oldest first'),
  run: async ({ disk }, session) => {
    const result = await session.call('snapshot.list', given({ disk }))
    session.answer(result, () => {
      if (result.snapshots.length === 0) return ['there are no snapshots; thaw snapshot create DISK makes one']
      return table(
        [{ title: 'SNAPSHOT' }, { title: 'SIZE', align: 'right' }, { title: 'CREATED' }, { title: 'USED BY' }],
        result.snapshots.map((each) => [
          `${each.disk}@${each.name}`,
          formatSize(each.sizeBytes),
          formatMoment(each.createdAt),
          [...(each.diskExists ? [] : ['(its disk was deleted)']), each.usedBy.join(', ')].join(' ').trim(),
        ]),
      )
    })
  },
})
