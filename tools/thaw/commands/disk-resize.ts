import { formatSize, parseSize } from '../../../daemon/quantities.ts'
import { command, given } from '../command.ts'
import { count } from '../words.ts'

export const diskResize = command({
  command: 'resize <name> <size>',
  describe: 'Grow a disk',
  builder: (yargs) =>
    yargs
      .positional('name', { type: 'string', demandOption: true, describe: 'the disk' })
      .positional('size', {
        type: 'string',
        demandOption: true,
        describe: 'the new size, such as 40GiB; disks only grow',
      })
      .option('online', {
        type: 'boolean',
        describe: 'also while clients are attached; they see it once they reconnect',
      })
      .example('$0 disk resize web0 40GiB', 'then grow the file system in it'),
  run: async ({ name, size, online }, session) => {
    const result = await session.call('disk.resize', { name, sizeBytes: parseSize(size), ...given({ online }) })
    const { disk, reconnect } = result
    session.answer(result, () => [
      `disk ${disk.name} has ${formatSize(disk.sizeBytes)} now`,
      ...(reconnect.length === 0
        ? []
        : [
            `${count(reconnect.length, 'client')} must reconnect to see it: ${reconnect.map(({ address }) => address).join(', ')}`,
          ]),
    ])
  },
})
