/** Images in and out over several connections, and between two exports. */

import t from 'tap'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { closeSync, createReadStream, ftruncateSync, openSync, writeSync } from 'node:fs'
import path from 'node:path'
import { exportSha256, run, succeed } from '../fixtures/client-program.ts'
import { DaemonProcess } from '../fixtures/daemon-process.ts'
import { imageBytes, writeImage } from '../fixtures/image-file.ts'
import { needs } from '../fixtures/tools.ts'

const MiB = 2 ** 20
const several = ['--connections=4', '--requests=64']

t.setTimeout(120_000)

t.test('nbdcopy', needs('nbdcopy'), async (t) => {
  await using daemon = await DaemonProcess.start()
  const file = (name: string) => path.join(daemon.directory, name)
  /** Ends in the middle of a chunk of every size. */
  const size = 64 * MiB + 5 * 4096
  const sha256 = writeImage(file('in'), 1, size)
  await daemon.thaw('disk', 'create', 'web0', String(size), '--chunk-size', '64KiB')

  await t.test('in and out, and out again after a restart', async (t) => {
    await succeed('nbdcopy', [...several, '--flush', file('in'), daemon.uri('web0')])
    await succeed('nbdcopy', [...several, daemon.uri('web0'), file('out')])
    t.equal(await fileSha256(file('out')), sha256, 'into a file')
    t.equal(await exportSha256(daemon.unixUri('web0')), sha256, 'into a pipe')
    await daemon.restart()
    t.equal(await exportSha256(daemon.uri('web0')), sha256)
  })

  await t.test('a snapshot comes out as it was, and takes nothing in', async (t) => {
    await daemon.thaw('snapshot', 'create', 'web0@first')
    const client = await daemon.attach('web0')
    await client.write(MiB - 1, imageBytes(2, 0, 2 * MiB))
    await client.disconnect()
    t.equal(await exportSha256(daemon.uri('web0@first')), sha256)
    t.not(await exportSha256(daemon.uri('web0')), sha256)
    const refused = await run('nbdcopy', [file('in'), daemon.uri('web0@first')])
    t.not(refused.exit, 0)
    t.match(refused.stderr, /read-only|not permitted/)
    t.equal(await exportSha256(daemon.uri('web0@first')), sha256)
  })

  await t.test('from one export to another', async (t) => {
    await daemon.thaw('disk', 'create', 'copy', String(size), '--chunk-size', '4KiB')
    await succeed('nbdcopy', [...several, '--flush', daemon.uri('web0@first'), daemon.unixUri('copy')])
    t.equal(await exportSha256(daemon.uri('copy')), sha256)
  })

  await t.test('a sparse image: its holes take no space, and cover what was there', async (t) => {
    const sparse = file('sparse')
    const handle = openSync(sparse, 'w')
    ftruncateSync(handle, size)
    writeSync(handle, imageBytes(4, 0, MiB), 0, MiB, 10 * MiB + 512)
    closeSync(handle)
    const { space } = await daemon.call('status', {})
    await daemon.thaw('disk', 'create', 'thin', '1TiB')
    await succeed('nbdcopy', [...several, '--flush', sparse, daemon.uri('thin')])
    const { storedBytes } = (await daemon.call('status', {})).space
    t.ok(storedBytes - space.storedBytes < 4 * MiB, `${storedBytes - space.storedBytes} bytes for 1 MiB`)
    await succeed('nbdcopy', [...several, '--flush', sparse, daemon.uri('copy')])
    t.equal(await exportSha256(daemon.uri('copy')), await fileSha256(sparse))
  })

  await t.test('a client that dies in the middle leaves nobody behind', async (t) => {
    const child = spawn('nbdcopy', ['--connections=4', daemon.uri('web0'), '-'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    await new Promise((resolve) => child.stdout.once('data', resolve))
    t.equal((await daemon.call('clients', {})).clients.filter(({ disk }) => disk === 'web0').length > 0, true)
    child.kill('SIGKILL')
    await new Promise((resolve) => child.once('close', resolve))
    await daemon.thaw('disk', 'rename', 'web0', 'web1')
    t.match(await daemon.call('clients', {}), { clients: [] })
  })
  t.equal(await daemon.stop(), 0)
})

async function fileSha256(file: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const bytes of createReadStream(file)) hash.update(bytes as Buffer)
  return hash.digest('hex')
}
