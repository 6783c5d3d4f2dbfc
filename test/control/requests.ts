import t from 'tap'
import { connectionsMax } from '../../daemon/control/server.ts'
import { requestBytesMax } from '../../daemon/control/wire.ts'
import { ControlDaemon } from '../fixtures/control-daemon.ts'

const request = '{"jsonrpc":"2.0","id":7,"method":"disk.list"}\n'

t.test('a request is understood however it is cut', async (t) => {
  await using daemon = await ControlDaemon.start()
  await daemon.store.createDisk({ name: 'web0', sizeBytes: 4096 })
  using client = daemon.raw()
  client.socket.setNoDelay(true)
  const bytes = Buffer.from('{"jsonrpc":"2.0","id":"ü","method":"disk.list"}\n')
  for (let cut = 0; cut <= bytes.length; cut++) {
    client.send(bytes.subarray(0, cut))
    // Another connection's answer: the daemon has seen the first part by then.
    using other = daemon.raw()
    await other.call('clients')
    client.send(bytes.subarray(cut))
    const answer = await client.next()
    t.match(answer, { id: 'ü', result: { disks: [{ name: 'web0' }] } }, `cut at ${cut}`)
  }
})

t.test('several in one piece are answered in order', async (t) => {
  await using daemon = await ControlDaemon.start()
  using client = daemon.raw()
  const ids = Array.from({ length: 50 }, (_, id) => id)
  client.send(ids.map((id) => JSON.stringify({ jsonrpc: '2.0', id, method: 'disk.list' })).join('\n') + '\n')
  const answered = []
  for (const _ of ids) answered.push((await client.next()).id)
  t.same(answered, ids)
})

t.test('a client that half-closes gets its answers, also without a last newline', async (t) => {
  await using daemon = await ControlDaemon.start()
  using client = daemon.raw()
  client.socket.end(request + request.trim())
  t.match(await client.next(), { id: 7, result: { disks: [] } })
  t.match(await client.next(), { id: 7, result: { disks: [] } })
  t.equal(await client.next(), null)
})

t.test('what is not a request is answered and the connection goes on', async (t) => {
  await using daemon = await ControlDaemon.start()
  using client = daemon.raw()
  const table: readonly (readonly [string | Buffer, number, string, unknown])[] = [
    ['not json', -32700, 'REQUEST_NOT_JSON', null],
    ['{"jsonrpc":"2.0","id":1', -32700, 'REQUEST_NOT_JSON', null],
    [Buffer.from([0x22, 0xff, 0x22]), -32700, 'REQUEST_NOT_JSON', null],
    ['[{"jsonrpc":"2.0","id":1,"method":"status"}]', -32600, 'REQUEST_INVALID', null],
    ['null', -32600, 'REQUEST_INVALID', null],
    ['"status"', -32600, 'REQUEST_INVALID', null],
    ['{"id":1,"method":"status"}', -32600, 'REQUEST_INVALID', 1],
    ['{"jsonrpc":"1.0","id":1,"method":"status"}', -32600, 'REQUEST_INVALID', 1],
    ['{"jsonrpc":"2.0","id":1}', -32600, 'REQUEST_INVALID', 1],
    ['{"jsonrpc":"2.0","id":1,"method":7}', -32600, 'REQUEST_INVALID', 1],
    ['{"jsonrpc":"2.0","id":{},"method":"status"}', -32600, 'REQUEST_INVALID', null],
    ['{"jsonrpc":"2.0","id":1,"method":"status","name":"x"}', -32600, 'REQUEST_INVALID', 1],
    ['{"jsonrpc":"2.0","id":1,"method":"status","params":[]}', -32602, 'PARAMETERS_INVALID', 1],
    ['{"jsonrpc":"2.0","id":"a","method":"disk.destroy"}', -32601, 'METHOD_NOT_FOUND', 'a'],
    ['{"jsonrpc":"2.0","id":"a","method":"toString"}', -32601, 'METHOD_NOT_FOUND', 'a'],
    ['{"jsonrpc":"2.0","id":"a","method":"__proto__"}', -32601, 'METHOD_NOT_FOUND', 'a'],
  ]
  for (const [line, code, name, id] of table) {
    client.send(Buffer.concat([Buffer.from(line), Buffer.from('\n')]))
    const answer = await client.next()
    t.match(answer, { jsonrpc: '2.0', id, error: { code, message: String, data: { code: name } } }, String(line))
    t.notMatch(answer.error.message, /\n/)
  }
  t.match(await client.call('status'), { id: 1, result: { version: '0.1.0' } })
})

