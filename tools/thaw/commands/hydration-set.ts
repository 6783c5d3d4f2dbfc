import { formatRate, parseRate } from '../../../daemon/quantities.ts'
import { command } from '../command.ts'

export const hydrationSet = command({
  command: 'set <disk>',
  describe: 'Change how fast a disk is copied',
  builder: (yargs) =>
    yargs
      .positional('disk', { type: 'string', demandOption: true, describe: 'the restored disk' })
      .option('rate', {
        type: 'string',
        requiresArg: true,
        demandOption: true,
        describe: 'such as 50MiB/s, or unlimited',
      })
      .example('$0 hydration set copy0 --rate unlimited', 'as fast as the machine can'),
  run: async ({ disk, rate }, session) => {
    const result = await session.call('hydration.set', { disk, rate: parseRate(rate) })
    session.answer(result, () => [`hydration of ${disk}: at most ${formatRate(result.hydration.rate)}`])
  },
})
