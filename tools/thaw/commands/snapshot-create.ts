import { command, given } from '../command.ts'
import { parseTarget } from '../names.ts'

export const snapshotCreate = command({
  command: 'create <disk>',
  describe: 'Freeze a disk as it is now, as DISK@SNAPSHOT',
  builder: (yargs) =>
    yargs
      .positional('disk', {
        type: 'string',
        demandOption: true,
        describe: 'DISK@SNAPSHOT, or DISK for a name made of the time',
      })
      .example('$0 snapshot create web0@before-upgrade', 'holds what the clients have written; sync first')
      .example('$0 snapshot create web0', 'named like 20261120-101500Z')
      .epilogue('A snapshot lives and dies with its store: it is not a backup.'),
  run: async ({ disk: text }, session) => {
    const { disk, snapshot } = parseTarget(text)
    const result = await session.call('snapshot.create', { disk, ...given({ snapshot: snapshot ?? undefined }) })
    session.answer(result, () => [`snapshot ${result.snapshot.disk}@${result.snapshot.name} created`])
  },
})
