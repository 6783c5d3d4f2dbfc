import t from 'tap'
import { nbdErrorNumber } from '../../daemon/nbd-errors.ts'
import { StoreError } from '../../storage/errors.ts'

t.test('our codes become the numbers that NBD has', async (t) => {
  t.equal(nbdErrorNumber(new StoreError('NO_SPACE', '')), 28)
  t.equal(nbdErrorNumber(new StoreError('READ_ONLY', '')), 1)
  t.equal(nbdErrorNumber(new StoreError('STORE_STOPPING', '')), 108)
  t.equal(nbdErrorNumber(new StoreError('CHUNK_DAMAGED', '')), 5)
  t.equal(
    nbdErrorNumber(new StoreError('STORE_FAILED', '', { cause: Object.assign(new Error(), { code: 'ENOSPC' }) })),
    5,
  )
})

t.test('an error without a code of ours keeps what the system said, or is EIO', async (t) => {
  t.equal(nbdErrorNumber(Object.assign(new Error(), { code: 'ENOSPC' })), 28)
  t.equal(nbdErrorNumber(new Error('outer', { cause: Object.assign(new Error(), { code: 'EDQUOT' }) })), 28)
  t.equal(nbdErrorNumber(Object.assign(new Error(), { code: 'ENOENT' })), 5)
  t.equal(nbdErrorNumber(new TypeError('x')), 5)
  t.equal(nbdErrorNumber('x'), 5)
})
