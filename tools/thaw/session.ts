import { createInterface } from 'node:readline/promises'
import type { ControlClient } from '../control-client.ts'
import type { ControlMethod, ParamsOf, ResultOf } from '../../daemon/control/wire.ts'
import { connectToDaemon, controlPaths } from './control-socket.ts'
import { refused, wrongUsage } from './failure.ts'
import type { Surroundings } from './surroundings.ts'

/** One run of the program: the daemon, and the two ways of answering. */
export class Session implements AsyncDisposable {
  readonly surroundings: Surroundings
  json = false
  controlPath: string | undefined
  /** Part of the answer is out: what goes wrong from here on is told on standard error alone. */
  answering = false
  #client: Promise<ControlClient> | undefined

  constructor(surroundings: Surroundings) {
    this.surroundings = surroundings
  }

  /** The connection, made when first needed. Throws Failure DAEMON_NOT_REACHABLE. */
  get daemon(): Promise<ControlClient> {
    this.#client ??= connectToDaemon(controlPaths(this.controlPath, this.surroundings.env))
    return this.#client
  }

  async call<M extends ControlMethod>(method: M, params: ParamsOf<M>): Promise<ResultOf<M>> {
    return await (await this.daemon).call(method, params)
  }

  /** The command's one answer: the document with `--json`, else lines for people. */
  answer(document: object, lines: () => readonly string[]): void {
    this.write(this.json ? [JSON.stringify(document, null, 2)] : lines())
  }

  /** A part of an answer that is written while it comes. */
  writePart(lines: readonly string[]): void {
    this.answering = true
    this.write(lines)
  }

  write(lines: readonly string[]): void {
    if (lines.length > 0) this.surroundings.stdout.write(`${lines.join('\n')}\n`)
  }

  /**
   * Asks on a terminal; elsewhere `--yes` must have been said. Throws Failure:
   * usage without `--yes`, NOT_CONFIRMED when the answer was no.
   */
  async confirm(question: string, yes: boolean): Promise<void> {
    if (yes) return
    const { stdin, stderr } = this.surroundings
    if (stdin.isTTY !== true || stderr.isTTY !== true) {
      throw wrongUsage(`this deletes data and there is no terminal to ask at; say --yes if that is meant (${question})`)
    }
    const terminal = createInterface({ input: stdin, output: stderr as NodeJS.WriteStream })
    try {
      const said = await terminal.question(`${question} [y/N] `)
      if (!/^y(es)?$/i.test(said.trim())) throw refused('NOT_CONFIRMED', 'nothing was deleted')
    } finally {
      terminal.close()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const client = await this.#client?.catch(() => undefined)
    await client?.[Symbol.asyncDispose]()
  }
}
