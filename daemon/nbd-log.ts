/** What happens on NBD connections, as lines of the log. */
import type { Log } from './log.ts'
import type { NbdListenerEvents } from './nbd-listener.ts'
import type { RequestLog } from './request-log.ts'

export function nbdEvents(log: Log, requests: RequestLog): NbdListenerEvents {
  return {
    attached: ({ address, exportName, id }) => {
      log.notice('client attached', { client: address, export: exportName, id })
    },
    detached: ({ address, exportName, id, since, counters }) => {
      const seconds = Math.round((Date.now() - since.getTime()) / 1000)
      const { requests: count, errors, bytesRead, bytesWritten } = counters
      const fields = {
        client: address,
        export: exportName,
        id,
        seconds,
        requests: count,
        errors,
        bytesRead,
        bytesWritten,
      }
      log.notice('client detached', fields)
    },
    refused: ({ address }, exportName, reason) => {
      log.warning('client refused', { client: address, export: exportName ?? undefined, reason })
    },
    violated: ({ address, exportName }, reason) => {
      log.warning('client broke the protocol and was disconnected', {
        client: address,
        export: exportName ?? undefined,
        reason,
      })
    },
    failed: (_client, request, error) => requests.failed(request, error),
    slow: (_client, request, millis) => requests.slow(request, millis),
    hanging: (_client, request, millis) => requests.hanging(request, millis),
    error: (error) => log.error('a connection failed', { error }),
  }
}
