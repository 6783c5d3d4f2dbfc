/** `hydration wait` and `restore --wait`. */
import t from 'tap'
import type { HydrationInfo } from '../../../storage/contract.ts'
import { progressLine } from '../../../tools/thaw/progress-bar.ts'
import { ControlDaemon } from '../../fixtures/control-daemon.ts'
import { thaw } from '../../fixtures/thaw-command.ts'

const GiB = 2 ** 30

async function daemonWithCopy(): Promise<ControlDaemon> {
  const daemon = await ControlDaemon.start()
  await daemon.store.createDisk({ name: 'web0', sizeBytes: GiB })
  await daemon.store.createSnapshot('web0', 'mon')
  await daemon.store.restore({ disk: 'web0', snapshot: 'mon' }, { name: 'copy0' })
  return daemon
}

/** Calls `then` as soon as somebody has subscribed to the progress of copy0. */
function onceSubscribed({ store }: ControlDaemon, then: () => void): void {
  const disk = store.disk.bind(store)
  store.disk = (name) => {
    store.disk = disk
    // After the answer to the subscription, which is being made right now.
    setImmediate(() => setImmediate(then))
    return disk(name)
  }
}

function finish({ store }: ControlDaemon, name = 'copy0'): void {
  store.setProgress(name, null)
  store.emit({ type: 'hydration-finished', disk: name, origin: 'web0@mon' })
}

t.test('elsewhere than on a terminal there is one line at the end', async (t) => {
  await using daemon = await daemonWithCopy()
  onceSubscribed(daemon, () => finish(daemon))
  t.same(await thaw('hydration wait copy0', { control: daemon.path }), {
    exit: 0,
    stdout: 'copy0 has all of its data\n',
    stderr: '',
  })
  t.same(
    (await thaw('hydration wait copy0 --json', { control: daemon.path })).json,
    { disk: 'copy0', outcome: 'complete' },
    'and again at once',
  )
})

t.test('on a terminal there is a bar, and nothing is left of it', async (t) => {
  await using daemon = await daemonWithCopy()
  onceSubscribed(daemon, () => {
    daemon.store.setProgress('copy0', {
      state: 'running',
      completionPercent: 50,
      totalBytes: GiB,
      hydratedBytes: GiB / 2,
    })
    daemon.store.emit({ type: 'hydration-state', disk: 'copy0', state: 'running', reason: null })
    finish(daemon)
  })
  const { stdout, stderr } = await thaw('hydration wait copy0', {
    control: daemon.path,
    columns: 80,
    env: { LANG: 'de_DE.UTF-8' },
  })
  t.equal(stdout, 'copy0 has all of its data\n')
  const drawn = stderr.split('\r\u001b[K')
  t.match(drawn[1], /^copy0  ░+      -  surveying$/)
  t.match(drawn[2], /^copy0  █+░+  50\.0%  512MiB of 1GiB  0B\/s$/)
  t.equal(drawn.at(-1), '')
})

t.test('restore --wait', async (t) => {
  await using daemon = await daemonWithCopy()
  const { store } = daemon
  const restore = store.restore.bind(store)
  store.restore = async (from, options) => {
    const disk = await restore(from, options)
    onceSubscribed(daemon, () => finish(daemon, options.name))
    return disk
  }
  t.match(await thaw('restore web0@mon copy1 --wait', { control: daemon.path }), {
    exit: 0,
    stdout: /^disk copy1 made of web0@mon.*\ncopying will take.*\ncopy1 has all of its data\n$/,
    stderr: '',
  })
  t.match((await thaw('restore web0@mon copy2 --wait --json', { control: daemon.path })).json, {
    disk: { name: 'copy2', hydration: null },
    space: {},
    outcome: 'complete',
  })
})

t.test('a timeout ends with 4 and copying goes on', async (t) => {
  await using daemon = await daemonWithCopy()
  daemon.store.setProgress('copy0', { state: 'running', completionPercent: 12.3 })
  const outcome = await thaw('hydration wait copy0 --timeout 1ms --json', { control: daemon.path })
  t.match(outcome, { exit: 4, stderr: /copying goes on.*thaw hydration show copy0 \[TIMEOUT\]/ })
  t.match(outcome.json, { error: { code: 'TIMEOUT' } })
  t.ok(daemon.store.hydration('copy0'))
})

t.test('the disk is deleted, the daemon stops, the daemon vanishes', async (t) => {
  await using daemon = await daemonWithCopy()
  onceSubscribed(daemon, () => {
    daemon.store.diskMap.delete('copy0')
    daemon.store.emit({ type: 'hydration-finished', disk: 'copy0', origin: 'web0@mon' })
  })
  t.match(await thaw('hydration wait copy0', { control: daemon.path }), { exit: 1, stderr: /\[DISK_NOT_FOUND\]/ })

  await daemon.store.restore({ disk: 'web0', snapshot: 'mon' }, { name: 'copy0' })
  onceSubscribed(daemon, () => daemon.cut())
  t.match(await thaw('hydration wait copy0', { control: daemon.path }), { exit: 3, stderr: /\[DAEMON_NOT_REACHABLE\]/ })

  onceSubscribed(daemon, () => void daemon.control.close())
  t.match(await thaw('hydration wait copy0', { control: daemon.path }), {
    exit: 3,
    stderr: /goes on when it is started again/,
  })
})

t.test('a linked disk and one that is not there', async (t) => {
  await using daemon = await daemonWithCopy()
  await daemon.store.restore({ disk: 'web0', snapshot: 'mon' }, { name: 'linked0', linked: true })
  t.match(await thaw('hydration wait linked0', { control: daemon.path }), { exit: 1, stderr: /\[NOT_HYDRATING\]/ })
  t.match(await thaw('hydration wait none', { control: daemon.path }), { exit: 1, stderr: /\[DISK_NOT_FOUND\]/ })
})

t.test('the bar', async (t) => {
  const hydration: HydrationInfo = {
    disk: 'copy0',
    origin: 'web0@mon',
    state: 'running',
    completionPercent: 43.27,
    totalBytes: 10 * GiB,
    hydratedBytes: 4.327 * GiB,
    rate: null,
    currentRate: 52 * 2 ** 20,
    etaSeconds: 110,
    lastError: null,
  }
  const marks = ['#', '.'] as const
  t.equal(
    progressLine(hydration, 80, marks),
    'copy0  ###########...............  43.2%  4.32GiB of 10GiB  52MiB/s  1m50s left',
  )
  for (let columns = 1; columns < 200; columns++) {
    const line = progressLine(hydration, columns, marks)
    if (line.length >= columns) t.fail(`${columns}: ${line}`)
  }
  t.match(progressLine({ ...hydration, completionPercent: 100 }, 80, marks), /copy0 {2}#+ {2}100\.0%/)
  t.match(progressLine({ ...hydration, state: 'retrying', lastError: 'EIO' }, 120, marks), /retrying: EIO$/)
  t.match(progressLine({ ...hydration, state: 'paused: no space' }, 120, marks), /paused: no space$/)
})
