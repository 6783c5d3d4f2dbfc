/** What the store tells, as lines of the log. */
import type { StoreEvent } from '../storage/contract.ts'
import type { Log } from './log.ts'

export function logStoreEvent(log: Log, event: StoreEvent): void {
  switch (event.type) {
    case 'recovered': {
      const { records, bytes, millis } = event
      return log.info('recovered from the log', { records, bytes, millis: Math.round(millis) })
    }
    case 'hydration-started':
      return log.info('hydration started', { disk: event.disk, origin: event.origin })
    case 'hydration-finished':
      return log.notice('hydration finished: the disk stands alone', { disk: event.disk, origin: event.origin })
    case 'hydration-state': {
      const { disk, state, reason } = event
      const worth = state === 'retrying' || state === 'paused: no space' ? 'warning' : 'info'
      return log[worth](`hydration ${state}`, { disk, reason: reason ?? undefined })
    }
    case 'no-space':
      return log.error(
        'the file system is full: writes, discards and deleting are refused until somebody makes room; reads go on',
        {
          code: 'NO_SPACE',
        },
      )
    case 'space-back':
      return log.notice('there is room again: writes go on')
    case 'chunk-damaged': {
      const { disk, offset, detail } = event
      return log.error('a chunk is damaged', { code: 'CHUNK_DAMAGED', disk, offset, detail })
    }
    case 'index-failed':
      return log.error('the index failed: it is opened again, and I/O goes on from memory and log meanwhile', {
        error: event.error,
      })
    case 'index-reopened':
      return log.notice('the index is open again', { error: event.error })
    case 'reading-thread-lost':
      return log.warning('the reading thread is lost: reads take another way, and more time, until the next start', {
        error: event.error,
      })
    case 'failed':
      return log.critical('a write to the data directory failed: nothing more is accepted, and the process ends', {
        error: event.error,
      })
  }
}
