import { StoreError } from '../../storage/errors.ts'
import { formatRate } from '../quantities.ts'
import { ControlError } from './errors.ts'
import type { MethodContext, Methods } from './method.ts'
import { number, rate, text } from './parameters.ts'
import type { ResultOf } from './wire.ts'

type HydrationMethod =
  | 'hydration.list'
  | 'hydration.show'
  | 'hydration.set'
  | 'hydration.pause'
  | 'hydration.resume'
  | 'hydration.subscribe'
  | 'hydration.unsubscribe'

/** Of one connection. */
export const subscriptionsMax = 64

export const hydrationMethods: Methods<HydrationMethod> = {
  'hydration.list': {
    fields: {},
    run: (_, { target }) => ({ hydrations: target.store.hydrations() }),
  },

  'hydration.show': {
    fields: { disk: text },
    run: ({ disk }, { target }) => ({ hydration: target.store.hydration(disk) }),
  },

  'hydration.set': {
    fields: { disk: text, rate },
    run: ({ disk, rate }, context) => change(context, disk, { rate }),
    logLine: (_, { hydration }) => `hydration of ${hydration.disk}: ${formatRate(hydration.rate)}`,
  },

  'hydration.pause': {
    fields: { disk: text },
    run: ({ disk }, context) => change(context, disk, { paused: true }),
    logLine: ({ disk }) => `hydration of ${disk}: paused`,
  },

  'hydration.resume': {
    fields: { disk: text },
    run: ({ disk }, context) => change(context, disk, { paused: false }),
    logLine: ({ disk }) => `hydration of ${disk}: resumed`,
  },

  'hydration.subscribe': {
    fields: { disk: text },
    run: ({ disk: name }, { target, progress, connection }) => {
      const disk = target.store.disk(name)
      if (disk.linked) {
        throw new StoreError(
          'NOT_HYDRATING',
          `disk ${name} is linked to ${disk.origin ?? 'its snapshot'}: it reads through it for good and copies nothing`,
        )
      }
      if (connection.subscriptionCount >= subscriptionsMax) {
        throw new ControlError(
          'TOO_MANY_SUBSCRIPTIONS',
          `this connection has ${subscriptionsMax} subscriptions already: end one, or open another connection`,
        )
      }
      return { subscription: progress.subscribe(disk, connection), hydration: disk.hydration }
    },
  },

  'hydration.unsubscribe': {
    fields: { subscription: number },
    run: ({ subscription }, { connection }) => {
      connection.endSubscription(subscription)
      return {}
    },
  },
}

async function change(
  { target, progress }: MethodContext,
  disk: string,
  what: { rate?: number | null; paused?: boolean },
): Promise<ResultOf<'hydration.set'>> {
  const hydration = await target.store.setHydration(disk, what)
  progress.changed(disk)
  return { hydration }
}
