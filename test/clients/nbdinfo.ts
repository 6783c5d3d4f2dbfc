/** What a client learns of an export before it reads a byte. */

import t from 'tap'
import { run, succeed } from '../fixtures/client-program.ts'
import { DaemonProcess } from '../fixtures/daemon-process.ts'
import { needs } from '../fixtures/tools.ts'

const KiB = 2 ** 10
/** No multiple of any chunk size but the smallest. */
const oddBytes = 5 * 4 * KiB

interface ExportDescription {
  readonly 'export-name': string
  readonly 'export-size': number
}

t.test('nbdinfo', needs('nbdinfo'), async (t) => {
  await using daemon = await DaemonProcess.start('--demo-disk', 'disk0=64MiB')
  await daemon.thaw('disk', 'create', 'odd', String(oddBytes), '--chunk-size', '1MiB')
  await daemon.thaw('snapshot', 'create', 'disk0@first')

  await t.test('an export, over TCP and over a unix socket', async (t) => {
    for (const uri of [daemon.uri('disk0'), daemon.unixUri('disk0')]) {
      t.match(JSON.parse((await succeed('nbdinfo', ['--json', uri])).stdout), {
        protocol: 'newstyle-fixed',
        TLS: false,
        exports: [
          {
            'export-name': 'disk0',
            'export-size': 64 * KiB * KiB,
            is_rotational: false,
            is_read_only: false,
            can_flush: true,
            can_fua: true,
            can_multi_conn: true,
            can_trim: true,
            can_zero: true,
            block_size_minimum: 1,
          },
        ],
      })
    }
  })

  await t.test('a size that is no multiple of the chunk', async (t) => {
    t.equal((await succeed('nbdinfo', ['--size', daemon.uri('odd')])).stdout.trim(), String(oddBytes))
  })

  await t.test('what it can and what it is', async (t) => {
    const disk = ['--can=flush', '--can=fua', '--can=multi-conn', '--can=trim', '--can=zero', '--can=write']
    for (const flag of disk) t.equal((await run('nbdinfo', [flag, daemon.uri('disk0')])).exit, 0, flag)
    for (const flag of ['--is=read-only', '--is=rotational'])
      t.equal((await run('nbdinfo', [flag, daemon.uri('disk0')])).exit, 2, `not ${flag}`)
    t.equal((await run('nbdinfo', ['--is=read-only', daemon.uri('disk0@first')])).exit, 0)
    t.equal((await run('nbdinfo', ['--can=write', daemon.uri('disk0@first')])).exit, 2)
  })

  await t.test('the list has disks and snapshots', async (t) => {
    const { exports } = JSON.parse((await succeed('nbdinfo', ['--list', '--json', daemon.uri('')])).stdout) as {
      exports: ExportDescription[]
    }
    t.strictSame(
      new Map(exports.map((each) => [each['export-name'], each['export-size']])),
      new Map([
        ['disk0', 64 * KiB * KiB],
        ['disk0@first', 64 * KiB * KiB],
        ['odd', oddBytes],
      ]),
    )
  })

  await t.test('the empty name is the default disk, when there is one', async (t) => {
    t.equal((await succeed('nbdinfo', ['--size', daemon.uri('')])).stdout.trim(), String(64 * KiB * KiB))
    await daemon.thaw('disk', 'default', 'odd')
    t.equal((await succeed('nbdinfo', ['--size', daemon.uri('')])).stdout.trim(), String(oddBytes))
    await daemon.thaw('disk', 'default', '--none')
    t.match(await run('nbdinfo', ['--size', daemon.uri('')]), { exit: 1, stderr: /no export named ''/ })
    t.match(await run('nbdinfo', ['--size', daemon.uri('nowhere')]), { exit: 1, stderr: /nowhere/ })
  })
  t.equal(await daemon.stop(), 0)
})
