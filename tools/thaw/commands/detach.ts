import { command } from '../command.ts'
import { detach } from '../detach.ts'

export const detachCommand = command({
  command: 'detach <target>',
  describe: 'Let a block device go that is not mounted (root)',
  builder: (yargs) =>
    yargs
      .positional('target', {
        type: 'string',
        demandOption: true,
        describe: '/dev/nbd0, or the DISK or DISK@SNAPSHOT that it is',
      })
      .example('$0 detach web0', 'umount it first'),
  run: async ({ target }, session) => {
    const device = await detach(session.surroundings.system, target)
    session.answer({ detached: device }, () => [`${device} detached`])
  },
})
