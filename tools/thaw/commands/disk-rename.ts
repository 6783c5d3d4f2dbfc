import { command } from '../command.ts'

export const diskRename = command({
  command: 'rename <name> <newname>',
  describe: 'Rename a disk that no client has attached',
  builder: (yargs) =>
    yargs
      .positional('name', { type: 'string', demandOption: true, describe: 'the disk' })
      .positional('newname', { type: 'string', demandOption: true, describe: 'its name from now on' })
      .example('$0 disk rename web0 web-old', 'its snapshots become web-old@...'),
  run: async ({ name, newname }, session) => {
    const result = await session.call('disk.rename', { name, newName: newname })
    session.answer(result, () => [`disk ${name} is now ${result.disk.name}`])
  },
})