t.test('empty lines are ignored, an id of null is answered, no id is not', async (t) => {
  await using daemon = await ControlDaemon.start()
  using client = daemon.raw()
  client.send('\n\r\n')
  client.send({ jsonrpc: '2.0', method: 'disk.create', params: { name: 'web0', sizeBytes: 4096 } })
  client.send({ jsonrpc: '2.0', method: 'no such method' })
  client.send({ jsonrpc: '2.0', id: null, method: 'disk.list' })
  t.match(await client.next(), { id: null, result: { disks: [{ name: 'web0' }] } })
})

t.test('parameters are read strictly', async (t) => {
  await using daemon = await ControlDaemon.start()
  using client = daemon.raw()
  const table: readonly (readonly [string, object, string, string])[] = [
    ['disk.create', { name: 'a' }, 'PARAMETERS_INVALID', 'sizeBytes'],
    ['disk.create', { name: 'a', sizeBytes: '4096' }, 'PARAMETERS_INVALID', 'sizeBytes'],
    ['disk.create', { name: 'a', sizeBytes: 0.5 }, 'PARAMETERS_INVALID', 'sizeBytes'],
    ['disk.create', { name: 'a', sizeBytes: -1 }, 'PARAMETERS_INVALID', 'sizeBytes'],
    ['disk.create', { name: 'a', sizeBytes: 2 ** 53 }, 'PARAMETERS_INVALID', 'sizeBytes'],
    ['disk.create', { name: 'a', sizeBytes: null }, 'PARAMETERS_INVALID', 'sizeBytes'],
    ['disk.create', { name: 1, sizeBytes: 4096 }, 'PARAMETERS_INVALID', 'name'],
    ['disk.create', { name: 'a', sizeBytes: 4096, size: 1 }, 'PARAMETERS_INVALID', 'size'],
    ['disk.create', { name: 'a', sizeBytes: 4096, toString: 1 }, 'PARAMETERS_INVALID', 'toString'],
    ['disk.list', { name: 'a' }, 'PARAMETERS_INVALID', 'name'],
    ['disk.resize', { name: 'a', sizeBytes: 1, online: 'yes' }, 'PARAMETERS_INVALID', 'online'],
    ['disk.delete', { name: 'a', snapshots: 'drop' }, 'PARAMETERS_INVALID', 'snapshots'],
    ['snapshot.delete', { snapshots: [] }, 'PARAMETERS_INVALID', 'snapshots'],
    ['snapshot.delete', { snapshots: ['a@b'] }, 'PARAMETERS_INVALID', 'snapshots[0]'],
    ['snapshot.delete', { snapshots: [{ disk: 'a' }] }, 'PARAMETERS_INVALID', 'snapshots[0].snapshot'],
    [
      'snapshot.diff',
      { from: { disk: 'a', snapshot: 'b' }, to: { disk: 'a', name: 'c' } },
      'PARAMETERS_INVALID',
      'to.name',
    ],
    ['hydration.set', { disk: 'a' }, 'PARAMETERS_INVALID', 'rate'],
    ['hydration.set', { disk: 'a', rate: 'unlimited' }, 'PARAMETERS_INVALID', 'rate'],
    ['hydration.unsubscribe', { subscription: 'x' }, 'PARAMETERS_INVALID', 'subscription'],
  ]
  for (const [method, params, code, parameter] of table) {
    const { error } = await client.call(method, params)
    t.match(error, { code: -32602, data: { code, details: { parameter } } }, `${method} ${JSON.stringify(params)}`)
  }
  t.match(await client.call('hydration.set', { disk: 'a', rate: 0 }), {
    error: { message: /pause/, data: { code: 'RATE_INVALID' } },
  })
})

