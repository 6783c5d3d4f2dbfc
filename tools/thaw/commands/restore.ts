import { formatRate, formatSize, parseRate, parseSize, parseTime } from '../../../daemon/quantities.ts'
import type { ResultOf } from '../../../daemon/control/wire.ts'
import { command, given } from '../command.ts'
import { wrongUsage } from '../failure.ts'
import { parseSnapshot } from '../names.ts'
import { waitForHydration } from '../wait-for-hydration.ts'

export const restore = command({
  command: 'restore <snapshot> <newdisk>',
  describe: 'Make a new disk of a snapshot; it can be used at once, its data follow',
  builder: (yargs) =>
    yargs
      .positional('snapshot', { type: 'string', demandOption: true, describe: 'DISK@SNAPSHOT' })
      .positional('newdisk', { type: 'string', demandOption: true, describe: 'the name of the disk to be made' })
      .option('rate', {
        type: 'string',
        requiresArg: true,
        describe: 'how fast to copy at most, such as 50MiB/s, or unlimited',
      })
      .option('paused', { type: 'boolean', describe: 'copy only what is read, until thaw hydration resume' })
      .option('linked', { type: 'boolean', describe: 'never copy; holds the snapshot for as long as the disk lives' })
      .option('size', { type: 'string', requiresArg: true, describe: 'make the disk larger than the snapshot' })
      .option('wait', { type: 'boolean', describe: 'wait until all is copied' })
      .option('timeout', {
        type: 'string',
        requiresArg: true,
        describe: 'with --wait: give up after 30s, 5m, 2h; copying goes on',
      })
      .example('$0 restore web0@monday web0-monday', 'attach web0-monday right away')
      .example('$0 restore web0@monday copy0 --rate 50MiB/s --wait', 'with a progress bar'),
  run: async ({ snapshot, newdisk, rate, paused, linked, size, wait, timeout }, session) => {
    if (linked === true && (paused ?? wait ?? rate !== undefined)) {
      throw wrongUsage('a linked disk copies nothing: --rate, --paused and --wait do not go with --linked')
    }
    if (paused === true && wait === true) throw wrongUsage('--paused copies nothing that --wait could wait for')
    if (timeout !== undefined && wait !== true) throw wrongUsage('--timeout goes with --wait')
    const timeoutSeconds = timeout === undefined ? undefined : parseTime(timeout)

    const result = await session.call('restore', {
      ...parseSnapshot(snapshot),
      name: newdisk,
      ...given({
        rate: rate === undefined ? undefined : parseRate(rate),
        paused,
        linked,
        sizeBytes: size === undefined ? undefined : parseSize(size),
      }),
    })
    if (wait !== true) return session.answer(result, () => inWords(snapshot, result, paused === true))

    if (!session.json) session.write(inWords(snapshot, result, paused === true))
    const { outcome } = await waitForHydration(session, newdisk, timeoutSeconds)
    const { disk } = await session.call('disk.show', { name: newdisk })
    session.answer({ ...result, disk, outcome }, () => [`${newdisk} has all of its data`])
  },
})

function inWords(snapshot: string, { disk, space }: ResultOf<'restore'>, paused: boolean): string[] {
  const made = `disk ${disk.name} made of ${snapshot}, ${formatSize(disk.sizeBytes)}; it can be used at once`
  if (disk.linked) return [made, `it is linked: it copies nothing and holds ${snapshot} for as long as it lives`]
  const { hydration } = disk
  const takes = `copying will take at most ${formatSize(space.neededBytesMax)}, ${formatSize(space.freeBytes)} are free`
  if (hydration === null) return [made, takes]
  const how = paused
    ? `paused; go on with: thaw hydration resume ${disk.name}`
    : `at most ${formatRate(hydration.rate)}; watch with: thaw hydration wait ${disk.name}`
  return [made, `${takes}; ${how}`]
}
