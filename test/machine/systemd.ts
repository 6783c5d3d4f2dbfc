/**
 * thaw as it is installed, under a real systemd: the store made, the units
 * started, a disk attached by `thaw attach`, mounted and used, the service
 * restarted under the mount, everything stopped.
 */

import { rmSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { startMachine } from '../fixtures/machine/machine.ts'
import { makeSystem, needsSystem } from '../fixtures/machine/system.ts'

t.setTimeout(600_000)

/** Node takes seconds to start without hardware help. */
const patient = { timeoutMillis: 120_000 }

t.test('installed, under systemd', needsSystem(), async (t) => {
  const folder = t.testdir()
  const system = path.join(folder, 'disk')
  makeSystem(system, folder)
  t.teardown(() => rmSync(system, { force: true }))
  await using machine = await startMachine({ system, bootTimeoutMillis: 180_000 })
  const run = async (command: string): Promise<string> => {
    const { status, output } = await machine.attempt(command, patient)
    if (status === 0) return output
    const journal = await machine.attempt('journalctl --no-pager --lines=40', patient)
    throw Object.assign(new Error(`\`${command}\` ended with ${status}`), { output, journal: journal.output })
  }

  await run('systemctl start thawd-init.service')
  await run('systemctl enable --now thawd.socket thawd-control.socket thawd.service')
  await run('thaw disk create disk0 64MiB')
  t.match(JSON.parse(await run('thaw --json status')), {
    dataDirectory: '/var/lib/thaw',
    disks: [{ name: 'disk0' }],
    listeners: [{ kind: 'unix', path: '/run/thaw/nbd.sock' }],
  })

  t.equal(await run('thaw attach disk0'), '/dev/nbd0\n')
  await run('mkfs.ext4 -q /dev/nbd0 && mount /dev/nbd0 /mnt && seq 1 100000 >/mnt/numbers && sync')
  const original = await run('sha256sum </mnt/numbers')

  // From before the restart until after it.
  const writing = run('while [ ! -e /tmp/enough ]; do echo $((i += 1)) >/mnt/count && sync /mnt/count || exit 1; done')
  writing.catch(() => {})
  await run('until [ -s /mnt/count ]; do sleep 0.1; done && systemctl restart thawd.service && touch /tmp/enough')
  await writing
  t.equal(await run('echo 3 >/proc/sys/vm/drop_caches; sha256sum </mnt/numbers'), original, 'restarted under the mount')

  await run('umount /mnt && thaw detach disk0')

  // As systemd/README.md says it.
  await run(`echo EXPORT=disk0 >/etc/thaw/attach-nbd0.conf
    echo '/dev/nbd0 /srv/data ext4 _netdev,nofail,x-systemd.requires=thaw-attach@nbd0.service 0 2' >>/etc/fstab
    mkdir -p /srv/data && systemctl daemon-reload && systemctl start srv-data.mount`)
  t.equal(await run('sha256sum </srv/data/numbers'), original, 'mounted as at boot')
  await run('systemctl stop srv-data.mount thaw-attach@nbd0.service')

  await run('systemctl stop thawd.service thawd.socket thawd-control.socket')
  const shown = await run('systemctl show thawd.service -p Result,ExecMainStatus,NRestarts')
  t.same(shown.trim().split('\n').sort(), ['ExecMainStatus=0', 'NRestarts=0', 'Result=success'], 'a clean end')
  // udev reads the start of a device that was just detached, which cannot work.
  t.notMatch(machine.console.join('\n'), /EXT4-fs error|\(WRITE\)|lost/, 'the kernel has seen no error')
})
