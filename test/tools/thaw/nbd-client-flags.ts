import t from 'tap'
import type { ListenerInfo } from '../../../daemon/control/wire.ts'
import {
  attachArguments,
  chooseListener,
  detachArguments,
  deviceName,
  readCommandLine,
} from '../../../tools/thaw/nbd-client-flags.ts'

const unix: ListenerInfo = { kind: 'unix', path: '/run/thaw/nbd.sock' }
const tcp: ListenerInfo = { kind: 'tcp', host: '127.0.0.1', port: 10809, tls: 'off' }

t.test('attach', async (t) => {
  const device = '/dev/nbd0'
  t.equal(
    attachArguments({ listener: unix, exportName: 'web0', device, readOnly: false }).join(' '),
    '-nonetlink -persist -block-size 512 -name web0 -unix /run/thaw/nbd.sock /dev/nbd0',
  )
  t.equal(
    attachArguments({ listener: tcp, exportName: 'web0@mon', device, readOnly: true }).join(' '),
    '-nonetlink -persist -block-size 512 -readonly -name web0@mon 127.0.0.1 10809 /dev/nbd0',
  )
  for (const [host, expected] of [
    ['0.0.0.0', '127.0.0.1'],
    ['::', '::1'],
    ['::1', '::1'],
    ['192.0.2.7', '192.0.2.7'],
  ] as const) {
    t.ok(attachArguments({ listener: { ...tcp, host }, exportName: 'a', device, readOnly: false }).includes(expected))
  }
})

t.test('detach goes the way that attach came', async (t) => {
  t.same(detachArguments('/dev/nbd0', false), ['-nonetlink', '-disconnect', '/dev/nbd0'])
  t.same(detachArguments('/dev/nbd0', true), ['-disconnect', '/dev/nbd0'])
})

t.test('which listener', async (t) => {
  t.equal(chooseListener([tcp, unix]), unix)
  t.equal(chooseListener([{ ...tcp, tls: 'require' }, tcp]), tcp)
  t.equal(chooseListener([{ kind: 'unix', path: '/a=b' }, tcp]), tcp)
  t.equal(
    chooseListener([
      { ...tcp, tls: 'require' },
      { kind: 'unix', path: '/a=b' },
    ]),
    null,
  )
  t.equal(chooseListener([]), null)
})

t.test('a command line is read back', async (t) => {
  const device = '/dev/nbd7'
  for (const listener of [unix, tcp]) {
    const words = ['nbd-client', ...attachArguments({ listener, exportName: 'web0@mon', device, readOnly: true })]
    t.same(readCommandLine(words), {
      device,
      exportName: 'web0@mon',
      address: listener.kind === 'unix' ? '/run/thaw/nbd.sock' : '127.0.0.1:10809',
      netlink: false,
    })
  }
  t.same(readCommandLine(['nbd-client', '127.0.0.1', '/dev/nbd0']), {
    device: '/dev/nbd0',
    exportName: '',
    address: '127.0.0.1',
    netlink: true,
  })
  t.same(readCommandLine(['nbd-client', '-L', '-N', 'nbd1', '-t', '5', 'host', '10810', 'nbd0', '-p']), {
    device: '/dev/nbd0',
    exportName: 'nbd1',
    address: 'host:10810',
    netlink: false,
  })
  t.equal(readCommandLine(['nbd-client', '-d', '/dev/nbd0']), null)
  t.equal(readCommandLine(['nbd-client', '-l', 'host']), null)
  t.equal(readCommandLine(['nbd-client']), null)
})

t.test('device names', async (t) => {
  t.equal(deviceName('/dev/nbd0'), 'nbd0')
  t.equal(deviceName('nbd15'), 'nbd15')
  for (const text of ['', '/dev/sda', '/dev/nbd', '/dev/nbd0p1', '/dev/../nbd0', 'xnbd0', '/dev/nbd0 ']) {
    t.equal(deviceName(text), null, text)
  }
})
