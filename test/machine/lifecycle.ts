/**
 * The life of a disk as the Linux kernel sees it: a file system on it, a
 * snapshot, a restore that is mounted while its data arrive, and the daemon
 * restarted underneath. Every file must be what it was when the snapshot was
 * made, at each step and whatever is deleted meanwhile.
 */

import t from 'tap'
import { attachArguments, detachArguments } from '../../tools/thaw/nbd-client-flags.ts'
import { DaemonProcess } from '../fixtures/daemon-process.ts'
import { KeeperProcess } from '../fixtures/keeper-process.ts'
import { hostAddress, needsMachine, startMachine } from '../fixtures/machine/machine.ts'
import type { Machine } from '../fixtures/machine/machine.ts'

t.setTimeout(300_000)

const minute = { timeoutMillis: 60_000 }

t.test('a disk under a file system, from its making to its deletion', needsMachine(), async (t) => {
  await using daemon = await DaemonProcess.start()
  await using machine = await startMachine()
  await daemon.thaw('disk', 'create', 'disk0', '512MiB')

  await using sourceKeeper = await attach(machine, daemon, 'disk0', '/dev/nbd0')
  await machine.run('mkfs.ext4 -q /dev/nbd0', minute)
  await mount(machine, '/dev/nbd0', '/mnt/source')
  await machine.run(`cd /mnt/source && mkdir -p small deep/er/still
    for i in $(seq 1 100); do echo "file $i" >small/$i; done
    for i in 1 2 3; do dd if=/dev/urandom of=large$i bs=1M count=4 2>/dev/null; done
    dd if=/dev/urandom of=unread bs=1M count=16 2>/dev/null
    seq 1 200000 >deep/er/still/numbers && ln -s small/1 link && sync`)
  const original = await checksums(machine, '/mnt/source')
  const originalUnread = await machine.run('sha256sum </mnt/source/unread')
  t.equal(original.split('\n').length, 104, 'all files are there')

  await daemon.thaw('snapshot', 'create', 'disk0@before')
  await machine.run(`cd /mnt/source && rm -r small large1 && echo changed >>deep/er/still/numbers
    dd if=/dev/urandom of=large2 bs=1M count=4 conv=notrunc 2>/dev/null && rm unread && seq 1 1000 >new && sync`)
  t.not(await checksums(machine, '/mnt/source'), original, 'the source has changed')

  // So slow that data are missing until the daemon has been restarted: what is read is kept, but not the file `unread`.
  await daemon.thaw('restore', 'disk0@before', 'copy', '--rate', '64KiB/s')
  await using copyKeeper = await attach(machine, daemon, 'copy', '/dev/nbd1')
  // The snapshot is of a mounted file system: its journal is replayed, and then there is nothing left to repair.
  t.ok((await machine.attempt('fsck.ext4 -fp /dev/nbd1', minute)).status <= 1, 'fsck repairs no more than the journal')
  await machine.run('fsck.ext4 -fn /dev/nbd1', minute)
  await mount(machine, '/dev/nbd1', '/mnt/copy')
  t.ok((await hydration(daemon)).completionPercent < 50, 'mounted with most of its data missing')
  t.equal(await checksums(machine, '/mnt/copy'), original, 'while hydrating')

  await machine.run(fio('/mnt/copy'), minute)
  t.equal(await checksums(machine, '/mnt/copy'), original, 'after fio')

  // Under load: what is under way waits, and what was answered and not flushed is repeated.
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    const before = await writes(machine)
    const work = machine.run(fio('/mnt/copy'), minute)
    // Its failure is heard below.
    work.catch(() => {})
    while ((await writes(machine)) < before + 100);
    t.equal(await daemon.stop(signal), signal === 'SIGTERM' ? 0 : signal, `ended with ${signal}`)
    await daemon.start()
    await work
    t.equal(await checksums(machine, '/mnt/copy'), original, `restarted after ${signal}`)
  }

  t.ok((await hydration(daemon)).completionPercent < 100, 'restarted with data missing')
  await daemon.thaw('hydration', 'set', 'copy', '--rate', 'unlimited')
  await daemon.thaw('hydration', 'wait', 'copy', '--timeout', '60s')
  t.equal(await checksums(machine, '/mnt/copy'), original, 'hydrated')
  t.equal((await daemon.thaw('disk', 'show', 'copy')).disk.hydration, null, 'it stands alone')

  await machine.run('umount /mnt/source')
  await detach(machine, '/dev/nbd0')
  t.equal(await sourceKeeper.ended, 0, 'its keeper has ended')
  await daemon.thaw('disk', 'delete', 'disk0', '--snapshots', '--yes')
  t.same(
    (await daemon.thaw('disk', 'list')).disks.map((disk: { name: string }) => disk.name),
    ['copy'],
  )
  t.equal(await checksums(machine, '/mnt/copy'), original, 'alone')
  t.equal(await machine.run('sha256sum </mnt/copy/unread'), originalUnread, 'also what was never read before')

  await machine.run('umount /mnt/copy')
  await machine.run('fsck.ext4 -fn /dev/nbd1', minute)
  await detach(machine, '/dev/nbd1')
  t.equal(await copyKeeper.ended, 0, 'its keeper has ended')
  t.same((await daemon.thaw('status')).clients, [], 'nobody is attached any more')
  t.equal(await daemon.stop(), 0, 'a clean end')
  t.notMatch(machine.console.join('\n'), /I\/O error|EXT4-fs error/, 'the kernel has seen no error')
})

/** As `thaw attach` does it; there is no Node in the machine to run that. */
async function attach(
  machine: Machine,
  daemon: DaemonProcess,
  exportName: string,
  device: string,
): Promise<KeeperProcess> {
  const keeper = await KeeperProcess.start(daemon.port, exportName)
  const listener = { kind: 'tcp', host: hostAddress, port: keeper.port, tls: 'off' } as const
  const words = attachArguments({ listener, exportName, device, readOnly: false })
  await machine.run(`nbd-client ${words.join(' ')}`)
  await machine.run(`until nbd-client -c ${device}; do usleep 20000; done`)
  return keeper
}

async function detach(machine: Machine, device: string): Promise<void> {
  await machine.run(`nbd-client ${detachArguments(device, false).join(' ')}`)
  await machine.run(`while nbd-client -c ${device}; do usleep 20000; done`)
}

async function mount(machine: Machine, device: string, folder: string): Promise<void> {
  await machine.run(`mkdir -p ${folder} && mount ${device} ${folder}`)
}

/** How many writes the kernel has had answered. */
async function writes(machine: Machine): Promise<number> {
  return Number(await machine.run("awk '{ print $5 }' /sys/block/nbd1/stat"))
}

async function hydration(daemon: DaemonProcess): Promise<{ completionPercent: number }> {
  return (await daemon.thaw('hydration', 'show', 'copy')).hydration
}

/** Of every file but `unread`, read from the device and not from memory. */
async function checksums(machine: Machine, folder: string): Promise<string> {
  const output = await machine.run(
    `cd ${folder} && echo 3 >/proc/sys/vm/drop_caches
    find . -type f ! -name 'fio*' ! -name unread ! -path './lost+found/*' | sort | xargs sha256sum`,
    minute,
  )
  return output.trim()
}

function fio(folder: string): string {
  return `fio --name=fio --directory=${folder} --size=8M --bs=4k --rw=randrw --ioengine=psync --fsync=32 --verify=crc32c --verify_fatal=1 --randrepeat=0 --runtime=20`
}
