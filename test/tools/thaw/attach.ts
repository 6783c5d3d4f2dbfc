import t from 'tap'
import { ControlDaemon } from '../../fixtures/control-daemon.ts'
import { FakeMachine } from '../../fixtures/fake-machine.ts'
import { thaw } from '../../fixtures/thaw-command.ts'
import type { ThawOutcome } from '../../fixtures/thaw-command.ts'

const GiB = 2 ** 30
const client = '/usr/sbin/nbd-client'

async function daemonWithDisk(): Promise<ControlDaemon> {
  const daemon = await ControlDaemon.start()
  await daemon.store.createDisk({ name: 'web0', sizeBytes: GiB })
  await daemon.store.createSnapshot('web0', 'mon')
  return daemon
}

const run = (daemon: ControlDaemon, line: string, system: FakeMachine): Promise<ThawOutcome> =>
  thaw(line, { control: daemon.path, system })

t.test('attach takes the first free device and prints it', async (t) => {
  await using daemon = await daemonWithDisk()
  const machine = FakeMachine.withDevices(16)
  machine.connect('nbd0', null)
  t.same(await run(daemon, 'attach web0', machine), { exit: 0, stdout: '/dev/nbd1\n', stderr: '' })
  const start = [client, '-nonetlink', '-persist', '-block-size', '512']
  t.match(machine.launched, [
    [
      /\/tools\/thaw-keeper\.js$/,
      '--server',
      '/run/thaw/nbd.sock',
      '--export',
      'web0',
      '--listen',
      '/run/thaw-keeper/nbd1.sock',
    ],
  ])
  t.same(machine.removed, ['/run/thaw-keeper/nbd1.sock'], 'of a keeper that was killed')
  t.same(machine.ran, [[...start, '-name', 'web0', '-unix', '/run/thaw-keeper/nbd1.sock', '/dev/nbd1']])
  t.same((await run(daemon, 'attach web0@mon /dev/nbd9 --json', machine)).json, {
    device: '/dev/nbd9',
    export: 'web0@mon',
    sizeBytes: GiB,
    readOnly: true,
  })
  t.same(machine.ran[1], [
    ...start,
    '-readonly',
    '-name',
    'web0@mon',
    '-unix',
    '/run/thaw-keeper/nbd9.sock',
    '/dev/nbd9',
  ])
  t.match(await run(daemon, 'attach web0 nbd3 --read-only', machine), { stdout: '/dev/nbd3\n' })
  t.ok(machine.ran[2]?.includes('-readonly'))
})

t.test('it goes over TCP when there is no unix socket', async (t) => {
  await using daemon = await daemonWithDisk()
  daemon.listeners.splice(0, 1, { kind: 'tcp', host: '0.0.0.0', port: 10810, tls: 'off' })
  const machine = FakeMachine.withDevices(1)
  t.match(await run(daemon, 'attach web0', machine), { exit: 0 })
  t.same(machine.launched[0]?.slice(1, 3), ['--server', '127.0.0.1:10810'])
  daemon.listeners.splice(0, 1, { kind: 'tcp', host: '::', port: 10810, tls: 'off' })
  machine.disconnect('nbd0')
  t.match(await run(daemon, 'attach web0', machine), { exit: 0 })
  t.same(machine.launched[1]?.slice(1, 3), ['--server', '[::1]:10810'])
})

t.test('it waits until the device has its size', async (t) => {
  await using daemon = await daemonWithDisk()
  const machine = FakeMachine.withDevices(1)
  machine.outcome = () => ({ status: 0, stdout: '', stderr: '' })
  let sleeps = 0
  machine.meanwhile = () => {
    sleeps += 1
    if (sleeps === 1) machine.connect('nbd0', [], 0)
    if (sleeps === 2) machine.connect('nbd0', [], GiB)
  }
  t.match(await run(daemon, 'attach web0', machine), { exit: 0, stdout: '/dev/nbd0\n' })
  t.equal(sleeps, 2)

  machine.disconnect('nbd0')
  machine.meanwhile = () => {}
  t.match(await run(daemon, 'attach web0', machine), { exit: 1, stderr: /dmesg.*\[NBD_CLIENT_FAILED\]/ })
})

