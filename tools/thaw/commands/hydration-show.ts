import { formatRate, formatSize, formatTime } from '../../../daemon/quantities.ts'
import { command } from '../command.ts'
import { sheet } from '../table.ts'
import { formatPercent } from '../words.ts'

export const hydrationShow = command({
  command: 'show <disk>',
  describe: 'Show how far the copying of one disk is',
  builder: (yargs) =>
    yargs
      .positional('disk', { type: 'string', demandOption: true, describe: 'the restored disk' })
      .example('$0 hydration show copy0', 'percent, rate and the time left'),
  run: async ({ disk }, session) => {
    const result = await session.call('hydration.show', { disk })
    const { hydration } = result
    const { totalBytes, hydratedBytes } = hydration
    session.answer(result, () =>
      sheet([
        ['disk', hydration.disk],
        ['origin', hydration.origin],
        ['state', hydration.state],
        [
          'done',
          totalBytes === null
            ? 'being counted'
            : `${formatPercent(hydration.completionPercent)}, ${formatSize(hydratedBytes ?? 0)} of ${formatSize(totalBytes)}`,
        ],
        ['rate', `${formatRate(hydration.currentRate)}, at most ${formatRate(hydration.rate)}`],
        ['left', hydration.etaSeconds === null ? null : formatTime(hydration.etaSeconds)],
        ['last error', hydration.lastError],
      ]),
    )
  },
})
