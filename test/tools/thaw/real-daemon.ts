/** The command line against the daemon as people run it, with data in its disks. */
import t from 'tap'
import { connectNbd } from '../../../protocol/client/connect.ts'
import type { NbdClient } from '../../../protocol/client/client.ts'
import { DaemonProcess } from '../../fixtures/daemon-process.ts'
import { thaw } from '../../fixtures/thaw-command.ts'
import type { ThawOutcome } from '../../fixtures/thaw-command.ts'

const MiB = 2 ** 20
const loopback = '127.0.0.1'

t.test('a disk, its snapshot, and what is made of it', async (t) => {
  await using daemon = await DaemonProcess.start()
  const run = async (line: string): Promise<ThawOutcome> => await thaw(line, { control: daemon.control })
  const attached = async (name: string): Promise<NbdClient> => {
    const client = await connectNbd({ host: loopback, port: daemon.port })
    await client.go(name)
    return client
  }

  t.match(await run('disk create web0 64MiB --chunk-size 64KiB'), { exit: 0 })
  const web0 = await attached('web0')
  await web0.write(0, Buffer.alloc(8 * MiB, 'monday'))
  await web0.flush()
  t.match(await run('snapshot create web0@mon'), { exit: 0 })
  await web0.write(MiB, Buffer.alloc(64 * 1024, 'tuesday'))
  await web0.write(32 * MiB, Buffer.alloc(128 * 1024, 'tuesday'))
  t.equal(
    (await run('snapshot diff web0@mon web0')).stdout,
    '1048576 65536\n33554432 131072\n2 ranges of offset and length, 192KiB of 64MiB (0.2%)\n',
  )

  const { warnings } = (await run('status --json')).json
  t.match(warnings, [/ has no TLS: /])
  t.equal(warnings.length, 1, 'a snapshot is nothing to be warned of')
  t.match((await run('status')).stdout, new RegExp(`web0 +64MiB +1 +1\\n[^]*${loopback}:[0-9]+ +web0 `))
  t.match(await run('disk delete web0 --snapshots --yes'), { exit: 1, stderr: /\[DISK_IN_USE\]/ })
  t.match(await run('disk rename web0 web1'), { exit: 1, stderr: /\[DISK_IN_USE\]/ })
  const mon = await attached('web0@mon')
  t.match(await run('snapshot delete web0@mon --yes'), { exit: 1, stderr: /\[SNAPSHOT_IN_USE\]/ })
  await mon.disconnect()

  const restored = (await run('restore web0@mon copy0 --paused --json')).json
  t.match(restored, { disk: { origin: 'web0@mon', hydration: { disk: 'copy0' } } })
  t.ok(restored.space.neededBytesMax <= 64 * MiB)
  const copy0 = await attached('copy0')
  t.match((await copy0.read(MiB, 12)).toString(), /monday/, 'as it was on Monday')
  t.match((await copy0.read(32 * MiB, 12)).toString(), /^\0+$/)
  t.match(await run('hydration wait copy0 --timeout 10ms'), { exit: 4 })
  t.match(await run('hydration set copy0 --rate unlimited'), { exit: 0 })
  t.match(await run('hydration resume copy0'), { exit: 0 })
  t.match(await run('hydration wait copy0 --timeout 60s'), { exit: 0, stdout: 'copy0 has all of its data\n' })
  t.match(await run('hydration show copy0'), { exit: 1, stderr: /\[NOT_HYDRATING\]/ })

  await web0.disconnect()
  await copy0.disconnect()
  t.match((await run('disk delete web0 --snapshots --yes --json')).json, { deleted: ['web0', 'web0@mon'] })

  t.match(await run('restore web0@mon x'), { exit: 1, stderr: /\[SNAPSHOT_NOT_FOUND\]/ })
  const missing = { code: 'SNAPSHOT_NOT_FOUND', details: { disk: 'copy0', snapshot: 'mon' } }
  t.match((await run('snapshot show copy0@mon --json')).json, { error: missing })
  t.match((await run('disk show web0 --json')).json, { error: { code: 'DISK_NOT_FOUND', details: { disk: 'web0' } } })
  t.equal(await daemon.stop(), 0)
  t.match(await run('status'), { exit: 3, stderr: /\[DAEMON_NOT_REACHABLE\]/ })
  await daemon.start()
  t.match((await run('disk list --json')).json, { disks: [{ name: 'copy0', origin: null }] })
})

t.test('who waits is told when the daemon stops or dies', async (t) => {
  await using daemon = await DaemonProcess.start()
  const run = async (line: string): Promise<ThawOutcome> => await thaw(line, { control: daemon.control })
  await run('disk create web0 64MiB')
  const client = await connectNbd({ host: loopback, port: daemon.port })
  await client.go('web0')
  await client.write(0, Buffer.alloc(MiB, 'x'))
  await client.disconnect()
  await run('snapshot create web0@mon')
  await run('restore web0@mon copy0 --paused')
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    const waiting = run('hydration wait copy0')
    // Whether it has subscribed by then or is only about to connect, its end is the same.
    await run('status')
    await daemon.stop(signal)
    t.match(await waiting, { exit: 3, stderr: /\[DAEMON_NOT_REACHABLE\]/ }, signal)
    await daemon.start()
  }
})
