import t from 'tap'
import { ControlDaemon } from '../fixtures/control-daemon.ts'

const GiB = 2 ** 30

async function daemonWithDisk(): Promise<ControlDaemon> {
  const daemon = await ControlDaemon.start()
  await daemon.store.createDisk({ name: 'web0', sizeBytes: GiB })
  return daemon
}

t.test('disks from beginning to end', async (t) => {
  await using daemon = await ControlDaemon.start()
  using client = daemon.raw()
  const created = await client.call('disk.create', { name: 'web0', sizeBytes: GiB, chunkBytes: 16384 })
  t.match(created, { result: { disk: { name: 'web0', sizeBytes: GiB, chunkBytes: 16384 } } })
  t.match(await client.call('disk.create', { name: 'web0', sizeBytes: GiB }), {
    error: { code: -32000, data: { code: 'DISK_EXISTS' } },
  })
  t.match(await client.call('disk.list'), { result: { disks: [{ name: 'web0' }] } })
  t.match(await client.call('disk.resize', { name: 'web0', sizeBytes: 2 * GiB }), {
    result: { disk: { sizeBytes: 2 * GiB }, reconnect: [] },
  })
  t.match(await client.call('disk.default', {}), { result: { default: null } })
  t.match(await client.call('disk.default', { name: 'web0' }), { result: { default: 'web0' } })
  t.match(await client.call('disk.default', { name: null }), { result: { default: null } })
  t.match(await client.call('disk.rename', { name: 'web0', newName: 'web1' }), { result: { disk: { name: 'web1' } } })
  t.match(await client.call('disk.show', { name: 'web1' }), {
    result: { disk: { name: 'web1' }, snapshots: [], clients: [] },
  })
  t.match(await client.call('disk.delete', { name: 'web1' }), { result: { deleted: ['web1'] } })
  t.match(await client.call('disk.show', { name: 'web1' }), {
    error: { data: { code: 'DISK_NOT_FOUND', details: { disk: 'web1' } } },
  })
  t.same(daemon.logged, [
    'disk web0 created, 1GiB',
    "disk.create refused: DISK_EXISTS: there is a disk 'web0' already",
    'disk web0 resized to 2GiB',
    'default disk: web0',
    'default disk: none',
    'disk web0 renamed to web1',
    'disk web1 deleted',
    "disk.show refused: DISK_NOT_FOUND: there is no disk 'web1'",
  ])
})

t.test('snapshots from beginning to end', async (t) => {
  await using daemon = await daemonWithDisk()
  using client = daemon.raw()
  t.match(await client.call('snapshot.create', { disk: 'web0', snapshot: 'mon' }), {
    result: { snapshot: { disk: 'web0', name: 'mon' } },
  })
  t.match(await client.call('snapshot.create', { disk: 'web0' }), { result: { snapshot: { name: /^2026/ } } })
  t.match(await client.call('snapshot.list'), { result: { snapshots: [{ name: 'mon' }, {}] } })
  t.match(await client.call('snapshot.list', { disk: 'none' }), { error: { data: { code: 'DISK_NOT_FOUND' } } })
  t.match(await client.call('snapshot.rename', { disk: 'web0', snapshot: 'mon', newName: 'tue' }), {
    result: { snapshot: { name: 'tue' } },
  })
  t.match(await client.call('snapshot.show', { disk: 'web0', snapshot: 'tue' }), {
    result: { snapshot: { name: 'tue' }, clients: [] },
  })
  t.match(await client.call('disk.delete', { name: 'web0' }), { error: { data: { code: 'DISK_HAS_SNAPSHOTS' } } })
  const both = [
    { disk: 'web0', snapshot: 'tue' },
    { disk: 'web0', snapshot: 'none' },
  ]
  t.match(await client.call('snapshot.delete', { snapshots: both }), {
    error: { data: { code: 'SNAPSHOT_NOT_FOUND' } },
  })
  t.match(await client.call('snapshot.delete', { snapshots: both.slice(0, 1) }), { result: { deleted: ['web0@tue'] } })
  t.match(await client.call('disk.delete', { name: 'web0', snapshots: 'delete' }), {
    result: { deleted: ['web0', 'web0@2026-11-20T100000Z'] },
  })
  t.equal(daemon.store.snapshotList.length, 0)
})

