import t from 'tap'
import { Exports } from '../../daemon/exports.ts'
import type { Device } from '../../storage/contract.ts'
import { FakeStore } from '../fixtures/fake-store.ts'

/** What the devices do is no matter here. */
class StoreWithDevices extends FakeStore {
  override diskDevice = (): Device => device
  override snapshotDevice = (): Device => device
}

const answered: Device['flush'] = (completion) => completion.complete(null)
const device: Device = {
  read: (_offset, _into, completion) => answered(completion),
  write: (_offset, _payload, _fua, completion) => answered(completion),
  trim: (_offset, _length, _fua, completion) => answered(completion),
  writeZeroes: (_offset, _length, _noHole, _fua, completion) => answered(completion),
  flush: answered,
}

/** Disks by name and size, snapshots as `DISK@SNAP`. */
async function exportsOf(disks: Record<string, number>, ...snapshots: string[]) {
  const store = new StoreWithDevices()
  for (const [name, sizeBytes] of Object.entries(disks)) await store.createDisk({ name, sizeBytes })
  for (const name of snapshots) {
    const [disk = '', snapshot] = name.split('@')
    await store.createSnapshot(disk, snapshot)
  }
  return { store, exports: new Exports({ store, storeId: '5e0a', now: () => new Date(0) }) }
}

const GiB = 1024 ** 3

t.test('every disk and every snapshot is an export', async (t) => {
  const { store, exports } = await exportsOf({ a: 10 * GiB, b: GiB, gone: GiB }, 'a@x', 'gone@kept', 'a@y')
  await store.deleteDisk('gone', { snapshots: 'keep' })
  const listed = [...exports.list()]
  t.strictSame(
    listed.map(({ name, readOnly }) => [name, readOnly]),
    [
      ['a', false],
      ['a@x', true],
      ['a@y', true],
      ['b', false],
      ['gone@kept', true],
    ],
  )
  t.match(listed[0], { size: 10 * GiB, description: /^10GiB disk, id 5e0a\/\d+$/, preferredBlockBytes: 4096 })
  t.match(listed[1], { description: /^10GiB snapshot of 2026-11-20T10:00:00\.000Z, id 5e0a\/\d+$/ })
  for (const { name } of listed) t.equal(exports.find(name)?.name, name)
})

t.test('what is not there is not found', async (t) => {
  const { exports } = await exportsOf({ a: GiB }, 'a@x')
  for (const name of ['b', 'a@y', 'b@x', '@', 'a@', '@x', 'a@x@x', '../a', ''])
    t.equal(exports.find(name), undefined, `'${name}'`)
})

t.test('the empty name is the disk that was made the default, under its own name', async (t) => {
  const { store, exports } = await exportsOf({ a: GiB, b: GiB })
  t.equal(exports.find(''), undefined)
  await store.setDefaultDisk('b')
  t.equal(exports.find('')?.name, 'b')
})

t.test('who holds what is known', async (t) => {
  const { exports } = await exportsOf({ a: GiB }, 'a@x')
  const first = { address: '127.0.0.1:1', listener: '127.0.0.1:10809' }
  const second = { address: 'unix', listener: '/run/thaw/nbd.sock' }
  const disk = exports.find('a')
  disk?.hold(first)
  exports.find('a@x')?.hold(second)
  t.strictSame(exports.clients(), [
    {
      id: 1,
      address: '127.0.0.1:1',
      listener: '127.0.0.1:10809',
      export: 'a',
      disk: 'a',
      snapshot: null,
      readOnly: false,
      attachedAt: '1970-01-01T00:00:00.000Z',
    },
    {
      id: 2,
      address: 'unix',
      listener: '/run/thaw/nbd.sock',
      export: 'a@x',
      disk: 'a',
      snapshot: 'x',
      readOnly: true,
      attachedAt: '1970-01-01T00:00:00.000Z',
    },
  ])
  disk?.release(first)
  disk?.release(first)
  t.match(exports.clients(), [{ id: 2 }])
})
