/**
 * Load that checks what it reads back (crc32c of every block), over libnbd: odd
 * block sizes, several jobs with a connection each, on a disk, on one that is
 * hydrating, and again after kill -9.
 *
 *     THAW_TEST_FIO_MIB=1024   the size of each job's part (default: 16)
 */

import t from 'tap'
import { succeed } from '../fixtures/client-program.ts'
import { DaemonProcess } from '../fixtures/daemon-process.ts'
import { needs } from '../fixtures/tools.ts'

const partMiB = Number(process.env['THAW_TEST_FIO_MIB'] ?? 16)
const jobs = 3

t.setTimeout(Math.max(240_000, partMiB * 4000))

interface FioReport {
  readonly jobs: readonly {
    readonly error: number
    readonly read: { readonly total_ios: number }
    readonly write: { readonly total_ios: number }
  }[]
}

interface Load {
  readonly uri: string
  readonly words: readonly string[]
  /** Each job has a part of the disk to itself: what another one writes it could not verify. */
  readonly jobs?: number
  /** fio leaves its state where it is started. */
  readonly cwd: string
}

async function fio({ uri, words, jobs = 1, cwd }: Load): Promise<FioReport> {
  const { stdout } = await succeed(
    'fio',
    [
      ...['--name=verify', '--ioengine=nbd', `--uri=${uri}`, `--numjobs=${jobs}`, '--output-format=json'],
      ...[`--size=${partMiB}M`, `--offset_increment=${partMiB}M`, '--iodepth=16', '--randrepeat=0'],
      ...['--verify=crc32c', '--verify_fatal=1', '--verify_state_save=0', '--group_reporting', ...words],
    ],
    { cwd, seconds: Math.max(120, partMiB * 2) },
  )
  const report = JSON.parse(stdout.slice(stdout.indexOf('{'))) as FioReport
  const failed = report.jobs.find(({ error }) => error !== 0)
  if (failed !== undefined) throw new Error(`fio: a request failed or was not what it should be: ${failed.error}`)
  return report
}

t.test('fio with verify', needs('fio'), async (t) => {
  await using daemon = await DaemonProcess.start('--cache', '32MiB', '--reserve-bytes', '0')
  const cwd = daemon.directory
  await daemon.thaw('disk', 'create', 'disk0', `${partMiB * jobs}MiB`)
  const uri = daemon.unixUri('disk0')

  await t.test('random reads and writes of 4 KiB', async (t) => {
    const report = await fio({
      uri,
      cwd,
      jobs,
      words: ['--rw=randrw', '--bs=4k', '--fsync=64', '--verify_backlog=256'],
    })
    t.ok(report.jobs.every(({ read, write }) => read.total_ios > 0 && write.total_ios > 0))
  })

  await t.test('odd sizes, over TCP', async () => {
    const words = ['--rw=randwrite', '--bsrange=512-70k', '--fsync=32']
    await fio({ uri: daemon.uri('disk0'), cwd, jobs, words })
    // Not even the sizes of sectors: parts of sectors are read, changed and written back.
    await fio({ uri: daemon.uri('disk0'), cwd, words: ['--rw=randwrite', '--bs=3001', '--io_size=8M'] })
  })

  await t.test('with trims between', async () => {
    // Otherwise a block is written while its trim is under way, and then no order is promised.
    await fio({ uri, cwd, words: ['--rw=randtrimwrite', '--bs=16k', '--serialize_overlap=1'] })
  })

  await t.test('on a disk that hydrates meanwhile, and what it wrote after kill -9', async (t) => {
    await daemon.thaw('snapshot', 'create', 'disk0@first')
    await daemon.thaw('restore', 'disk0@first', 'copy', '--rate', '1MiB/s')
    const seed = ['--rw=randwrite', '--bs=8k', '--randseed=7', '--allrandrepeat=1']
    const copy = daemon.unixUri('copy')
    await fio({ uri: copy, cwd, words: [...seed, '--end_fsync=1', '--do_verify=0'] })
    await daemon.restart('SIGKILL')
    await fio({ uri: copy, cwd, words: [...seed, '--verify_only'] })
    await daemon.thaw('hydration', 'set', 'copy', '--rate', 'unlimited')
    await daemon.thaw('hydration', 'wait', 'copy', '--timeout', '100s')
    await fio({ uri: copy, cwd, words: [...seed, '--verify_only'] })
    t.match(await daemon.call('disk.show', { name: 'copy' }), { disk: { origin: null } })
    const client = await daemon.attach('copy')
    await client.write(5000, Buffer.from('x'))
    await client.disconnect()
    await t.rejects(fio({ uri: copy, cwd, words: [...seed, '--verify_only'] }), 'one byte, and it tells')
  })
  t.equal(await daemon.stop(), 0)
})
