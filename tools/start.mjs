/**
 * `npm start`: installs and builds when needed, then runs the daemon with a
 * demo disk on the port that NBD clients expect. Further arguments go to the
 * daemon: `npm start -- --data /srv/thaw`.
 */

import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { prepare, root, runMain } from './prepare.mjs'

/** libuv reads this once and before any of our code runs, so it has to be in the environment. Most store I/O waits in this pool. */
const threadPoolSize = process.env.UV_THREADPOOL_SIZE ?? '16'

/**
 * Ctrl-C reaches npm and this process from the terminal and once more from npm.
 * The daemon takes a second signal for "stop at once", so repetitions within
 * this time are one.
 */
const sameSignalMillis = 500

await runMain(() => {
  prepare()
  const daemon = spawn(
    process.execPath,
    [
      path.join(root, 'dist', 'daemon', 'thawd.js'),
      '--init',
      '--demo-disk=disk0=10GiB',
      '--listen=127.0.0.1:10809',
      ...process.argv.slice(2),
    ],
    {
      stdio: 'inherit',
      env: { ...process.env, UV_THREADPOOL_SIZE: threadPoolSize },
      // Out of the terminal's process group, so that signals come through here only, each once.
      detached: true,
    },
  )

  let passedOnAt = -Infinity
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
    process.on(signal, () => {
      const now = performance.now()
      if (now - passedOnAt < sameSignalMillis) return
      passedOnAt = now
      // A closed terminal is a reason to stop cleanly.
      daemon.kill(signal === 'SIGHUP' ? 'SIGTERM' : signal)
    })
  }
  daemon.on('error', (error) => {
    console.error(`thaw: the daemon could not be started: ${error.message}`)
    process.exitCode = 1
  })
  daemon.on('exit', (code, signal) => {
    process.exitCode = signal === null ? (code ?? 1) : 128 + constants.signals[signal]
  })
})
