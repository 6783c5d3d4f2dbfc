import { formatSize, formatSizeExactly, parseSize } from '../../../daemon/quantities.ts'
import { command, given } from '../command.ts'

export const diskCreate = command({
  command: 'create <name> <size>',
  describe: 'Make a disk; it reads as zeroes and takes no space yet',
  builder: (yargs) =>
    yargs
      .positional('name', { type: 'string', demandOption: true, describe: 'letters, digits and . _ -, at most 63' })
      .positional('size', { type: 'string', demandOption: true, describe: 'such as 10GiB; a multiple of 4KiB' })
      .option('chunk-size', {
        type: 'string',
        requiresArg: true,
        describe: 'what is stored and copied as one, 4KiB to 1MiB; for good',
      })
      .example('$0 disk create web0 20GiB', 'a disk of 20 GiB named web0'),
  run: async ({ name, size, chunkSize }, session) => {
    const chunkBytes = chunkSize === undefined ? undefined : parseSize(chunkSize)
    const result = await session.call('disk.create', { name, sizeBytes: parseSize(size), ...given({ chunkBytes }) })
    const { disk } = result
    session.answer(result, () => [
      `disk ${disk.name} created, ${formatSize(disk.sizeBytes)} in chunks of ${formatSizeExactly(disk.chunkBytes)}; it is the NBD export ${disk.name}`,
    ])
  },
})
