import t from 'tap'
import { followTap } from '../../tools/testing/count.ts'
import type { FileResult } from '../../tools/testing/count.ts'

async function follow(tap: string): Promise<FileResult[]> {
  const results: FileResult[] = []
  const parser = followTap((result) => results.push(result))
  const complete = new Promise<void>((resolve) => parser.on('complete', () => resolve()))
  parser.end(tap)
  await complete
  return results
}

t.test('subtests are counted, assertions are not', async (t) => {
  const results = await follow(`TAP version 14
# Subtest: dist/test/a.js
    # Subtest: outer
        # Subtest: one
            ok 1 - equal
            ok 2 - equal
            1..2
        ok 1 - one # time=1ms
        # Subtest: two
            not ok 1 - equal
              ---
              diff: x
              ...
            ok 2 - equal
            1..2
        not ok 2 - two # time=1ms
        1..2
    not ok 1 - outer # time=3ms
    ok 2 - three # SKIP not installed: nbdinfo
    1..2
not ok 1 - dist/test/a.js # time=1250ms
# Subtest: dist/test/b.js
    ok 1 - equal
    ok 2 - equal
    1..2
ok 2 - dist/test/b.js # time=7ms
1..2
`)
  t.match(results, [
    {
      name: 'dist/test/a.js',
      ok: false,
      millis: 1250,
      passed: 1,
      failed: 1,
      skipped: 1,
      failures: [{ names: ['dist/test/a.js', 'outer', 'two', 'equal'], diagnostics: { diff: 'x' } }],
      skips: ['dist/test/a.js > three: not installed: nbdinfo'],
    },
    { name: 'dist/test/b.js', ok: true, passed: 1, failed: 0, skipped: 0 },
  ])
})

t.test('a crash after good tests is a failed test', async (t) => {
  const results = await follow(`TAP version 14
# Subtest: dist/test/a.js
    # Subtest: one
        ok 1 - equal
        1..1
    ok 1 - one # time=1ms
    1..1
not ok 1 - dist/test/a.js # time=9ms
  ---
  exitCode: 1
  ...
1..1
`)
  t.match(results, [{ ok: false, passed: 1, failed: 1, failures: [{ diagnostics: { exitCode: 1 } }] }])
})

t.test('output that breaks off fails the test in which it did', async (t) => {
  const results = await follow(`TAP version 14
# Subtest: dist/test/a.js
    # Subtest: one
        ok 1 - equal
        1..1
    ok 1 - one # time=1ms
    # Subtest: two
        ok 1 - equal
`)
  t.ok(results.every((result) => !result.ok))
})
