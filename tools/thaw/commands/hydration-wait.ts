import { parseTime } from '../../../daemon/quantities.ts'
import { command } from '../command.ts'
import { waitForHydration } from '../wait-for-hydration.ts'

export const hydrationWait = command({
  command: 'wait <disk>',
  describe: 'Wait until a disk has all of its data, with a progress bar on a terminal',
  builder: (yargs) =>
    yargs
      .positional('disk', { type: 'string', demandOption: true, describe: 'the restored disk' })
      .option('timeout', {
        type: 'string',
        requiresArg: true,
        describe: 'give up after 30s, 5m, 2h (exit 4); copying goes on',
      })
      .example('$0 hydration wait copy0 --timeout 2h', 'exit 0 once all is copied and durable'),
  run: async ({ disk, timeout }, session) => {
    const end = await waitForHydration(session, disk, timeout === undefined ? undefined : parseTime(timeout))
    session.answer(end, () => [`${disk} has all of its data`])
  },
})
