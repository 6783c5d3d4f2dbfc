import { formatSize, formatSizeExactly } from '../../../daemon/quantities.ts'
import { command } from '../command.ts'
import { sheet } from '../table.ts'
import { formatMoment, hydrationInWords } from '../words.ts'

export const diskShow = command({
  command: 'show <name>',
  describe: 'Show one disk with its snapshots and clients',
  builder: (yargs) =>
    yargs
      .positional('name', { type: 'string', demandOption: true, describe: 'the disk' })
      .example('$0 disk show web0', 'all that is known of web0'),
  run: async ({ name }, session) => {
    const result = await session.call('disk.show', { name })
    const { disk, snapshots, clients } = result
    session.answer(result, () =>
      sheet([
        ['disk', disk.isDefault ? `${disk.name}, the default export` : disk.name],
        [
          'size',
          `${formatSize(disk.sizeBytes)} (${disk.sizeBytes} bytes) in chunks of ${formatSizeExactly(disk.chunkBytes)}`,
        ],
        ['created', formatMoment(disk.createdAt)],
        ['origin', disk.origin === null ? null : `${disk.origin}${disk.linked ? ', linked: copies nothing' : ''}`],
        ['hydration', disk.hydration === null ? null : hydrationInWords(disk.hydration)],
        ['unwritten', disk.dirtyBytes === 0 ? null : `${formatSize(disk.dirtyBytes)} waiting for a flush`],
        ['snapshots', snapshots.length === 0 ? 'none' : snapshots.map((each) => each.name).join(', ')],
        [
          'clients',
          clients.length === 0 ? 'none' : clients.map((each) => `${each.address} (${each.export})`).join(', '),
        ],
      ]),
    )
  },
})
