import { join } from 'node:path'
import t from 'tap'
import { nodeFiles } from '../../storage/node-environment.ts'

t.test('a directory is made with those above it, or refused', async (t) => {
  const path = join(t.testdir({ file: '' }), 'a', 'b', 'c')
  await nodeFiles.makeDirectory(path)
  await nodeFiles.makeDirectory(path)
  t.same(await nodeFiles.list(path), [])
  // Node's own recursive mkdir goes round for ever here.
  await t.rejects(nodeFiles.makeDirectory('/proc/thaw/data'), { code: 'ENOENT' })
  await t.rejects(nodeFiles.makeDirectory(join(path, '..', '..', '..', 'file')), { code: 'EEXIST' })
})
