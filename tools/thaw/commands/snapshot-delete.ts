import { command } from '../command.ts'
import { parseSnapshot } from '../names.ts'
import { count } from '../words.ts'

/** How many snapshots the question names. */
const namedMax = 4

export const snapshotDelete = command({
  command: 'delete <snapshot..>',
  describe: 'Delete snapshots, all of those named or none',
  builder: (yargs) =>
    yargs
      .positional('snapshot', {
        type: 'string',
        array: true,
        demandOption: true,
        describe: 'DISK@SNAPSHOT, one or more',
      })
      .option('yes', { type: 'boolean', alias: 'y', describe: 'do not ask' })
      .example('$0 snapshot delete web0@monday web0@tuesday', 'asks first'),
  run: async ({ snapshot: texts, yes }, session) => {
    const snapshots = texts.map(parseSnapshot)
    const more = texts.length - namedMax
    const named = more > 0 ? `${texts.slice(0, namedMax).join(', ')} and ${more} more` : texts.join(', ')
    await session.confirm(`Delete ${count(texts.length, 'snapshot')}: ${named}?`, yes === true)
    const result = await session.call('snapshot.delete', { snapshots })
    session.answer(result, () => result.deleted.map((each) => `snapshot ${each} deleted`))
  },
})
