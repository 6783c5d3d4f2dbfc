import { formatSize, formatTime } from '../../../daemon/quantities.ts'
import type { DaemonStatus, ListenerInfo } from '../../../daemon/control/wire.ts'
import { command } from '../command.ts'
import { table } from '../table.ts'
import { count, diskInWords, formatMoment } from '../words.ts'

/** Rows of a table: with both tables full it is still one screen. */
const rowsMax = 12

export const status = command({
  command: 'status',
  describe: 'Show disks, hydrations, clients, space and warnings on one screen',
  builder: (yargs) =>
    yargs.example('$0 status', 'a look at everything').example('$0 status --json', 'the same for a program'),
  run: async (_, session) => {
    const result = await session.call('status', {})
    session.answer(result, () => statusLines(result))
  },
})

export function statusLines(status: DaemonStatus): string[] {
  const { space, disks, clients, listeners, states, warnings } = status
  return [
    `thawd ${status.version}, up ${formatTime(status.uptimeSeconds)}, data in ${status.dataDirectory}${states.map((state) => `, ${state}`).join('')}`,
    `listens at ${listeners.length === 0 ? 'no address' : listeners.map(listenerAddress).join(', ')}`,
    `space: ${formatSize(space.provisionedBytes)} provisioned, ${formatSize(space.storedBytes)} stored; ${formatSize(space.freeBytes)} of ${formatSize(space.totalBytes)} free, ${formatSize(space.reserveBytes)} in reserve`,
    ...warnings.map((warning) => `warning: ${warning}`),
    '',
    ...(disks.length === 0 ? ['no disks; thaw disk create NAME SIZE makes one'] : diskLines(status)),
    '',
    ...(clients.length === 0 ? ['no clients'] : clientLines(status)),
  ]
}

function diskLines({ disks, clients, snapshotCount }: DaemonStatus): string[] {
  const rows = disks.slice(0, rowsMax).map((disk) => {
    const attached = clients.filter((client) => client.disk === disk.name && client.snapshot === null).length
    return [disk.name, formatSize(disk.sizeBytes), String(disk.snapshotCount), String(attached), diskInWords(disk)]
  })
  const columns = [
    { title: 'DISK' },
    { title: 'SIZE', align: 'right' },
    { title: 'SNAPSHOTS', align: 'right' },
    { title: 'CLIENTS', align: 'right' },
    { title: 'STATE' },
  ] as const
  const more = disks.length - rows.length
  if (more === 0) return table(columns, rows)
  return [...table(columns, rows), `and ${more} more (${count(snapshotCount, 'snapshot')} in all): thaw disk list`]
}

function clientLines({ clients }: DaemonStatus): string[] {
  const shown = clients.slice(0, rowsMax)
  const more = clients.length - shown.length
  const rows = shown.map((each) => [
    each.address,
    each.export,
    each.readOnly ? 'read only' : '',
    formatMoment(each.attachedAt),
  ])
  return [
    ...table([{ title: 'CLIENT' }, { title: 'EXPORT' }, { title: '' }, { title: 'SINCE' }], rows),
    ...(more === 0 ? [] : [`and ${more} more: thaw status --json`]),
  ]
}

function listenerAddress(listener: ListenerInfo): string {
  if (listener.kind === 'unix') return listener.path
  const { host, port, tls } = listener
  return `${host.includes(':') ? `[${host}]` : host}:${port}${tls === 'off' ? '' : ' (TLS)'}`
}