t.test('restore says what it will take at most and what is free', async (t) => {
  await using daemon = await daemonWithDisk()
  using client = daemon.raw()
  await daemon.store.createSnapshot('web0', 'mon')
  const from = { disk: 'web0', snapshot: 'mon' }
  t.match(await client.call('restore', { ...from, name: 'copy0', rate: 1000, paused: true, sizeBytes: 2 * GiB }), {
    result: {
      disk: { name: 'copy0', sizeBytes: 2 * GiB, origin: 'web0@mon', hydration: { state: 'paused', rate: 1000 } },
      space: { neededBytesMax: GiB, freeBytes: 33 * GiB },
    },
  })
  t.match(await client.call('restore', { ...from, name: 'copy1', linked: true, rate: null }), {
    result: { disk: { linked: true, hydration: null }, space: { neededBytesMax: 0 } },
  })
  t.match(await client.call('hydration.list'), { result: { hydrations: [{ disk: 'copy0' }] } })
  t.match(await client.call('hydration.set', { disk: 'copy0', rate: null }), { result: { hydration: { rate: null } } })
  t.match(await client.call('hydration.resume', { disk: 'copy0' }), { result: { hydration: { state: 'running' } } })
  t.match(await client.call('hydration.pause', { disk: 'copy0' }), { result: { hydration: { state: 'paused' } } })
  t.match(await client.call('hydration.show', { disk: 'copy0' }), { result: { hydration: { state: 'paused' } } })
  t.match(await client.call('hydration.show', { disk: 'copy1' }), { error: { data: { code: 'NOT_HYDRATING' } } })
  t.match(daemon.logged.slice(0, 2), [
    'snapshot web0@mon restored to disk copy0, 2GiB',
    'snapshot web0@mon restored to disk copy1, 1GiB, linked',
  ])
})

t.test('what a client has attached is not deleted, renamed or resized under it', async (t) => {
  await using daemon = await daemonWithDisk()
  using client = daemon.raw()
  await daemon.store.createSnapshot('web0', 'mon')
  for (let i = 0; i < 5; i++) daemon.attach('web0')
  const inUse = {
    error: {
      message: /127\.0\.0\.1:40001, .*:40002, .*:40003 and 2 more/,
      data: { code: 'DISK_IN_USE', details: { disk: 'web0', clients: { length: 5 } } },
    },
  }
  t.match(await client.call('disk.delete', { name: 'web0' }), inUse)
  t.match(await client.call('disk.delete', { name: 'web0', snapshots: 'keep' }), inUse)
  t.match(await client.call('disk.rename', { name: 'web0', newName: 'x' }), inUse)
  t.match(await client.call('disk.resize', { name: 'web0', sizeBytes: 2 * GiB }), inUse)
  t.match(await client.call('disk.delete', { name: 'none' }), { error: { data: { code: 'DISK_NOT_FOUND' } } })
  const online = await client.call('disk.resize', { name: 'web0', sizeBytes: 2 * GiB, online: true })
  t.match(online, { result: { disk: { sizeBytes: 2 * GiB }, reconnect: { length: 5 } } })
  t.match(
    await client.call('snapshot.delete', { snapshots: [{ disk: 'web0', snapshot: 'mon' }] }),
    { result: {} },
    'the snapshot is free',
  )
})

t.test('nor is a snapshot', async (t) => {
  await using daemon = await daemonWithDisk()
  using client = daemon.raw()
  await daemon.store.createSnapshot('web0', 'mon')
  await daemon.store.createSnapshot('web0', 'tue')
  daemon.attach('web0', 'tue')
  const snapshots = [
    { disk: 'web0', snapshot: 'mon' },
    { disk: 'web0', snapshot: 'tue' },
  ]
  const inUse = {
    error: { data: { code: 'SNAPSHOT_IN_USE', details: { snapshot: 'tue', clients: [{ export: 'web0@tue' }] } } },
  }
  t.match(await client.call('snapshot.delete', { snapshots }), inUse)
  t.equal(daemon.store.snapshotList.length, 2, 'none was deleted')
  t.match(await client.call('snapshot.rename', { ...snapshots[1], newName: 'x' }), inUse)
  t.match(await client.call('disk.delete', { name: 'web0', snapshots: 'delete' }), inUse)
  t.match(await client.call('disk.rename', { name: 'web0', newName: 'x' }), inUse)
  t.match(await client.call('disk.resize', { name: 'web0', sizeBytes: 2 * GiB }), { result: {} })
  t.match(await client.call('disk.delete', { name: 'web0', snapshots: 'keep' }), { result: { deleted: ['web0'] } })
  t.match(await client.call('snapshot.show', { disk: 'web0', snapshot: 'tue' }), {
    result: { snapshot: { diskExists: false }, clients: [{ address: '127.0.0.1:40001' }] },
  })
})

