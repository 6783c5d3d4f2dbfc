import { formatSize, formatSizeExactly } from '../../../daemon/quantities.ts'
import { command } from '../command.ts'
import { parseSnapshot } from '../names.ts'
import { sheet } from '../table.ts'
import { formatMoment } from '../words.ts'

export const snapshotShow = command({
  command: 'show <snapshot>',
  describe: 'Show one snapshot, who reads through it and who has it attached',
  builder: (yargs) =>
    yargs
      .positional('snapshot', { type: 'string', demandOption: true, describe: 'DISK@SNAPSHOT' })
      .example('$0 snapshot show web0@monday', 'all that is known of it'),
  run: async ({ snapshot: text }, session) => {
    const result = await session.call('snapshot.show', parseSnapshot(text))
    const { snapshot, clients } = result
    session.answer(result, () =>
      sheet([
        ['snapshot', `${snapshot.disk}@${snapshot.name}`],
        ['disk', snapshot.diskExists ? snapshot.disk : `${snapshot.disk}, deleted`],
        [
          'size',
          `${formatSize(snapshot.sizeBytes)} (${snapshot.sizeBytes} bytes) in chunks of ${formatSizeExactly(snapshot.chunkBytes)}`,
        ],
        ['created', formatMoment(snapshot.createdAt)],
        ['used by', snapshot.usedBy.length === 0 ? 'nobody' : snapshot.usedBy.join(', ')],
        ['clients', clients.length === 0 ? 'none' : clients.map(({ address }) => address).join(', ')],
      ]),
    )
  },
})
