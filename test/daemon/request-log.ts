import t from 'tap'
import { createLog } from '../../daemon/log.ts'
import { RequestLog } from '../../daemon/request-log.ts'
import { StoreError } from '../../storage/errors.ts'

function gathered() {
  const lines: string[] = []
  const clock = { millis: 0 }
  const log = createLog({ level: 'info', journal: true, write: (line) => lines.push(line.trimEnd()) })
  return { lines, clock, requests: new RequestLog({ log, now: () => clock.millis }) }
}

const request = { exportName: 'disk0', command: 'WRITE', offset: 4096, length: 512 }

t.test('slow requests are one line a second, with the longest', async (t) => {
  const { lines, requests } = gathered()
  requests.slow(request, 1200)
  requests.slow({ ...request, offset: 8192 }, 1400.4)
  requests.slow({ ...request, offset: 0 }, 1300)
  requests.slow({ ...request, exportName: 'disk1' }, 5000)
  t.strictSame(lines, [])
  requests.tick()
  t.strictSame(lines.splice(0), [
    '<4>requests took over 1 s  export=disk0 count=3 request=WRITE offset=8192 length=512 millis=1400',
    '<4>requests took over 1 s  export=disk1 count=1 request=WRITE offset=4096 length=512 millis=5000',
  ])
  requests.tick()
  t.strictSame(lines, [])
  requests.close()
})

t.test('requests that hang are told of before they end', async (t) => {
  const { lines, requests } = gathered()
  requests.hanging(request, 10_400)
  requests.hanging({ ...request, offset: 0 }, 10_300)
  requests.tick()
  t.strictSame(lines.splice(0), [
    '<4>requests are still running after 10 s  export=disk0 count=2 request=WRITE offset=4096 length=512 millis=10400',
  ])
  requests.slow(request, 20_000)
  requests.tick()
  t.match(lines, [/took over 1 s .* millis=20000$/])
  requests.close()
})

t.test('the first failure is told at once, the others are counted', async (t) => {
  const { lines, clock, requests } = gathered()
  const error = new StoreError('NO_SPACE', 'the file system is full')
  for (let count = 0; count < 5; count += 1) requests.failed(request, error)
  requests.failed(request, new StoreError('CHUNK_DAMAGED', 'bad'))
  t.strictSame(lines.splice(0), [
    '<3>a request failed  export=disk0 request=WRITE offset=4096 length=512 code=NO_SPACE error="the file system is full"',
    '<3>a request failed  export=disk0 request=WRITE offset=4096 length=512 code=CHUNK_DAMAGED error=bad',
  ])
  clock.millis = 9999
  requests.tick()
  t.strictSame(lines, [])
  clock.millis = 10_000
  requests.tick()
  t.strictSame(lines.splice(0), ['<3>requests go on failing  export=disk0 code=NO_SPACE count=4'])
  clock.millis = 20_000
  requests.tick()
  t.strictSame(lines, [])
  requests.failed(request, error)
  t.equal(lines.length, 1, 'after a quiet time it is told at once again')
  requests.close()
})
