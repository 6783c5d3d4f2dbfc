import { formatSize } from '../../../daemon/quantities.ts'
import type { ResultOf } from '../../../daemon/control/wire.ts'
import type { DiffExtent } from '../../../storage/contract.ts'
import { command, given } from '../command.ts'
import { parseSnapshot, parseTarget } from '../names.ts'
import { count, formatPercent } from '../words.ts'

export const snapshotDiff = command({
  command: 'diff <from> <to>',
  describe: 'List the ranges in which a disk or a snapshot differs from an earlier snapshot',
  builder: (yargs) =>
    yargs
      .positional('from', { type: 'string', demandOption: true, describe: 'DISK@SNAPSHOT, the earlier one' })
      .positional('to', {
        type: 'string',
        demandOption: true,
        describe: 'DISK@SNAPSHOT, or DISK for what it holds now',
      })
      .example('$0 snapshot diff web0@monday web0', 'offset and length in bytes of what changed since Monday'),
  run: async ({ from, to }, session) => {
    const { disk, snapshot } = parseTarget(to)
    const params = { from: parseSnapshot(from), to: { disk, ...given({ snapshot: snapshot ?? undefined }) } }
    const daemon = await session.daemon
    // Extents are written as they come: there may be millions.
    const writer = (session.json ? jsonLines : plainLines)(from, to)
    const stop = daemon.on('snapshot.diff.extents', ({ extents }) => session.writePart(writer.extents(extents)))
    const result = await daemon.call('snapshot.diff', params)
    stop()
    session.writePart(writer.end(result))
  },
})

interface DiffWriter {
  extents(extents: readonly DiffExtent[]): string[]
  end(result: ResultOf<'snapshot.diff'>): string[]
}

function plainLines(from: string, to: string): DiffWriter {
  return {
    extents: (extents) => extents.map(({ offset, length }) => `${offset} ${length}`),
    end: ({ extentCount, changedBytes, sizeBytes }) => {
      if (extentCount === 0) return [`${to} holds the same as ${from}`]
      const changed = `${formatSize(changedBytes)} of ${formatSize(sizeBytes)} (${share(changedBytes / sizeBytes)})`
      return [`${count(extentCount, 'range')} of offset and length, ${changed}`]
    },
  }
}

/** Something that changed never reads as nothing. */
function share(part: number): string {
  return part < 0.001 ? 'less than 0.1%' : formatPercent(100 * part)
}

/** One document in pieces. */
function jsonLines(from: string, to: string): DiffWriter {
  let begun = false
  const next = (text: string): string => {
    if (begun) return `,${text}`
    begun = true
    return `{"from":${JSON.stringify(from)},"to":${JSON.stringify(to)},"extents":[\n${text}`
  }
  return {
    extents: (extents) => extents.map((extent) => next(JSON.stringify(extent))),
    end: ({ extentCount, changedBytes, sizeBytes }) => {
      const rest = `],"extentCount":${extentCount},"changedBytes":${changedBytes},"sizeBytes":${sizeBytes}}`
      return [begun ? rest : next(rest)]
    },
  }
}
