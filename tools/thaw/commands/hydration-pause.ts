import { command } from '../command.ts'

export const hydrationPause = command({
  command: 'pause <disk>',
  describe: 'Stop copying a disk; what is read is still kept',
  builder: (yargs) =>
    yargs
      .positional('disk', { type: 'string', demandOption: true, describe: 'the restored disk' })
      .example('$0 hydration pause copy0', 'until thaw hydration resume copy0'),
  run: async ({ disk }, session) => {
    const result = await session.call('hydration.pause', { disk })
    session.answer(result, () => [`hydration of ${disk} is paused; go on with: thaw hydration resume ${disk}`])
  },
})