t.test('a line that is too long is answered, then the connection is closed', async (t) => {
  await using daemon = await ControlDaemon.start()
  using client = daemon.raw()
  client.send(Buffer.alloc(requestBytesMax + 2, 'x'))
  t.match(await client.next(), {
    id: null,
    error: { code: -32600, data: { code: 'REQUEST_TOO_LONG', details: { requestBytesMax } } },
  })
  t.equal(await client.next(), null)
})

t.test('a line of just the length allowed is answered', async (t) => {
  await using daemon = await ControlDaemon.start()
  using client = daemon.raw()
  client.send(`${request.trim().padEnd(requestBytesMax)}\n`)
  t.match(await client.next(), { id: 7, result: {} })
})

t.test('connections are bounded', async (t) => {
  await using daemon = await ControlDaemon.start()
  const clients = Array.from({ length: connectionsMax }, () => daemon.raw())
  for (const client of clients) await client.call('clients')
  using refused = daemon.raw()
  t.match(await refused.next(), { id: null, error: { data: { code: 'TOO_MANY_CONNECTIONS' } } })
  t.equal(await refused.next(), null)

  // A place becomes free when the daemon sees the end of another: its own end follows.
  const [first, ...others] = clients
  first?.socket.end()
  t.equal(await first?.next(), null)
  using next = daemon.raw()
  t.match(await next.call('clients'), { result: {} })
  for (const client of others) client.socket.destroy()
})

t.test('requests of one connection go one after another', async (t) => {
  await using daemon = await ControlDaemon.start()
  const { store } = daemon
  await store.createDisk({ name: 'web0', sizeBytes: 4096 })
  let open = (): void => {}
  store.snapshotGate = new Promise((resolve) => (open = resolve))
  using client = daemon.raw()
  for (const id of [1, 2, 3])
    client.send({ jsonrpc: '2.0', id, method: 'snapshot.create', params: { disk: 'web0', snapshot: `s${id}` } })
  using other = daemon.raw()
  // Others are not held up, and while they are answered only the first has begun.
  for (let i = 0; i < 5; i++) await other.call('clients')
  t.equal(store.snapshotsBegun, 1)
  open()
  for (const id of [1, 2, 3]) t.match(await client.next(), { id, result: { snapshot: { name: `s${id}` } } })
})

t.test('a fault of ours is told without its text, and logged with it', async (t) => {
  await using daemon = await ControlDaemon.start()
  using client = daemon.raw()
  daemon.store.failure = new TypeError('secret')
  const answer = await client.call('status')
  t.match(answer, { error: { code: -32603, data: { code: 'INTERNAL_ERROR' } } })
  t.notMatch(JSON.stringify(answer), /secret/)
  t.match(daemon.logged, [/^error: status: TypeError: secret/])
})

t.test('close finishes and answers what is being executed, and begins nothing new', async (t) => {
  await using daemon = await ControlDaemon.start()
  const { store } = daemon
  await store.createDisk({ name: 'web0', sizeBytes: 4096 })
  let open = (): void => {}
  store.snapshotGate = new Promise((resolve) => (open = resolve))
  using idle = daemon.raw()
  await idle.call('clients')
  using client = daemon.raw()
  client.send({ jsonrpc: '2.0', id: 1, method: 'snapshot.create', params: { disk: 'web0', snapshot: 'a' } })
  client.send({ jsonrpc: '2.0', id: 2, method: 'snapshot.create', params: { disk: 'web0', snapshot: 'b' } })
  while (store.snapshotsBegun === 0) await idle.call('clients')
  const closed = daemon.control.close()
  t.equal(await idle.next(), null)
  idle.socket.end('{"jsonrpc":"2.0","id":1,"method":"disk.create","params":{"name":"late0","sizeBytes":4096}}\n')
  await new Promise((resolve) => idle.socket.once('close', resolve))
  open()
  t.match(await client.next(), { id: 1, result: { snapshot: { name: 'a' } } })
  t.equal(await client.next(), null)
  idle.socket.destroy()
  client.socket.destroy()
  await closed
  t.equal(store.snapshotsBegun, 1)
  t.notOk(store.diskMap.has('late0'))
})
