import { command } from '../command.ts'
import { wrongUsage } from '../failure.ts'
import { parseSnapshot, parseTarget } from '../names.ts'

export const snapshotRename = command({
  command: 'rename <snapshot> <newname>',
  describe: 'Rename a snapshot that no client has attached',
  builder: (yargs) =>
    yargs
      .positional('snapshot', { type: 'string', demandOption: true, describe: 'DISK@SNAPSHOT' })
      .positional('newname', { type: 'string', demandOption: true, describe: 'its name from now on, without the disk' })
      .example('$0 snapshot rename web0@monday golden', 'web0@monday becomes web0@golden'),
  run: async ({ snapshot, newname }, session) => {
    const from = parseSnapshot(snapshot)
    // web0@golden is what many will write; it means the same.
    const to = newname.includes('@') ? parseSnapshot(newname) : { disk: from.disk, snapshot: parseTarget(newname).disk }
    if (to.disk !== from.disk) throw wrongUsage(`a snapshot stays with its disk, ${from.disk}`)
    const result = await session.call('snapshot.rename', { ...from, newName: to.snapshot })
    session.answer(result, () => [`snapshot ${snapshot} is now ${result.snapshot.disk}@${result.snapshot.name}`])
  },
})