t.test('a diff comes in pieces before its answer', async (t) => {
  await using daemon = await daemonWithDisk()
  const { store } = daemon
  using client = daemon.raw()
  await store.createSnapshot('web0', 'mon')
  store.extents = Array.from({ length: 1500 }, (_, index) => ({ offset: index * 8192, length: 4096 }))
  const from = { disk: 'web0', snapshot: 'mon' }
  client.send({ jsonrpc: '2.0', id: 'd', method: 'snapshot.diff', params: { from, to: { disk: 'web0' } } })
  const first = await client.next()
  t.match(first, { method: 'snapshot.diff.extents', params: { request: 'd', extents: { length: 1024 } } })
  const second = await client.next()
  t.same([...first.params.extents, ...second.params.extents], store.extents)
  t.match(await client.next(), { id: 'd', result: { extentCount: 1500, changedBytes: 1500 * 4096, sizeBytes: GiB } })
  t.match(await client.call('snapshot.diff', { from, to: { disk: 'web1' } }), {
    error: { data: { code: 'ARGUMENT_INVALID' } },
  })
})

t.test('a diff waits for a client that does not read, and ends when that one goes', async (t) => {
  await using daemon = await daemonWithDisk()
  const { store } = daemon
  using client = daemon.raw()
  await store.createSnapshot('web0', 'mon')
  let given = 0
  let ended = (): void => {}
  const end = new Promise<void>((resolve) => (ended = resolve))
  store.diff = async function* () {
    try {
      for (;;) yield { offset: given++ * 8192, length: 4096 }
    } finally {
      ended()
    }
  }
  client.socket.pause()
  client.send({
    jsonrpc: '2.0',
    id: 1,
    method: 'snapshot.diff',
    params: { from: { disk: 'web0', snapshot: 'mon' }, to: { disk: 'web0' } },
  })
  // It goes on until the socket and the unsent bytes are full, and then stands still while others are served.
  using other = daemon.raw()
  for (let before = -1; given === 0 || before !== given;) {
    before = given
    for (let i = 0; i < 20; i++) await other.call('clients')
  }
  t.ok(given < 200_000, `${given} extents`)
  client.socket.destroy()
  await end
  t.pass('ended')
})

t.test('status has everything, and warns of a listener without TLS', async (t) => {
  await using daemon = await daemonWithDisk()
  using client = daemon.raw()
  await daemon.store.createSnapshot('web0', 'mon')
  await daemon.store.restore({ disk: 'web0', snapshot: 'mon' }, { name: 'copy0' })
  daemon.attach('web0')
  daemon.store.warnings = ['the index was rebuilt']
  daemon.listeners.push(
    { kind: 'tcp', host: '127.0.0.1', port: 10809, tls: 'off' },
    { kind: 'tcp', host: '::', port: 10810, tls: 'allow' },
    { kind: 'tcp', host: '0.0.0.0', port: 10811, tls: 'require' },
  )
  t.match(await client.call('status'), {
    result: {
      version: '0.1.0',
      pid: process.pid,
      startedAt: /Z$/,
      uptimeSeconds: Number,
      dataDirectory: '/var/lib/thaw',
      space: { provisionedBytes: 2 * GiB, reserveBytes: 2 * GiB },
      disks: [{ name: 'copy0' }, { name: 'web0' }],
      snapshotCount: 1,
      hydrations: [{ disk: 'copy0' }],
      clients: [{ address: '127.0.0.1:40001', export: 'web0' }],
      listeners: { length: 4 },
    },
  })
  const { result } = await client.call('status')
  t.same(result.warnings, [
    'the index was rebuilt',
    '127.0.0.1:10809 has no TLS: anyone on this machine can read and write these disks',
    '[::]:10810 does not insist on TLS: anyone who can reach it can read and write these disks',
  ])
})
