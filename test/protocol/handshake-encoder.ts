import t from 'tap'
import * as encoder from '../../protocol/handshake-encoder.ts'

const hex = (bytes: Buffer) => bytes.toString('hex')

t.test('the bytes of the specification', async (t) => {
  t.equal(hex(encoder.encodeGreeting()), '4e42444d41474943' + '49484156454f5054' + '0003')
  t.equal(
    hex(encoder.encodeOptionReply(7, 0x80000006, Buffer.from('no'))),
    '0003e889045565a9' + '00000007' + '80000006' + '00000002' + '6e6f',
  )
  t.equal(hex(encoder.encodeInfoExport(0x1_2345_6789, 0x0165)), '0000' + '0000000123456789' + '0165')
  t.equal(hex(encoder.encodeInfoText(2, 'é')), '0002' + 'c3a9')
  t.equal(hex(encoder.encodeInfoBlockSize(1, 4096, 33554432)), '0003' + '00000001' + '00001000' + '02000000')
  t.equal(hex(encoder.encodeServerEntry('ab', 'text')), '00000002' + '6162' + '74657874')
})

t.test('the answer to EXPORT_NAME', async (t) => {
  t.equal(hex(encoder.encodeExportNameAnswer(Number.MAX_SAFE_INTEGER, 1, true)), '001fffffffffffff' + '0001')
  t.equal(hex(encoder.encodeExportNameAnswer(4096, 1, false)), '0000000000001000' + '0001' + '00'.repeat(124))
})

t.test('an error text ends in a byte to spare and stays short', async (t) => {
  t.equal(encoder.encodeErrorText('No.').toString(), 'No. ')
  t.equal(encoder.encodeErrorText('x'.repeat(5000)).length, 900)
})

t.test('a text is cut between characters', async (t) => {
  t.equal(encoder.truncateUtf8('aé€😀', 100), 'aé€😀')
  t.equal(encoder.truncateUtf8('aé€😀', 10), 'aé€😀')
  t.equal(encoder.truncateUtf8('aé€😀', 9), 'aé€')
  t.equal(encoder.truncateUtf8('aé€😀', 6), 'aé€')
  t.equal(encoder.truncateUtf8('aé€😀', 5), 'aé')
  t.equal(encoder.truncateUtf8('aé€😀', 2), 'a')
  t.equal(encoder.truncateUtf8('aé€😀', 0), '')
})