t.test('a device with another size than it should have is not left attached', async (t) => {
  await using daemon = await daemonWithDisk()
  const machine = FakeMachine.withDevices(1)
  // The disk grew between the question and the answer.
  machine.attachedBytes = 2 * GiB
  t.match(await run(daemon, 'attach web0', machine), {
    exit: 1,
    stderr: /nbd0 had 2147483648 bytes where web0 has 1073741824, and was let go: try again \[NBD_CLIENT_FAILED\]/,
  })
  t.same(machine.ran[1], [client, '-nonetlink', '-disconnect', '/dev/nbd0'])
  t.same(machine.terminated, [2000], 'its keeper has ended')
  t.equal((await run(daemon, 'attach list', machine)).stdout, 'no nbd device is in use\n')
  machine.attachedBytes = GiB
  t.match(await run(daemon, 'attach web0', machine), { exit: 0, stdout: '/dev/nbd0\n' })
})

t.test('the module is loaded when it is not there', async (t) => {
  await using daemon = await daemonWithDisk()
  const machine = new FakeMachine()
  machine.install(client)
  machine.install('/usr/sbin/modprobe')
  machine.outcome = (file) => {
    if (!file.endsWith('modprobe')) return undefined
    machine.addDevice(0)
    return { status: 0, stdout: '', stderr: '' }
  }
  t.match(await run(daemon, 'attach web0', machine), { exit: 0, stdout: '/dev/nbd0\n' })
  t.same(machine.ran[0], ['/usr/sbin/modprobe', 'nbd'])
})

t.test('each thing that is missing is one line', async (t) => {
  await using daemon = await daemonWithDisk()
  const machine = new FakeMachine()
  const refused = async (line: string, message: RegExp): Promise<void> => {
    const { exit, stderr, stdout } = await run(daemon, line, machine)
    t.equal(exit, 1, line)
    t.equal(stdout, '')
    t.match(stderr, message)
    t.match(stderr, /^thaw: [^\n]+ \[[A-Z_]+\]\n$/)
  }
  machine.uid = 1000
  await refused('attach web0', /only root.*sudo \[NOT_ROOT\]/)
  machine.uid = 0
  await refused('attach web0', /apt install nbd-client \[NBD_CLIENT_MISSING\]/)
  machine.install(client)
  await refused('attach web0', /there is no modprobe.*\[NBD_MODULE_MISSING\]/)
  machine.install('/usr/sbin/modprobe')
  machine.outcome = () => ({
    status: 1,
    stdout: '',
    stderr: 'modprobe: FATAL: Module nbd not found in directory /lib/modules/6.1\n',
  })
  await refused('attach web0', /modprobe nbd: modprobe: FATAL: Module nbd not found.*\[NBD_MODULE_MISSING\]/)

  machine.addDevice(0)
  machine.addDevice(1)
  await refused('attach none', /\[DISK_NOT_FOUND\]/)
  await refused('attach web0@none', /\[SNAPSHOT_NOT_FOUND\]/)
  await refused(
    'attach web0 /dev/nbd5',
    /no \/dev\/nbd5: .* 2 nbd devices, \/dev\/nbd0 to \/dev\/nbd1 \[DEVICE_NOT_FOUND\]/,
  )
  machine.outcome = () => ({
    status: 1,
    stdout: 'Negotiation: ..',
    stderr: 'Error: Socket failed: Connection refused\nExiting.\n',
  })
  await refused(
    'attach web0',
    /could not attach web0 to \/dev\/nbd0: Socket failed: Connection refused \[NBD_CLIENT_FAILED\]/,
  )
  machine.outcome = undefined
  t.same(machine.terminated, [2000], 'its keeper is not left behind')
  machine.keeperFailure = 'thaw-keeper: there is no export web0\n'
  await refused('attach web0', /keeper of \/dev\/nbd0 could not be started: there is no export web0 \[KEEPER_FAILED\]/)
  machine.keeperFailure = null

  machine.connect('nbd0', ['-L', '-N', 'db0', '-u', '/run/x.sock', '/dev/nbd0'])
  await refused('attach web0 /dev/nbd0', /in use by db0 from \/run\/x\.sock.*\[DEVICE_IN_USE\]/)
  machine.connect('nbd1', null)
  await refused('attach web0', /all 2 nbd devices are in use.*\[NO_FREE_DEVICE\]/)

  machine.disconnect('nbd1')
  daemon.listeners.splice(0)
  await refused('attach web0', /--listen-unix.*\[NO_LISTENER\]/)
  t.match(await thaw('attach web0', { control: '/nowhere', system: machine }), { exit: 3 })
})

