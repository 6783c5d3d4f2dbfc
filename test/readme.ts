/**
 * The README's commands, run as they stand there and in their order: `npm start`,
 * every `sh` block, and every `thaw ...` in the text. Only port 10809, the data
 * directory and the control socket are not those of the machine: the commands
 * run in a network of their own, with the environment that a unit would set.
 * Blocks marked `sh machine` need /dev/nbdX and are run in the virtual machine.
 */

import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import t from 'tap'
import { readmeCommands } from './fixtures/readme-commands.ts'
import { needs } from './fixtures/tools.ts'

const checkout = path.resolve(import.meta.dirname, '..', '..')
const millisMax = 180_000
t.setTimeout(millisMax)

t.test('every command of the README does what it says', needs('unshare', 'nbdcopy', 'qemu-img', 'ip'), async (t) => {
  const directory = mkdtempSync(path.join(tmpdir(), 'thaw-readme-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  // `npx thaw` and `npm start` are typed in a checkout; images are made beside it.
  for (const name of ['package.json', 'package-lock.json', 'node_modules', 'dist', 'tools', 'tsconfig.json']) {
    symlinkSync(path.join(checkout, name), path.join(directory, name))
  }
  writeFileSync(path.join(directory, 'image.raw'), randomBytes(1024 * 1024))

  const commands = readmeCommands(readFileSync(path.join(checkout, 'README.md'), 'utf8')).filter(
    ({ where, line }) => where === 'host' && !/^npm (start|test)\b/.test(line),
  )
  t.ok(commands.length >= 15, `${commands.length} commands found`)
  const { code, output } = await run(script(commands.map(({ line }) => line)), directory)
  t.equal(code, 0, output)
  t.match(output, /the same/, 'the copy holds what the disk held')
})

/** Stops at the first command that fails; the line before its output says which it was. */
function script(lines: string[]): string {
  return [
    'set -euo pipefail',
    'ip link set lo up',
    'npm start > start.log 2>&1 & daemon=$!',
    `trap 'kill $daemon 2> /dev/null && wait $daemon || true; cat start.log' EXIT`,
    'for i in $(seq 600); do node dist/tools/thaw.js status > /dev/null 2>&1 && break; sleep 0.1; done',
    // npx takes over a second each time; that it works is seen once.
    'npx() { if [ -e npx-seen ]; then shift; node dist/tools/thaw.js "$@"; else touch npx-seen; command npx "$@"; fi; }',
    'thaw() { npx thaw "$@"; }',
    ...lines.flatMap((line) => [`echo ${quote(`$ ${line}`)}`, line]),
  ].join('\n')
}

function run(text: string, directory: string): Promise<{ code: number | string; output: string }> {
  const control = path.join(directory, 'control.sock')
  const env = {
    ...process.env,
    STATE_DIRECTORY: path.join(directory, 'data'),
    RUNTIME_DIRECTORY: directory,
    THAW_CONTROL: control,
  }
  return new Promise((resolve) => {
    execFile(
      'unshare',
      ['--net', 'bash', '-c', text],
      { cwd: directory, env, timeout: millisMax, maxBuffer: 1 << 24 },
      (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : (error.code ?? 'killed'), output: stdout + stderr }),
    )
  })
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}
