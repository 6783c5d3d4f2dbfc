/** What each command prints, for people and for programs. */
import t from 'tap'
import { ControlDaemon } from '../../fixtures/control-daemon.ts'
import { thaw } from '../../fixtures/thaw-command.ts'
import type { ThawOptions, ThawOutcome } from '../../fixtures/thaw-command.ts'

const GiB = 2 ** 30

interface Place extends AsyncDisposable {
  readonly daemon: ControlDaemon
  run(line: string, options?: ThawOptions): Promise<ThawOutcome>
}

/** web0 (1 GiB) with snapshots mon and tue. */
async function place(): Promise<Place> {
  const daemon = await ControlDaemon.start()
  await daemon.store.createDisk({ name: 'web0', sizeBytes: GiB })
  await daemon.store.createSnapshot('web0', 'mon')
  await daemon.store.createSnapshot('web0', 'tue')
  return {
    daemon,
    run: (line, options) => thaw(line, { control: daemon.path, ...options }),
    [Symbol.asyncDispose]: () => daemon[Symbol.asyncDispose](),
  }
}

t.test('disk create', async (t) => {
  await using at = await place()
  t.same(await at.run('disk create db0 10GiB --chunk-size 16KiB'), {
    exit: 0,
    stdout: 'disk db0 created, 10GiB in chunks of 16KiB; it is the NBD export db0\n',
    stderr: '',
  })
  t.match((await at.run('disk create 007 4096 --json')).json, { disk: { name: '007', sizeBytes: 4096 } })
})

t.test('disk list', async (t) => {
  await using at = await place()
  await at.daemon.store.restore({ disk: 'web0', snapshot: 'mon' }, { name: 'copy0' })
  at.daemon.store.setProgress('copy0', {
    state: 'running',
    completionPercent: 43.27,
    currentRate: 52 * 2 ** 20,
    etaSeconds: 110,
  })
  at.daemon.store.defaultDisk = 'web0'
  t.equal(
    (await at.run('disk list')).stdout,
    `DISK   SIZE  SNAPSHOTS  CREATED               STATE
copy0  1GiB          0  2026-11-20 10:00:00Z  hydrating from web0@mon: 43.2%, 52MiB/s, 1m50s left
web0   1GiB          2  2026-11-20 10:00:00Z  default
`,
  )
  t.match((await at.run('disk list --json')).json, { disks: [{ name: 'copy0' }, { name: 'web0', isDefault: true }] })
})

t.test('disk show', async (t) => {
  await using at = await place()
  at.daemon.attach('web0')
  at.daemon.attach('web0', 'mon')
  t.equal(
    (await at.run('disk show web0')).stdout,
    `disk       web0
size       1GiB (1073741824 bytes) in chunks of 32KiB
created    2026-11-20 10:00:00Z
snapshots  mon, tue
clients    127.0.0.1:40001 (web0), 127.0.0.1:40002 (web0@mon)
`,
  )
  t.match((await at.run('disk show web0 --json')).json, {
    disk: { name: 'web0' },
    snapshots: [{ name: 'mon' }, { name: 'tue' }],
    clients: { length: 2 },
  })
})

t.test('disk rename', async (t) => {
  await using at = await place()
  t.equal((await at.run('disk rename web0 web1')).stdout, 'disk web0 is now web1\n')
  t.match((await at.run('disk rename web1 web2 --json')).json, { disk: { name: 'web2' } })
})

t.test('disk resize', async (t) => {
  await using at = await place()
  t.equal((await at.run('disk resize web0 2G')).stdout, 'disk web0 has 2GiB now\n')
  at.daemon.attach('web0')
  t.match(await at.run('disk resize web0 3G'), { exit: 1, stdout: '', stderr: /attached by .* \[DISK_IN_USE\]\n$/ })
  t.equal(
    (await at.run('disk resize web0 3G --online')).stdout,
    'disk web0 has 3GiB now\n1 client must reconnect to see it: 127.0.0.1:40001\n',
  )
  t.match((await at.run('disk resize web0 4G --online --json')).json, {
    disk: { sizeBytes: 4 * GiB },
    reconnect: [{ address: '127.0.0.1:40001' }],
  })
})

