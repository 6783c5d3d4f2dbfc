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
    const { system, stderr } = session.surroundings
    const isShown = stderr.isTTY === true && !session.json
    const clear = '\r\x1b[K'
    const waiting = (seconds: number) => {
      if (isShown) stderr.write(`${clear}waiting for the kernel to let ${target} go: ${seconds} s`)
    }
    const device = await detach(system, target, waiting).finally(() => isShown && stderr.write(clear))
    session.answer({ detached: device }, () => [`${device} detached`])
  },
})
