import { command } from '../command.ts'
import { hydrationTable } from '../hydration-table.ts'

export const hydrationList = command({
  command: 'list',
  describe: 'List the disks that still read through a snapshot',
  builder: (yargs) => yargs.example('$0 hydration list', 'how far each is, and how fast'),
  run: async (_, session) => {
    const result = await session.call('hydration.list', {})
    session.answer(result, () =>
      result.hydrations.length === 0 ? ['nothing is hydrating'] : hydrationTable(result.hydrations),
    )
  },
})