t.test('disk delete', async (t) => {
  await using at = await place()
  t.match(await at.run('disk delete web0'), { exit: 2, stderr: /--yes/ })
  t.match(await at.run('disk delete web0', { columns: 80, piped: true, typed: 'y\n' }), { exit: 2 }, 'a pipe is nobody')
  t.match(await at.run('disk delete web0 --yes'), { exit: 1, stderr: /\[DISK_HAS_SNAPSHOTS\]/ })
  t.match(await at.run('disk delete web0 --yes --snapshots --keep-snapshots'), { exit: 2 })
  t.match(await at.run('disk delete web0', { columns: 80, typed: 'n\n' }), {
    exit: 1,
    stderr: /Delete disk web0\? \[y\/N\] .*nothing was deleted \[NOT_CONFIRMED\]\n$/s,
  })
  t.equal(at.daemon.store.diskMap.size, 1)
  t.match(await at.run('disk delete web0 --keep-snapshots', { columns: 80, typed: 'y\n' }), {
    exit: 0,
    stdout: /web0 deleted\n/,
  })
  await at.daemon.store.createDisk({ name: 'db0', sizeBytes: GiB })
  t.same((await at.run('disk delete db0 --snapshots --yes --json')).json, { deleted: ['db0'] })
  t.equal(at.daemon.store.diskMap.size, 0)
})

t.test('disk default', async (t) => {
  await using at = await place()
  t.equal((await at.run('disk default')).stdout, 'there is no default disk: clients must name one\n')
  t.equal((await at.run('disk default web0')).stdout, 'the default disk is web0\n')
  t.same((await at.run('disk default --json')).json, { default: 'web0' })
  t.match(await at.run('disk default web0 --none'), { exit: 2 })
  t.same((await at.run('disk default --none --json')).json, { default: null })
})

t.test('snapshot create', async (t) => {
  await using at = await place()
  t.equal((await at.run('snapshot create web0@wed')).stdout, 'snapshot web0@wed created\n')
  t.equal((await at.run('snapshot create web0')).stdout, 'snapshot web0@2026-11-20T100000Z created\n')
  t.match((await at.run('snapshot create web0@thu --json')).json, { snapshot: { disk: 'web0', name: 'thu' } })
  for (const name of ['@x', 'web0@', 'web0@a@b', '@']) {
    t.match(await at.run(`snapshot create ${name}`), { exit: 2, stderr: /DISK@SNAPSHOT/ }, name)
  }
})

t.test('snapshot list', async (t) => {
  await using at = await place()
  await at.daemon.store.restore({ disk: 'web0', snapshot: 'mon' }, { name: 'copy0' })
  await at.daemon.store.deleteDisk('web0', { snapshots: 'keep' })
  t.equal(
    (await at.run('snapshot list')).stdout,
    `SNAPSHOT  SIZE  CREATED               USED BY
web0@mon  1GiB  2026-11-20 10:00:00Z  (its disk was deleted) copy0
web0@tue  1GiB  2026-11-20 10:00:00Z  (its disk was deleted)
`,
  )
  t.equal((await at.run('snapshot list copy0')).stdout, 'there are no snapshots; thaw snapshot create DISK makes one\n')
  t.match((await at.run('snapshot list web0 --json')).json, { snapshots: { length: 2 } })
})

t.test('snapshot show', async (t) => {
  await using at = await place()
  at.daemon.attach('web0', 'mon')
  t.equal(
    (await at.run('snapshot show web0@mon')).stdout,
    `snapshot  web0@mon
disk      web0
size      1GiB (1073741824 bytes) in chunks of 32KiB
created   2026-11-20 10:00:00Z
used by   nobody
clients   127.0.0.1:40001
`,
  )
  t.match((await at.run('snapshot show web0@mon --json')).json, { snapshot: { name: 'mon' }, clients: { length: 1 } })
  t.match(await at.run('snapshot show web0'), { exit: 2, stderr: /names no snapshot/ })
})

t.test('snapshot rename', async (t) => {
  await using at = await place()
  t.equal((await at.run('snapshot rename web0@mon golden')).stdout, 'snapshot web0@mon is now web0@golden\n')
  t.match((await at.run('snapshot rename web0@golden web0@gold --json')).json, { snapshot: { name: 'gold' } })
  t.match(await at.run('snapshot rename web0@gold db0@gold'), { exit: 2, stderr: /stays with its disk/ })
})

