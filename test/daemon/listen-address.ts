import t from 'tap'
import { formatAddress, isLoopback, parseListenAddress, resolveListenAddress } from '../../daemon/listen-address.ts'
import { UsageError } from '../../daemon/usage-error.ts'

t.test('addresses are read and written back', async (t) => {
  for (const text of ['127.0.0.1:10809', '[::1]:0', 'localhost:65535']) {
    t.equal(formatAddress(parseListenAddress(text, '--listen')), text)
  }
})

t.test('loopback is what only this machine reaches', async (t) => {
  for (const address of ['127.0.0.1', '127.255.255.254', '::1', '::ffff:127.0.0.1']) t.ok(isLoopback(address), address)
  for (const address of ['0.0.0.0', '::', '192.168.1.4', '128.0.0.1', '::ffff:10.0.0.1', 'fe80::1', 'localhost', '']) {
    t.notOk(isLoopback(address), address)
  }
})

t.test('a name becomes the address that is bound', async (t) => {
  const { host } = await resolveListenAddress({ host: 'localhost', port: 1 })
  t.ok(isLoopback(host), host)
  await t.rejects(resolveListenAddress({ host: 'no-such-host.invalid', port: 1 }), UsageError)
})
