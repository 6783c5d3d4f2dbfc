/** Images of another kind in and out. */

import t from 'tap'
import path from 'node:path'
import { exportSha256, run, succeed } from '../fixtures/client-program.ts'
import { DaemonProcess } from '../fixtures/daemon-process.ts'
import { imageBytes, writeImage } from '../fixtures/image-file.ts'
import { needs } from '../fixtures/tools.ts'

const MiB = 2 ** 20
const size = 32 * MiB

t.setTimeout(120_000)

t.test('qemu-img', needs('qemu-img', 'nbdcopy'), async (t) => {
  await using daemon = await DaemonProcess.start()
  const file = (name: string) => path.join(daemon.directory, name)
  const sha256 = writeImage(file('raw'), 1, size)
  await succeed('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', file('raw'), file('in.qcow2')])

  await t.test('info', async (t) => {
    await daemon.thaw('disk', 'create', 'web0', String(size))
    for (const uri of [daemon.uri('web0'), daemon.unixUri('web0')]) {
      const info = JSON.parse((await succeed('qemu-img', ['info', '-f', 'raw', '--output=json', uri])).stdout) as object
      t.match(info, { format: 'raw', 'virtual-size': size })
    }
  })

  await t.test('convert in and out, over TCP and a unix socket', async (t) => {
    await succeed('qemu-img', ['convert', '-n', '-f', 'qcow2', '-O', 'raw', file('in.qcow2'), daemon.uri('web0')])
    t.equal(await exportSha256(daemon.uri('web0')), sha256)
    const out = ['-f', 'raw', '-O', 'qcow2', '-c', daemon.unixUri('web0'), file('out.qcow2')]
    await succeed('qemu-img', ['convert', ...out])
    await succeed('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', file('raw'), file('out.qcow2')])
  })

  await t.test('compare with a disk, a snapshot and a restored disk', async (t) => {
    await daemon.thaw('snapshot', 'create', 'web0@first')
    await daemon.thaw('restore', 'web0@first', 'copy', '--paused')
    const client = await daemon.attach('web0')
    await client.write(MiB, imageBytes(2, 0, 1024), { fua: true })
    await client.disconnect()
    const compare = (name: string) =>
      run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', file('raw'), daemon.uri(name)])
    t.match(await compare('web0@first'), { exit: 0, stdout: /identical/ })
    t.match(await compare('copy'), { exit: 0, stdout: /identical/ })
    t.match(await compare('web0'), { exit: 1, stdout: /mismatch at offset 1048576/ })
  })

  await t.test('bench: depth 32, with a flush now and then', async () => {
    const often = ['-d', '32', '-c', '2000', '-s', '4096', '-w', '--flush-interval=100']
    await succeed('qemu-img', ['bench', '-f', 'raw', ...often, daemon.uri('web0')])
  })
  t.equal(await daemon.stop(), 0)
})
