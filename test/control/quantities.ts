import t from 'tap'
import {
  formatRate,
  formatSize,
  formatSizeExactly,
  formatTime,
  parseRate,
  parseSize,
  parseTime,
} from '../../daemon/quantities.ts'

const KiB = 1024
const MiB = 1024 ** 2
const GiB = 1024 ** 3
const TiB = 1024 ** 4

t.test('sizes that are understood', async (t) => {
  const table: readonly (readonly [string, number])[] = [
    ['0', 0],
    ['1', 1],
    ['4096', 4096],
    ['512B', 512],
    ['4K', 4 * KiB],
    ['4k', 4 * KiB],
    ['4KiB', 4 * KiB],
    ['4kib', 4 * KiB],
    ['10M', 10 * MiB],
    ['10G', 10 * GiB],
    ['10GiB', 10 * GiB],
    ['10 GiB', 10 * GiB],
    [' 10GiB ', 10 * GiB],
    ['1.5T', 1.5 * TiB],
    ['0.5KiB', 512],
    ['7P', 7 * 1024 * TiB],
    ['9007199254740991', Number.MAX_SAFE_INTEGER],
  ]
  for (const [text, bytes] of table) t.equal(parseSize(text), bytes, text)
})

t.test('sizes that are refused', async (t) => {
  const table: readonly (readonly [string, RegExp])[] = [
    ['10GB', /say 10G or 10GiB/],
    ['1.5tb', /say 1\.5T or 1\.5TiB/],
    ['10Gi', /say 10G or 10GiB/],
    ['', /write bytes/],
    ['GiB', /write bytes/],
    ['-1', /write bytes/],
    ['+1', /write bytes/],
    ['1e9', /write bytes/],
    ['0x10', /write bytes/],
    ['1,5G', /write bytes/],
    ['.5G', /write bytes/],
    ['10X', /the units are/],
    ['10GiBs', /the units are/],
    ['10E', /the units are/],
    ['1.5', /not a whole number/],
    ['0.1KiB', /not a whole number/],
    ['8P', /just below 8PiB/],
    ['9007199254740992', /just below 8PiB/],
    ['9'.repeat(400), /just below 8PiB/],
  ]
  for (const [text, message] of table) t.throws(() => parseSize(text), { code: 'SIZE_INVALID', message }, text)
})

t.test('rates', async (t) => {
  t.equal(parseRate('50MiB/s'), 50 * MiB)
  t.equal(parseRate('50M'), 50 * MiB)
  t.equal(parseRate('50M/s'), 50 * MiB)
  t.equal(parseRate('1'), 1)
  t.equal(parseRate('unlimited'), null)
  t.throws(() => parseRate('0'), { code: 'RATE_INVALID', message: /pause/ })
  t.throws(() => parseRate('0MiB/s'), { code: 'RATE_INVALID', message: /pause/ })
  for (const text of ['', '/s', '50MB/s', '50Mbit/s', '50Mbps', 'fast', 'none']) {
    t.throws(() => parseRate(text), { code: 'RATE_INVALID', message: /50MiB\/s, or unlimited/ }, text)
  }
})

t.test('times', async (t) => {
  t.equal(parseTime('30'), 30)
  t.equal(parseTime('30s'), 30)
  t.equal(parseTime('1.5m'), 90)
  t.equal(parseTime('2h'), 7200)
  t.equal(parseTime('250ms'), 0.25)
  for (const text of ['', '0', '-1', 'soon', '1y', '1h30m', '25d']) {
    t.throws(() => parseTime(text), { code: 'ARGUMENT_INVALID' }, text)
  }
})

t.test('printing for people rounds down and never up to the next unit', async (t) => {
  const table: readonly (readonly [number, string])[] = [
    [0, '0B'],
    [1023, '1023B'],
    [1024, '1KiB'],
    [1536, '1.5KiB'],
    [MiB - 1, '1023KiB'],
    [10 * GiB, '10GiB'],
    [10 * GiB - 1, '9.99GiB'],
    [12_345_678_901, '11.4GiB'],
    [5000 * 1024 * TiB, '5000PiB'],
    [-2048, '-2KiB'],
  ]
  for (const [bytes, text] of table) t.equal(formatSize(bytes), text)
  t.equal(formatRate(50 * MiB), '50MiB/s')
  t.equal(formatRate(null), 'unlimited')
})

t.test('what is printed exactly is read back', async (t) => {
  for (const bytes of [0, 1, 4095, 4096, 10 * GiB, 10 * GiB + 4096, 1.5 * TiB, Number.MAX_SAFE_INTEGER]) {
    t.equal(parseSize(formatSizeExactly(bytes)), bytes, formatSizeExactly(bytes))
  }
  t.equal(formatSizeExactly(1.5 * TiB), '1536GiB')
})

t.test('times are printed in two units, rounded up', async (t) => {
  const table: readonly (readonly [number, string])[] = [
    [0, '0s'],
    [0.2, '1s'],
    [59, '59s'],
    [59.5, '1m00s'],
    [200, '3m20s'],
    [3720, '1h02m'],
    [183_600, '2d03h'],
  ]
  for (const [seconds, text] of table) t.equal(formatTime(seconds), text)
})