t.test('snapshot delete', async (t) => {
  await using at = await place()
  t.match(await at.run('snapshot delete web0@mon'), { exit: 2, stderr: /--yes/ })
  t.match(await at.run('snapshot delete web0@mon web0@none --yes'), { exit: 1, stderr: /SNAPSHOT_NOT_FOUND/ })
  t.match(await at.run('snapshot delete web0@mon web0@tue', { columns: 80, typed: 'yes\n' }), {
    exit: 0,
    stdout: 'snapshot web0@mon deleted\nsnapshot web0@tue deleted\n',
    stderr: /Delete 2 snapshots: web0@mon, web0@tue\?/,
  })
  await at.daemon.store.createSnapshot('web0', 'wed')
  t.same((await at.run('snapshot delete web0@wed -y --json')).json, { deleted: ['web0@wed'] })
})

t.test('snapshot diff', async (t) => {
  await using at = await place()
  t.equal((await at.run('snapshot diff web0@mon web0@tue')).stdout, 'web0@tue holds the same as web0@mon\n')
  t.same((await at.run('snapshot diff web0@mon web0 --json')).json, {
    from: 'web0@mon',
    to: 'web0',
    extents: [],
    extentCount: 0,
    changedBytes: 0,
    sizeBytes: GiB,
  })
  at.daemon.store.extents = Array.from({ length: 2000 }, (_, index) => ({ offset: index * 65536, length: 32768 }))
  const { stdout } = await at.run('snapshot diff web0@mon web0')
  const lines = stdout.split('\n')
  t.equal(lines[0], '0 32768')
  t.equal(lines[1999], '131006464 32768')
  t.equal(lines[2000], '2000 ranges of offset and length, 62.5MiB of 1GiB (6.1%)')
  const { json } = await at.run('snapshot diff web0@mon web0 --json')
  t.same(json.extents, at.daemon.store.extents)
  t.match(json, { extentCount: 2000, changedBytes: 2000 * 32768 })
})

t.test('a diff that fails half way leaves the error on standard error alone', async (t) => {
  await using at = await place()
  at.daemon.store.diff = async function* () {
    for (let index = 0; index < 1024; index++) yield { offset: index * 8192, length: 4096 }
    throw new Error('the disk of the daemon broke')
  }
  const outcome = await at.run('snapshot diff web0@mon web0 --json')
  t.match(outcome, { exit: 1, stderr: /\[INTERNAL_ERROR\]\n$/ })
  t.notMatch(outcome.stdout, /"error"/)
})

t.test('restore', async (t) => {
  await using at = await place()
  t.equal(
    (await at.run('restore web0@mon copy0')).stdout,
    `disk copy0 made of web0@mon, 1GiB; it can be used at once
copying will take at most 1GiB, 33GiB are free; at most 100MiB/s; watch with: thaw hydration wait copy0
`,
  )
  t.match((await at.run('restore web0@mon copy1 --paused --rate unlimited --size 2GiB')).stdout, /2GiB.*resume copy1/s)
  t.match(at.daemon.store.disk('copy1'), { sizeBytes: 2 * GiB, hydration: { state: 'paused', rate: null } })
  t.match((await at.run('restore web0@mon copy2 --linked')).stdout, /it copies nothing and holds web0@mon/)
  t.match((await at.run('restore web0@mon copy3 --rate 50MiB/s --json')).json, {
    disk: { name: 'copy3', hydration: { rate: 50 * 2 ** 20 } },
    space: { neededBytesMax: GiB, freeBytes: 33 * GiB },
  })
  t.match(await at.run('restore web0@mon copy0'), { exit: 1, stderr: /\[DISK_EXISTS\]/ })
  t.match(await at.run('restore web0@mon x --size 4KiB'), { exit: 1, stderr: /\[SIZE_INVALID\]/ })
  for (const line of [
    '--linked --rate 1M',
    '--linked --paused',
    '--linked --wait',
    '--paused --wait',
    '--timeout 5s',
  ]) {
    t.match(await at.run(`restore web0@mon x ${line}`), { exit: 2, stderr: /\[USAGE\]/ }, line)
  }
  for (const [line, code] of [
    ['--rate 0', 'RATE_INVALID'],
    ['--rate 5MB/s', 'RATE_INVALID'],
    ['--size 10GB', 'SIZE_INVALID'],
    ['--wait --timeout soon', 'ARGUMENT_INVALID'],
  ] as const) {
    t.match(await at.run(`restore web0@mon x ${line}`), { exit: 2, stderr: new RegExp(`\\[${code}\\]`) }, line)
  }
  t.notOk(at.daemon.store.diskMap.has('x'))
})

