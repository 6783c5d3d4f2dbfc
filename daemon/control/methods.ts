import { diskMethods } from './disk-methods.ts'
import { ControlError } from './errors.ts'
import { hydrationMethods } from './hydration-methods.ts'
import type { Method, MethodContext, Methods } from './method.ts'
import { readParameters } from './parameters.ts'
import type { ControlRequest } from './request.ts'
import { snapshotMethods } from './snapshot-methods.ts'
import { daemonStatus } from './status.ts'
import type { ControlMethod, ResultOf } from './wire.ts'

const methods: Methods<ControlMethod> = {
  status: { fields: {}, run: (_, { target }) => daemonStatus(target) },
  clients: { fields: {}, run: (_, { target }) => ({ clients: target.clients() }) },
  ...diskMethods,
  ...snapshotMethods,
  ...hydrationMethods,
}

/** Executes one request: looks the method up, reads the parameters, runs it, logs what it changed. Throws what `errorObject` understands. */
export async function execute(request: ControlRequest, context: MethodContext): Promise<ResultOf<ControlMethod>> {
  if (!Object.hasOwn(methods, request.method)) {
    throw new ControlError(
      'METHOD_NOT_FOUND',
      `there is no method '${request.method.slice(0, 64)}'; daemon/CONTROL.md lists them`,
    )
  }
  // The table ties each method to its own types; which one this is only shows at run time.
  const method = methods[request.method as ControlMethod] as unknown as Method<'clients'>
  const params = readParameters(request.params, method.fields)
  const result = await method.run(params, context)
  const line = method.logLine?.(params, result) ?? ''
  if (line !== '') context.target.log.notice(line)
  return result
}
