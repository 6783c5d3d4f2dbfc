import t from 'tap'
import { Exports } from '../../daemon/exports.ts'
import { catalogueStore, type Catalogue } from '../fixtures/catalogue.ts'

function exportsOf(catalogue: Partial<Catalogue>) {
  const store = catalogueStore({ disks: [], snapshots: [], defaultDisk: null, ...catalogue })
  return { exports: new Exports({ store, now: () => new Date(0) }) }
}

t.test('every disk and every snapshot is an export', async (t) => {
  const { exports } = exportsOf({
    disks: [{ name: 'a', sizeBytes: 10 * 1024 ** 3 }, { name: 'b' }],
    snapshots: [
      { disk: 'a', name: 'x' },
      { disk: 'gone', name: 'kept', diskExists: false },
      { disk: 'a', name: 'y' },
    ],
  })
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
  t.match(listed[0], { size: 10 * 1024 ** 3, description: '10GiB disk', preferredBlockBytes: 4096 })
  t.match(listed[1], { description: '1GiB snapshot of 2026-11-20T10:00:00.000Z' })
  for (const { name } of listed) t.equal(exports.find(name)?.name, name)
})

t.test('what is not there is not found', async (t) => {
  const { exports } = exportsOf({ disks: [{ name: 'a' }], snapshots: [{ disk: 'a', name: 'x' }] })
  for (const name of ['b', 'a@y', 'b@x', '@', 'a@', '@x', 'a@x@x', '../a', ''])
    t.equal(exports.find(name), undefined, `'${name}'`)
})

t.test('the empty name is the disk that was made the default, under its own name', async (t) => {
  const catalogue = { disks: [{ name: 'a' }, { name: 'b' }], snapshots: [], defaultDisk: 'b' as string | null }
  const { exports } = exportsOf(catalogue)
  t.equal(exports.find('')?.name, 'b')
})

t.test('who holds what is known', async (t) => {
  const { exports } = exportsOf({ disks: [{ name: 'a' }], snapshots: [{ disk: 'a', name: 'x' }] })
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
