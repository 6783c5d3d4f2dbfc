import { formatRate } from '../../../daemon/quantities.ts'
import { command } from '../command.ts'

export const hydrationResume = command({
  command: 'resume <disk>',
  describe: 'Go on copying a disk',
  builder: (yargs) =>
    yargs
      .positional('disk', { type: 'string', demandOption: true, describe: 'the restored disk' })
      .example('$0 hydration resume copy0', 'at the rate it had'),
  run: async ({ disk }, session) => {
    const result = await session.call('hydration.resume', { disk })
    session.answer(result, () => [`hydration of ${disk} goes on, at most ${formatRate(result.hydration.rate)}`])
  },
})
