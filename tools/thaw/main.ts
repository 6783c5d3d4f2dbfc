import yargs from 'yargs'
import { ControlConnectionLost, ControlRefusal } from '../control-client.ts'
import { QuantityError } from '../../daemon/quantities.ts'
import { commands } from './commands.ts'
import { completionsAsked, nameCompletions } from './completion.ts'
import { exitCodes, Failure, wrongUsage } from './failure.ts'
import type { ExitCode } from './failure.ts'
import { Session } from './session.ts'
import type { Surroundings } from './surroundings.ts'
import { programVersion } from './version.ts'

/** Help is easiest to read in lines of this many characters, also on wide terminals. */
const helpColumnsMax = 110

/** Runs one command line (without node and script) and returns what to exit with. Never throws for what a person can cause. */
export async function main(words: readonly string[], surroundings: Surroundings): Promise<ExitCode> {
  await using session = new Session(surroundings)
  try {
    await parse(words, session)
    return exitCodes.done
  } catch (error) {
    return report(error, words, session)
  }
}

async function parse(words: readonly string[], session: Session): Promise<void> {
  const { stdout } = session.surroundings
  let failure: unknown
  const parser = yargs()
    .scriptName('thaw')
    .usage('thaw: disks over NBD, with snapshots that are restored at once')
    .parserConfiguration({
      // Names and sizes are texts, also when they look like numbers.
      'parse-numbers': false,
      'parse-positional-numbers': false,
      'boolean-negation': false,
      'dot-notation': false,
    })
    .option('control', {
      type: 'string',
      requiresArg: true,
      describe: "the daemon's control socket [$THAW_CONTROL, or where thawd puts it]",
    })
    .option('json', { type: 'boolean', describe: 'print one JSON document' })
    .middleware((args) => {
      const { control } = args as { control?: unknown }
      if (Array.isArray(control)) throw wrongUsage('control is given more than once')
      session.json = args['json'] === true
      session.controlPath = typeof control === 'string' ? control : undefined
    })
    .demandCommand(1, 'say what to do')
    .strict()
    .recommendCommands()
    .completion('completion', 'Print a script that completes commands and names in your shell')
    .example('$0 disk create web0 20GiB', 'a disk, and the NBD export web0')
    .example('$0 snapshot create web0@monday', 'freeze it as it is')
    .example('$0 restore web0@monday copy0', 'a second disk of it, at once')
    .version(programVersion())
    .alias('help', 'h')
    .updateStrings({
      'Not enough non-option arguments: got %s, need at least %s': {
        one: 'something is missing: %s given, %s needed',
        other: 'something is missing: %s given, %s needed',
      } as unknown as string,
      'Unknown argument: %s': { one: 'unknown: %s', other: 'unknown: %s' } as unknown as string,
      'Unknown command: %s': { one: 'unknown: %s', other: 'unknown: %s' } as unknown as string,
      'Did you mean %s?': 'there is no such command; did you mean %s?',
    })
    .wrap(Math.min(stdout.columns ?? 80, helpColumnsMax))
    .exitProcess(false)
    .fail(false)
  for (const command of commands) {
    const { handler, ...module } = command(session)
    parser.command({ ...module, handler })
  }

  let printed = ''
  await parser.parseAsync([...words], {}, (error: unknown, _args: unknown, output: string) => {
    failure ??= error
    printed += output === '' || output.endsWith('\n') ? output : `${output}\n`
  })
  if (failure !== undefined && failure !== null) throw failure
  const asked = completionsAsked(words)
  if (asked !== null) printed = (await nameCompletions(asked, session)).map((name) => `${name}\n`).join('') + printed
  if (printed !== '') stdout.write(printed)
}

/** Says what went wrong in one line, and as the document when one was asked for. */
function report(error: unknown, words: readonly string[], session: Session): ExitCode {
  const { exitCode, code, message, details } = failureOf(error, words, session)
  const { stdout, stderr } = session.surroundings
  const line = message.replaceAll(/\p{Cc}+/gu, ' ').trim()
  // The parser may have failed before it saw the option.
  const json = session.json || words.includes('--json')
  if (json && !session.answering)
    stdout.write(`${JSON.stringify({ error: { code, message: line, details } }, null, 2)}\n`)
  stderr.write(`thaw: ${line} [${code}]\n`)
  return exitCode
}

function failureOf(
  error: unknown,
  words: readonly string[],
  session: Session,
): Pick<Failure, 'exitCode' | 'code' | 'message' | 'details'> {
  if (error instanceof Failure) return error
  if (error instanceof ControlRefusal) {
    const { code, message, details } = error
    return { exitCode: exitCodes.refused, code, message, details }
  }
  if (error instanceof QuantityError)
    return { exitCode: exitCodes.usage, code: error.code, message: error.message, details: {} }
  if (error instanceof ControlConnectionLost) {
    return {
      exitCode: exitCodes.notReachable,
      code: 'CONNECTION_LOST',
      message: `${error.message}; whether it was done is not known`,
      details: {},
    }
  }
  // The system's errors have a code; a fault of ours shows where it is. What is left is the parser's.
  const { code, stack, message } = error as NodeJS.ErrnoException
  if (code !== undefined) return { exitCode: exitCodes.refused, code, message, details: {} }
  if (error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError) {
    return { exitCode: exitCodes.refused, code: 'INTERNAL_ERROR', message: stack ?? message, details: {} }
  }
  return {
    exitCode: exitCodes.usage,
    code: 'USAGE',
    message: `${lowerFirst(message)}; see ${helpFor(words, session)}`,
    details: {},
  }
}

/** The page of help that is nearest to what was typed. */
function helpFor(words: readonly string[], session: Session): string {
  const known = commands.map((command) => String(command(session).command).split(' ')[0])
  const word = words.find((each) => known.includes(each))
  return word === undefined ? 'thaw --help' : `thaw ${word} --help`
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1)
}