t.test('a device whose client is reconnecting is not free', async (t) => {
  await using daemon = await daemonWithDisk()
  const machine = FakeMachine.withDevices(2)
  machine.connect('nbd0', ['-L', '-p', '-N', 'db0', 'host', '/dev/nbd0'])
  machine.files.delete('/sys/block/nbd0/pid')
  machine.files.set('/sys/block/nbd0/size', '0')
  t.match(await run(daemon, 'attach web0', machine), { stdout: '/dev/nbd1\n' })
})

t.test('attach list', async (t) => {
  await using daemon = await daemonWithDisk()
  const machine = FakeMachine.withDevices(16)
  t.equal((await run(daemon, 'attach list', machine)).stdout, 'no nbd device is in use\n')
  await run(daemon, 'attach web0 /dev/nbd10', machine)
  await run(daemon, 'attach web0@mon /dev/nbd2', machine)
  machine.files.set('/sys/block/nbd2/ro', '1\n')
  machine.connect('nbd3', null)
  machine.connect('nbd4', ['-L', '-p', '-N', 'db0', 'host', '10810', '/dev/nbd4'])
  machine.files.delete('/sys/block/nbd4/pid')
  machine.files.set('/proc/self/mountinfo', mountinfo('43:320', '/srv/web\\040data', 'ext4', '/dev/nbd10'))
  machine.uid = 1000
  t.equal(
    (await thaw('attach list', { control: '/nowhere', system: machine })).stdout,
    `DEVICE      EXPORT       SIZE  FROM                STATE
/dev/nbd2   web0@mon     1GiB  /run/thaw/nbd.sock  read only
/dev/nbd3   (not known)  1GiB
/dev/nbd4   db0          1GiB  host:10810          reconnecting
/dev/nbd10  web0         1GiB  /run/thaw/nbd.sock  /dev/nbd10 is mounted at /srv/web data
`,
  )
  t.match((await run(daemon, 'attach list --json', machine)).json, {
    devices: [
      { device: '/dev/nbd2', export: 'web0@mon', readOnly: true },
      { export: null },
      {},
      { pid: 1010, uses: { length: 1 } },
    ],
  })
})

t.test('detach', async (t) => {
  await using daemon = await daemonWithDisk()
  const machine = FakeMachine.withDevices(4)
  await run(daemon, 'attach web0', machine)
  machine.connect('nbd1', null)
  await run(daemon, 'attach web0@mon', machine)
  machine.ran.length = 0
  const away = { control: '/nowhere', system: machine }
  t.same(await thaw('detach web0', away), { exit: 0, stdout: '/dev/nbd0 detached\n', stderr: '' }, 'needs no daemon')
  t.same((await thaw('detach /dev/nbd1 --json', away)).json, { detached: '/dev/nbd1' })
  t.match(await thaw('detach web0@mon', away), { stdout: '/dev/nbd2 detached\n' })
  t.same(machine.ran, [
    [client, '-nonetlink', '-disconnect', '/dev/nbd0'],
    [client, '-disconnect', '/dev/nbd1'],
    [client, '-nonetlink', '-disconnect', '/dev/nbd2'],
  ])
  t.match(await thaw('detach web0', away), { exit: 1, stderr: /'web0' is not attached here.*\[NOT_ATTACHED\]/ })
  t.match(await thaw('detach /dev/nbd0', away), {
    exit: 1,
    stderr: /nothing is attached to \/dev\/nbd0.*\[NOT_ATTACHED\]/,
  })
  await run(daemon, 'attach web0', machine)
  await run(daemon, 'attach web0', machine)
  t.match(await thaw('detach web0', away), { exit: 1, stderr: /\/dev\/nbd0, \/dev\/nbd1.*\[NOT_ATTACHED\]/ })
  machine.uid = 1000
  t.match(await thaw('detach /dev/nbd0', away), { exit: 1, stderr: /\[NOT_ROOT\]/ })
})

