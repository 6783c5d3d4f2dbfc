import t from 'tap'
import { subscriptionsMax } from '../../daemon/control/hydration-methods.ts'
import { ControlDaemon } from '../fixtures/control-daemon.ts'

async function daemonWithCopy(progressIntervalMillis?: number): Promise<ControlDaemon> {
  const daemon = await ControlDaemon.start(progressIntervalMillis)
  const { store } = daemon
  await store.createDisk({ name: 'web0', sizeBytes: 2 ** 30 })
  await store.createSnapshot('web0', 'mon')
  await store.restore({ disk: 'web0', snapshot: 'mon' }, { name: 'copy0' })
  return daemon
}

t.test('progress on change, then the end', async (t) => {
  await using daemon = await daemonWithCopy()
  const { store } = daemon
  using client = daemon.raw()
  t.match(await client.call('hydration.subscribe', { disk: 'copy0' }), {
    result: { subscription: 1, hydration: { state: 'surveying', completionPercent: null } },
  })

  store.setProgress('copy0', { state: 'running', completionPercent: 12.5 })
  store.emit({ type: 'hydration-state', disk: 'copy0', state: 'running', reason: null })
  t.match(await client.next(), {
    method: 'hydration.progress',
    params: { subscription: 1, hydration: { disk: 'copy0', state: 'running', completionPercent: 12.5 } },
  })

  using other = daemon.raw()
  await other.call('hydration.pause', { disk: 'copy0' })
  t.match(await client.next(), { params: { hydration: { state: 'paused' } } })

  await other.call('disk.rename', { name: 'copy0', newName: 'copy1' })
  t.match(await client.next(), { params: { hydration: { disk: 'copy1' } } })

  store.setProgress('copy1', null)
  store.emit({ type: 'hydration-finished', disk: 'copy1', origin: 'web0@mon' })
  t.match(await client.next(), {
    method: 'hydration.end',
    params: { subscription: 1, disk: 'copy1', outcome: 'complete' },
  })

  // Over: nothing more comes but answers.
  store.emit({ type: 'hydration-finished', disk: 'copy1', origin: 'web0@mon' })
  t.match(await client.call('clients'), { id: 1 })
})

t.test('progress comes by itself as well', async (t) => {
  await using daemon = await daemonWithCopy(1)
  using client = daemon.raw()
  await client.call('hydration.subscribe', { disk: 'copy0' })
  t.match(await client.next(), { method: 'hydration.progress' })
  t.match(await client.next(), { method: 'hydration.progress' })
  daemon.store.setProgress('copy0', null)
  let last = await client.next()
  while (last.method === 'hydration.progress') last = await client.next()
  t.match(last, { method: 'hydration.end', params: { outcome: 'complete' } })
})

t.test('a disk that stands alone is complete at once, a linked one is refused', async (t) => {
  await using daemon = await daemonWithCopy()
  using client = daemon.raw()
  t.match(await client.call('hydration.subscribe', { disk: 'web0' }), { result: { subscription: 1, hydration: null } })
  t.match(await client.next(), {
    method: 'hydration.end',
    params: { subscription: 1, disk: 'web0', outcome: 'complete' },
  })
  await daemon.store.restore({ disk: 'web0', snapshot: 'mon' }, { name: 'linked0', linked: true })
  t.match(await client.call('hydration.subscribe', { disk: 'linked0' }), { error: { data: { code: 'NOT_HYDRATING' } } })
  t.match(await client.call('hydration.subscribe', { disk: 'none' }), { error: { data: { code: 'DISK_NOT_FOUND' } } })
})

t.test('the disk is deleted', async (t) => {
  await using daemon = await daemonWithCopy()
  using client = daemon.raw()
  await client.call('hydration.subscribe', { disk: 'copy0' })
  using other = daemon.raw()
  await other.call('disk.delete', { name: 'copy0' })
  t.match(await client.next(), { method: 'hydration.end', params: { disk: 'copy0', outcome: 'deleted' } })
})

t.test('the daemon stops', async (t) => {
  await using daemon = await daemonWithCopy()
  using client = daemon.raw()
  await client.call('hydration.subscribe', { disk: 'copy0' })
  const closed = daemon.control.close()
  t.match(await client.next(), { method: 'hydration.end', params: { disk: 'copy0', outcome: 'stopping' } })
  t.equal(await client.next(), null)
  client.socket.destroy()
  await closed
})

t.test('unsubscribe, and the bound on subscriptions', async (t) => {
  await using daemon = await daemonWithCopy()
  using client = daemon.raw()
  for (let number = 1; number <= subscriptionsMax; number++) {
    t.match(await client.call('hydration.subscribe', { disk: 'copy0' }), { result: { subscription: number } })
  }
  t.match(await client.call('hydration.subscribe', { disk: 'copy0' }), {
    error: { data: { code: 'TOO_MANY_SUBSCRIPTIONS' } },
  })
  for (let number = 1; number < subscriptionsMax; number++) {
    t.match(await client.call('hydration.unsubscribe', { subscription: number }), { result: {} })
  }
  t.match(await client.call('hydration.unsubscribe', { subscription: 1 }), { result: {} }, 'again')
  daemon.store.emit({ type: 'hydration-finished', disk: 'copy0', origin: 'web0@mon' })
  t.match(
    await client.next(),
    { method: 'hydration.progress', params: { subscription: subscriptionsMax } },
    'only the last is told',
  )
})

t.test('who half-closes after subscribing is told until the end', async (t) => {
  await using daemon = await daemonWithCopy()
  using client = daemon.raw()
  client.socket.end('{"jsonrpc":"2.0","id":1,"method":"hydration.subscribe","params":{"disk":"copy0"}}\n')
  t.match(await client.next(), { id: 1 })
  daemon.store.setProgress('copy0', null)
  daemon.store.emit({ type: 'hydration-finished', disk: 'copy0', origin: 'web0@mon' })
  t.match(await client.next(), { method: 'hydration.end' })
  t.equal(await client.next(), null)
})
