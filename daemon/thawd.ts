/**
 * The daemon process: reads what it was told, starts, waits for a reason to
 * stop, stops. Everything that ends the process is on this page.
 *
 * Start it through `tools/bin/thawd.cjs`, which gives libuv a larger thread pool; see there why that cannot be done here.
 */
import { readFileSync } from 'node:fs'
import process from 'node:process'
import { openStore } from '../storage/open.ts'
import { activatedSockets } from './activation.ts'
import { configure } from './configuration.ts'
import { exitCodes, type ExitCode } from './exit-codes.ts'
import { greeting } from './greeting.ts'
import { Daemon, makeStore, type DaemonOptions } from './lifecycle.ts'
import {
  createLog,
  errorCode,
  errorText,
  standardErrorIsJournal,
  writeToStandardError,
  type Log,
  type LogLevel,
} from './log.ts'
import { joinSources, readCommandLine, readConfigurationFile, readEnvironment } from './option-sources.ts'
import { onStopSignals } from './signals.ts'
import { UsageError } from './usage-error.ts'

/** After a write to the data directory failed: long enough that clients hear of it, short enough that they need not wait for the restart. */
const failedGraceMillis = 5000

const journal = standardErrorIsJournal(process.env)
const isRoot = process.geteuid?.() === 0
let log = newLog('info')
let storeFailed = false

for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  // Our own state is not known any more: recovery from the log is safer than going on, or than an orderly stop.
  process.on(event, (error: unknown) => {
    const stack = error instanceof Error ? error.stack : undefined
    log.critical(`a fault in thawd (${event}): ${errorText(error)}`, { code: errorCode(error), stack })
    process.exit(exitCodes.failed)
  })
}

process.exit(await main())

async function main(): Promise<ExitCode> {
  const version = packageVersion()
  try {
    const commandLine = await readCommandLine(process.argv.slice(2), version)
    if (commandLine.command === 'shown') return exitCodes.stopped
    const file = readConfigurationFile(commandLine.config, process.env)
    const given = joinSources(commandLine.options, readEnvironment(process.env), file)
    const configuration = configure(given, { environment: process.env, isRoot })
    log = newLog(configuration.logLevel)
    const options: DaemonOptions = {
      configuration,
      activated: activatedSockets(process.env, process.pid),
      log,
      version,
      openStore,
      onStoreFailed: () => {
        storeFailed = true
        setTimeout(() => process.exit(exitCodes.storeFailed), failedGraceMillis)
      },
    }
    if (commandLine.command === 'serve') return await serve(options)
    await makeStore(options)
    log.notice('store made', { data: configuration.dataDirectory })
    return exitCodes.stopped
  } catch (error) {
    return reportFailure(error)
  }
}

async function serve(options: DaemonOptions): Promise<ExitCode> {
  const { configuration } = options
  if (process.env['UV_THREADPOOL_SIZE'] === undefined) {
    log.notice(
      'UV_THREADPOOL_SIZE is not set: 4 threads do all file I/O, so slow writes hold up reads; start thawd through its own command',
    )
  }
  const stopAsked = new Promise<void>((resolve) => {
    onStopSignals({
      first: (signal) => {
        log.notice('stopping', { signal })
        resolve()
      },
      second: (signal) => {
        log.warning('stopping at once: what was flushed is safe, the rest was never promised', { signal })
        process.exit(exitCodes.failed)
      },
    })
  })
  const daemon = await Daemon.start(options)
  if (!journal) {
    const { store, listeners, controlPath } = daemon
    // `npm start | head` is no reason to end.
    process.stdout.on('error', () => {})
    process.stdout.write(
      greeting({
        dataDirectory: configuration.dataDirectory,
        listeners,
        controlPath,
        controlIsUsual: !configuration.controlPathGiven,
        isRoot,
        disk: store.defaultDisk ?? store.disks()[0]?.name ?? null,
        inCheckout: process.env['npm_lifecycle_event'] !== undefined,
      }),
    )
  }
  await stopAsked
  await daemon.stop()
  if (storeFailed) {
    log.error('stopped after a failure of the store: the next start recovers')
    return exitCodes.storeFailed
  }
  log.notice('stopped')
  return exitCodes.stopped
}

/** One line: what, why, what to do. */
function reportFailure(error: unknown): ExitCode {
  if (error instanceof UsageError) {
    writeToStandardError(`${journal ? '<3>' : ''}thawd: ${errorText(error)}\n`)
    return exitCodes.usage
  }
  log.error(errorText(error), { code: errorCode(error) })
  return storeFailed ? exitCodes.storeFailed : exitCodes.failed
}

function newLog(level: LogLevel): Log {
  return createLog({ level, journal, write: writeToStandardError })
}

function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}
