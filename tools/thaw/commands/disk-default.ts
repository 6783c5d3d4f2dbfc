import { command } from '../command.ts'
import { wrongUsage } from '../failure.ts'

export const diskDefault = command({
  command: 'default [name]',
  describe: 'Say which disk a client gets that names none (without NAME: show it)',
  builder: (yargs) =>
    yargs
      .positional('name', { type: 'string', describe: 'the disk' })
      .option('none', { type: 'boolean', describe: 'clients must name a disk' })
      .example('$0 disk default web0', 'nbd-client HOST /dev/nbd0 attaches web0'),
  run: async ({ name, none }, session) => {
    if (name !== undefined && none === true) throw wrongUsage('say a name or --none, not both')
    const result = await session.call(
      'disk.default',
      none === true ? { name: null } : name === undefined ? {} : { name },
    )
    session.answer(result, () => [
      result.default === null
        ? 'there is no default disk: clients must name one'
        : `the default disk is ${result.default}`,
    ])
  },
})