t.test('detach refuses what is in use and says by what', async (t) => {
  await using daemon = await daemonWithDisk()
  const machine = FakeMachine.withDevices(2)
  await run(daemon, 'attach web0', machine)
  machine.ran.length = 0
  const refused = async (path: string, text: string, message: RegExp): Promise<void> => {
    machine.files.set(path, text)
    t.match(await run(daemon, 'detach web0', machine), { exit: 1, stderr: message })
    machine.files.delete(path)
  }
  const mounts = '/proc/self/mountinfo'
  await refused(
    mounts,
    mountinfo('43:0', '/srv', 'ext4', '/dev/nbd0'),
    /\/dev\/nbd0 is mounted at \/srv; unmount.*\[DEVICE_IN_USE\]/,
  )
  await refused(mounts, mountinfo('43:0', '/srv', 'ext4', '/dev/disk/by-uuid/x'), /mounted at \/srv/)
  await refused(mounts, mountinfo('0:52', '/srv', 'btrfs', '/dev/nbd0'), /mounted at \/srv/)
  await refused('/sys/block/nbd0/holders/dm-3', '', /\/dev\/nbd0 is held by \/dev\/dm-3/)
  await refused('/proc/swaps', 'Filename Type\n/dev/nbd0\tpartition\t1\t0\t-2\n', /\/dev\/nbd0 is swap space/)

  machine.files.set('/sys/block/nbd0/nbd0p1/dev', '43:1\n')
  await refused(mounts, mountinfo('43:1', '/srv', 'ext4', '/dev/nbd0p1'), /\/dev\/nbd0p1 is mounted at \/srv/)
  await refused('/sys/block/nbd0/nbd0p1/holders/dm-0', '', /\/dev\/nbd0p1 is held by \/dev\/dm-0/)
  await refused('/proc/swaps', 'Filename Type\n/dev/nbd0p1 partition 1 0 -2\n', /\/dev\/nbd0p1 is swap space/)

  t.equal(machine.ran.length, 0, 'nothing was disconnected')
  machine.files.set(mounts, mountinfo('43:32', '/srv', 'ext4', '/dev/nbd1'))
  t.match(await run(daemon, 'detach web0', machine), { exit: 0 }, 'that is another device')
})

t.test('a client that goes on reconnecting is ended', async (t) => {
  await using daemon = await daemonWithDisk()
  const machine = FakeMachine.withDevices(1)
  await run(daemon, 'attach web0', machine)
  machine.files.delete('/sys/block/nbd0/pid')
  machine.outcome = () => ({ status: 1, stdout: '', stderr: 'Error: Ioctl failed: Invalid argument\nExiting.\n' })
  t.match(await run(daemon, 'detach web0', machine), { exit: 0, stdout: '/dev/nbd0 detached\n' })
  t.same(machine.terminated, [1000])
})

t.test('a kernel that takes its time is waited for, and a terminal says so', async (t) => {
  await using daemon = await daemonWithDisk()
  for (const options of [{ columns: 80 }, {}]) {
    const machine = FakeMachine.withDevices(1)
    await run(daemon, 'attach web0', machine)
    machine.outcome = () => ({ status: 0, stdout: '', stderr: '' })
    machine.meanwhile = () => {
      if (machine.slept > 50_000) machine.disconnect('nbd0')
    }
    const { exit, stdout, stderr } = await thaw('detach web0', { system: machine, ...options })
    t.same([exit, stdout], [0, '/dev/nbd0 detached\n'])
    if (options.columns === undefined) t.equal(stderr, '')
    else {
      t.match(stderr, 'waiting for the kernel to let web0 go: 1 s')
      t.match(stderr, 'waiting for the kernel to let web0 go: 50 s')
      t.ok(stderr.endsWith('\r\x1b[K'), 'the line is removed')
    }
  }
})

t.test('a device that does not go is told', async (t) => {
  await using daemon = await daemonWithDisk()
  const machine = FakeMachine.withDevices(1)
  await run(daemon, 'attach web0', machine)
  machine.outcome = () => ({
    status: 1,
    stdout: '',
    stderr: 'Error: Ioctl failed: Device or resource busy\nExiting.\n',
  })
  t.match(await run(daemon, 'detach web0', machine), {
    exit: 1,
    stderr: /still there: Ioctl failed.*\[NBD_CLIENT_FAILED\]/,
  })
  t.same(machine.terminated, [])
})

function mountinfo(number: string, point: string, type: string, source: string): string {
  return [
    '22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw',
    `36 22 ${number} / ${point} rw,noatime shared:2 master:1 - ${type} ${source} rw,errors=continue`,
    '',
  ].join('\n')
}
