import t from 'tap'
import { linesOf, tooLong } from '../../daemon/control/lines.ts'

async function* pieces(...parts: readonly Buffer[]): AsyncGenerator<Buffer> {
  yield* parts
}

async function collect(source: AsyncIterable<Buffer>, bytesMax: number): Promise<(string | symbol)[]> {
  const lines: (string | symbol)[] = []
  for await (const line of linesOf(source, bytesMax)) lines.push(line === tooLong ? tooLong : line.toString())
  return lines
}

t.test('wherever the stream is cut, the lines are the same', async (t) => {
  const stream = Buffer.from('one\n\ntwö\r\n\r\n{"three":3}\nlast')
  const expected = ['one', '', 'twö', '', '{"three":3}', 'last']
  t.same(await collect(pieces(stream), 100), expected, 'in one piece')
  t.same(await collect(pieces(...[...stream].map((byte) => Buffer.from([byte]))), 100), expected, 'byte by byte')
  for (let first = 0; first <= stream.length; first++) {
    for (let second = first; second <= stream.length; second++) {
      const parts = [stream.subarray(0, first), stream.subarray(first, second), stream.subarray(second)]
      const lines = await collect(pieces(...parts), 100)
      if (JSON.stringify(lines) !== JSON.stringify(expected)) t.same(lines, expected, `cut at ${first} and ${second}`)
    }
  }
})

t.test('a line may be exactly as long as allowed', async (t) => {
  for (const cut of [0, 3, 5, 6, 7]) {
    for (const [text, expected] of [
      ['12345\nnext\n', ['12345', 'next']],
      ['12345\r\nnext', ['12345', 'next']],
      ['ok\n123456\nnever seen\n', ['ok', tooLong]],
      ['123456', [tooLong]],
      ['12345', ['12345']],
      ['123456\r\n', [tooLong]],
    ] as const) {
      const stream = Buffer.from(text)
      t.same(
        await collect(pieces(stream.subarray(0, cut), stream.subarray(cut)), 5),
        expected,
        `${JSON.stringify(text)} cut at ${cut}`,
      )
    }
  }
})

t.test('a line without an end is given up as soon as it is too long', async (t) => {
  let given = 0
  const endless = (async function* (): AsyncGenerator<Buffer> {
    for (;;) {
      given += 1
      yield Buffer.alloc(10, 'x')
    }
  })()
  t.same(await collect(endless, 100), [tooLong])
  t.equal(given, 11)
})

t.test('no lines at all', async (t) => {
  t.same(await collect(pieces(), 5), [])
  t.same(await collect(pieces(Buffer.from('\n')), 5), [''])
})
