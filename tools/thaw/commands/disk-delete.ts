import { command, given } from '../command.ts'
import { wrongUsage } from '../failure.ts'

export const diskDelete = command({
  command: 'delete <name>',
  describe: 'Delete a disk that no client has attached',
  builder: (yargs) =>
    yargs
      .positional('name', { type: 'string', demandOption: true, describe: 'the disk' })
      .option('snapshots', { type: 'boolean', describe: 'delete its snapshots as well' })
      .option('keep-snapshots', { type: 'boolean', describe: 'keep its snapshots; they can still be restored' })
      .option('yes', { type: 'boolean', alias: 'y', describe: 'do not ask' })
      .example('$0 disk delete web0 --snapshots --yes', 'web0 and all of its snapshots'),
  run: async ({ name, snapshots, keepSnapshots, yes }, session) => {
    if (snapshots === true && keepSnapshots === true) throw wrongUsage('say --snapshots or --keep-snapshots, not both')
    const which = snapshots === true ? 'delete' : keepSnapshots === true ? 'keep' : undefined
    const also = which === 'delete' ? ' and all of its snapshots' : which === 'keep' ? ', keeping its snapshots' : ''
    await session.confirm(`Delete disk ${name}${also}?`, yes === true)
    const result = await session.call('disk.delete', {
      name,
      ...given({ snapshots: which as 'delete' | 'keep' | undefined }),
    })
    session.answer(result, () => result.deleted.map((each) => `${each} deleted`))
  },
})
