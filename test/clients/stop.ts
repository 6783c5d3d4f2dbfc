/**
 * A clean stop while clients write: each request is answered, done or ESHUTDOWN,
 * and everything that was answered without an error is there at the next start,
 * flushed by the client or not. A second signal ends it at once and takes
 * nothing that was flushed.
 */

import t from 'tap'
import { DaemonProcess } from '../fixtures/daemon-process.ts'
import { printSeed, Random } from '../fixtures/random.ts'
import { StampedDisk } from '../fixtures/stamped-disk.ts'
import { checkExport, StampingClients } from '../fixtures/stamping-clients.ts'
import { until } from '../fixtures/until.ts'

const MiB = 2 ** 20
const sizeBytes = 16 * MiB

t.setTimeout(120_000)

t.test('SIGTERM and SIGINT during writes', async (t) => {
  const random = new Random(printSeed(t))
  await using daemon = await DaemonProcess.start()
  const disks = [new StampedDisk(1, sizeBytes), new StampedDisk(2, sizeBytes)] as const
  for (const { seed } of disks) await daemon.call('disk.create', { name: `disk${seed}`, sizeBytes })
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGTERM'] as const) {
    const clients = await Promise.all(
      disks.map((disk) =>
        StampingClients.start(daemon, `disk${disk.seed}`, { disk, random, tolerated: ['ESHUTDOWN'] }),
      ),
    )
    await until('writes', () => (clients.every(({ answered }) => answered > 300) ? true : undefined))
    const since = performance.now()
    t.equal(await daemon.stop(signal), 0, signal)
    t.comment(`${signal}: stopped after ${Math.round(performance.now() - since)} ms`)
    for (const each of clients) await each.gone()
    for (const each of clients) t.comment(`${each.answered} answered; ${JSON.stringify([...each.errors])}`)
    for (const disk of disks) disk.stopped()
    await daemon.start()
    for (const disk of disks) t.equal(await checkExport(daemon, `disk${disk.seed}`, disk), null, `disk${disk.seed}`)
  }
})

t.test('a second signal during writes', async (t) => {
  const random = new Random(printSeed(t))
  await using daemon = await DaemonProcess.start()
  const disk = new StampedDisk(1, sizeBytes)
  await daemon.call('disk.create', { name: 'disk1', sizeBytes })
  const clients = await StampingClients.start(daemon, 'disk1', { disk, random, tolerated: ['ESHUTDOWN'] })
  await until('writes', () => (clients.answered > 300 ? true : undefined))
  daemon.signal('SIGTERM')
  const again = setInterval(() => daemon.signal('SIGTERM'), 50)
  // Which of the two ends it is a matter of moments; what was flushed is there in any case.
  t.match(String(await daemon.ended), /^[01]$/)
  clearInterval(again)
  await clients.gone()
  disk.crashed()
  await daemon.start()
  t.equal(await checkExport(daemon, 'disk1', disk), null)
})
