import type { HydrationInfo } from '../../storage/contract.ts'
import type { HydrationOutcome } from '../../daemon/control/wire.ts'
import { exitCodes, Failure, refused } from './failure.ts'
import { ProgressBar } from './progress-bar.ts'
import type { Session } from './session.ts'
import { formatPercent } from './words.ts'

/**
 * Waits until all of a disk's data are its own and durable, drawing a bar when
 * standard error is a terminal. Throws Failure TIMEOUT (copying goes on), DISK_NOT_FOUND
 * when it is deleted meanwhile, DAEMON_NOT_REACHABLE when the daemon stops.
 */
export async function waitForHydration(
  session: Session,
  disk: string,
  timeoutSeconds: number | undefined,
): Promise<{ disk: string; outcome: 'complete' }> {
  const daemon = await session.daemon
  const { stderr, env } = session.surroundings
  const bar = stderr.isTTY === true && !session.json ? new ProgressBar(stderr, env) : null
  let last: HydrationInfo | null = null
  const progress = (hydration: HydrationInfo | null): void => {
    last = hydration
    if (hydration !== null) bar?.draw(hydration)
  }

  let timer: NodeJS.Timeout | undefined
  const stopListening: (() => void)[] = []
  try {
    const outcome = await new Promise<HydrationOutcome | 'timeout' | 'lost'>((resolve, reject) => {
      stopListening.push(
        daemon.on('hydration.progress', ({ hydration }) => progress(hydration)),
        daemon.on('hydration.end', ({ outcome }) => resolve(outcome)),
      )
      daemon.call('hydration.subscribe', { disk }).then(({ hydration }) => progress(hydration), reject)
      void daemon.ended.then(() => resolve('lost'))
      if (timeoutSeconds !== undefined) timer = setTimeout(() => resolve('timeout'), timeoutSeconds * 1000)
    })
    if (outcome !== 'complete') throw failureOf(outcome, disk, last)
    return { disk, outcome }
  } finally {
    clearTimeout(timer)
    for (const stop of stopListening) stop()
    bar?.clear()
  }
}

function failureOf(
  outcome: Exclude<HydrationOutcome, 'complete'> | 'timeout' | 'lost',
  disk: string,
  last: HydrationInfo | null,
): Failure {
  switch (outcome) {
    case 'deleted':
      return refused('DISK_NOT_FOUND', `disk ${disk} was deleted meanwhile`)
    case 'timeout': {
      const done =
        last === null || last.completionPercent === null ? '' : ` and is at ${formatPercent(last.completionPercent)}`
      return new Failure(
        exitCodes.timeout,
        'TIMEOUT',
        `copying goes on${done}; look again with: thaw hydration show ${disk}`,
        {
          details: { hydration: last },
        },
      )
    }
    case 'stopping':
    case 'lost':
      return new Failure(
        exitCodes.notReachable,
        'DAEMON_NOT_REACHABLE',
        'the daemon stopped; copying goes on when it is started again',
      )
  }
}