t.test('hydration', async (t) => {
  await using at = await place()
  const { store } = at.daemon
  t.equal((await at.run('hydration list')).stdout, 'nothing is hydrating\n')
  await store.restore({ disk: 'web0', snapshot: 'mon' }, { name: 'copy0' })
  t.equal(
    (await at.run('hydration list')).stdout,
    `DISK   ORIGIN    STATE      DONE  OF  RATE   AT MOST  LEFT
copy0  web0@mon  surveying     -   -  0B/s  100MiB/s     -
`,
  )
  store.setProgress('copy0', {
    state: 'running',
    completionPercent: 99.99,
    totalBytes: GiB,
    hydratedBytes: GiB - 1,
    currentRate: 1000,
    etaSeconds: 0.5,
  })
  t.equal(
    (await at.run('hydration show copy0')).stdout,
    `disk    copy0
origin  web0@mon
state   running
done    99.9%, 1023MiB of 1GiB
rate    1000B/s, at most 100MiB/s
left    1s
`,
  )
  t.equal((await at.run('hydration set copy0 --rate unlimited')).stdout, 'hydration of copy0: at most unlimited\n')
  t.match((await at.run('hydration pause copy0')).stdout, /^hydration of copy0 is paused/)
  t.match((await at.run('hydration resume copy0')).stdout, /^hydration of copy0 goes on/)
  t.match((await at.run('hydration list --json')).json, { hydrations: [{ disk: 'copy0', state: 'running' }] })
  for (const line of ['show copy0', 'set copy0 --rate 5M', 'pause copy0', 'resume copy0']) {
    t.match((await at.run(`hydration ${line} --json`)).json, { hydration: { disk: 'copy0' } }, line)
  }
  t.match(await at.run('hydration show web0'), { exit: 1, stderr: /\[NOT_HYDRATING\]/ })
  t.match(await at.run('hydration set copy0'), { exit: 2 })
  t.match(await at.run('hydration set copy0 --rate 0'), { exit: 2, stderr: /pause.*\[RATE_INVALID\]/ })
})

t.test('status', async (t) => {
  await using at = await place()
  await at.daemon.store.restore({ disk: 'web0', snapshot: 'mon' }, { name: 'copy0' })
  at.daemon.attach('web0')
  at.daemon.attach('web0', 'mon')
  at.daemon.listeners.push({ kind: 'tcp', host: '127.0.0.1', port: 10809, tls: 'off' })
  const { stdout } = await at.run('status')
  t.equal(
    stdout.replace(/up [0-9]+s/, 'up 5s'),
    `thawd 0.1.0, up 5s, data in /var/lib/thaw
listens at /run/thaw/nbd.sock, 127.0.0.1:10809
space: 2GiB provisioned, 3GiB stored; 33GiB of 40GiB free, 2GiB in reserve
warning: 127.0.0.1:10809 has no TLS: anyone on this machine can read and write these disks

DISK   SIZE  SNAPSHOTS  CLIENTS  STATE
copy0  1GiB          0        0  hydrating from web0@mon: surveying
web0   1GiB          2        1

CLIENT           EXPORT               SINCE
127.0.0.1:40001  web0                 2026-11-20 10:00:00Z
127.0.0.1:40002  web0@mon  read only  2026-11-20 10:00:00Z
`,
  )
  t.match((await at.run('status --json')).json, { version: '0.1.0', disks: { length: 2 }, clients: { length: 2 } })
})

t.test('status stays one screen', async (t) => {
  await using at = await place()
  for (let index = 0; index < 50; index++) {
    await at.daemon.store.createDisk({ name: `disk${index}`, sizeBytes: 4096 })
    at.daemon.attach(`disk${index}`)
  }
  const lines = (await at.run('status')).stdout.trimEnd().split('\n')
  t.ok(lines.length <= 36, `${lines.length} lines`)
  t.ok(lines.includes('and 39 more (2 snapshots in all): thaw disk list'))
  t.equal(lines.at(-1), 'and 38 more: thaw status --json')
})
