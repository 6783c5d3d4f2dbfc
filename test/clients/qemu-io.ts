/** Patterns at any offset and length, down to one byte, by a client with a protocol stack of its own. */

import t from 'tap'
import type { Test } from 'tap'
import { run, succeed } from '../fixtures/client-program.ts'
import type { Ran } from '../fixtures/client-program.ts'
import { DaemonProcess } from '../fixtures/daemon-process.ts'
import { needs } from '../fixtures/tools.ts'

t.setTimeout(120_000)

t.test('qemu-io', needs('qemu-io'), async (t) => {
  await using daemon = await DaemonProcess.start()
  for (const chunk of ['4KiB', '16KiB', '1MiB']) {
    const name = `disk-${chunk}`
    await daemon.thaw('disk', 'create', name, String(8 * 2 ** 20 + 4096), '--chunk-size', chunk)
    await t.test(`chunks of ${chunk}`, (t) => patterns(t, daemon, name))
  }
  await t.test('what is there after kill -9 is what was flushed', async (t) => {
    await daemon.restart('SIGKILL')
    await qemuIo(daemon.uri('disk-16KiB'), 'read -P 0x77 3M 64k')
    t.pass()
  })
  t.equal(await daemon.stop(), 0)
})

async function patterns(t: Test, daemon: DaemonProcess, name: string): Promise<void> {
  const uri = daemon.uri(name)
  const io = (...commands: string[]): Promise<Ran> => qemuIo(uri, ...commands)

  await t.test('whole and odd ranges', async () => {
    await io('read -P 0 0 8M', 'write -P 0x5a 1M 64k', 'read -P 0x5a 1M 64k')
    await io('write -P 0x11 1048577 3', 'read -P 0x5a 1M 1', 'read -P 0x11 1048577 3', 'read -P 0x5a 1048580 65532')
    await io('write -P 0x22 512 512', 'read -P 0 0 512', 'read -P 0x22 512 512', 'read -P 0 1024 512')
    // Over the bounds of chunks of every size.
    await io('write -P 0x33 2097149 7', 'read -P 0 2097140 9', 'read -P 0x33 2097149 7', 'read -P 0 2097156 9')
    await io('write -f -P 0x44 4194303 1', 'read -P 0x44 4194303 1', 'read -P 0 4194304 1')
  })

  await t.test('many at a time', async () => {
    await io(
      ...Array.from({ length: 32 }, (_, i) => `aio_write -P ${i + 1} ${5 * 2 ** 20 + i * 12_345} 12345`),
      'aio_flush',
      ...Array.from({ length: 32 }, (_, i) => `read -P ${i + 1} ${5 * 2 ** 20 + i * 12_345} 12345`),
    )
  })

  await t.test('zeroes and discards', async () => {
    await io('write -P 0x66 6M 1M', 'write -z 6292000 200000', 'read -P 0 6292000 200000')
    await io('read -P 0x66 6291456 544', 'read -P 0x66 6492000 1000')
    await io('write -z -u 6500000 100000', 'read -P 0 6500000 100000', 'read -P 0x66 6600000 1000')
    await io('discard 7M 512k', 'read -P 0 7M 512k')
  })

  await t.test('the end of the disk', async (t) => {
    await io('write -P 0x55 8388608 4096', 'read -P 0x55 8388608 4096')
    const beyond = await run('qemu-io', ['-f', 'raw', '-c', 'write -P 1 8M 8k', uri])
    t.match(beyond.stdout + beyond.stderr, /No space left|Input\/output error|Invalid argument/)
    await io('read -P 0x55 8388608 4096')
  })

  await t.test('a snapshot cannot be opened for writing', async (t) => {
    await daemon.thaw('snapshot', 'create', `${name}@first`)
    await io('write -P 0x77 3M 64k', 'flush')
    const snapshot = daemon.unixUri(`${name}@first`)
    await succeed('qemu-io', ['-r', '-f', 'raw', '-c', 'read -P 0x5a 1114111 1', '-c', 'read -P 0 3M 64k', snapshot])
    const refused = await run('qemu-io', ['-f', 'raw', '-c', 'write -P 1 0 512', snapshot])
    t.match(refused.stdout + refused.stderr, /Permission denied|write access/)
  })
}

/** A pattern that does not fit is told on standard output only. */
async function qemuIo(uri: string, ...commands: string[]): Promise<Ran> {
  const ran = await succeed('qemu-io', ['-f', 'raw', ...commands.flatMap((command) => ['-c', command]), uri])
  if (/failed|error/i.test(ran.stdout)) throw new Error(`${commands.join('; ')}: ${ran.stdout}`)
  return ran
}
