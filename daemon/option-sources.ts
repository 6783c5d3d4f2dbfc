/**
 * The three places an option is read from: command line, environment,
 * configuration file. Each gives the same thing, the options found there as
 * texts with the place where they stand, so that an error can name it; the
 * first place that has an option wins, as a whole (lists are not joined).
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import yargs from 'yargs'
import { environmentName, fileKey, optionNames, optionSpec, type OptionName } from './options.ts'
import { UsageError } from './usage-error.ts'

/** An option as somebody wrote it. A flag is `true` or `false`. */
export interface GivenOption {
  readonly texts: readonly string[]
  /** `--cache`, `$THAWD_CACHE`, `cache in /etc/thaw/thawd.json`. */
  readonly where: string
}

export type GivenOptions = ReadonlyMap<OptionName, GivenOption>

export interface CommandLine {
  readonly command: 'serve' | 'init' | 'shown'
  readonly config: string | null
  readonly options: GivenOptions
}

/** `shown` when the help or the version was asked for and has been written to standard output. */
export async function readCommandLine(words: readonly string[], version: string): Promise<CommandLine> {
  const parser = yargs([...words])
    .scriptName('thawd')
    .usage('$0 [options]\n\nServes the disks of a thaw store over NBD.')
    .command('$0', 'serve the disks of the store')
    .command('init', 'make a store in an absent or empty directory, and end')
    .option('config', {
      type: 'string',
      requiresArg: true,
      describe: 'FILE: options as JSON [thawd.json in $CONFIGURATION_DIRECTORY, if there is one]',
    })
    .example('$0 --init --demo-disk disk0=10GiB', 'a first store, with a disk to try')
    .example('$0 --data /srv/thaw --listen-unix /run/thaw/nbd.sock', 'a store elsewhere, on a unix socket')
    .epilogue(
      'Every option can stand in the file (--cache 1GiB is "cache": "1GiB") and in the environment ($THAWD_CACHE).\n' +
        'The command line goes before the environment, the environment before the file.\n' +
        'Exit codes: 0 stopped cleanly, 1 failed, 2 usage or configuration, 74 a write to the data directory failed.',
    )
    .version(version)
    .help()
    .strict()
    // Left alone, a repeated scalar would be a list, and `--no-init` an option nobody documented.
    .parserConfiguration({
      'boolean-negation': false,
      'greedy-arrays': false,
      'dot-notation': false,
      'parse-numbers': false,
    })
    .wrap(Math.min(120, process.stdout.columns ?? 120))
    .exitProcess(false)
    .showHelpOnFail(false)
    .fail((message: string | null, error: Error | undefined) => {
      // What yargs throws itself has no message of its own; anything else is a fault of ours and shows its stack.
      if (message === null && error !== undefined) throw error
      throw new UsageError(`${message ?? 'the command line is not understood'}; thawd --help lists the options`)
    })
  for (const name of optionNames) {
    const { value, summary } = optionSpec(name)
    if (value === undefined) parser.option(name, { type: 'boolean', describe: summary })
    else parser.option(name, { type: 'string', requiresArg: true, describe: `${value}: ${summary}` })
  }
  let shown = ''
  const parsed = await parser.parseAsync([...words], {}, (_error, _argv, output) => {
    shown = output
  })
  if (shown !== '') {
    process.stdout.write(`${shown}\n`)
    return { command: 'shown', config: null, options: new Map() }
  }
  const values = parsed as Readonly<Record<string, unknown>>
  const options = new Map<OptionName, GivenOption>()
  for (const name of optionNames) {
    const value = values[name]
    if (value === undefined) continue
    const texts = Array.isArray(value) ? value.map(String) : [String(value)]
    options.set(name, checkedCount(name, { texts, where: `--${name}` }))
  }
  const command = parsed._[0] === 'init' ? 'init' : 'serve'
  if (command === 'init') options.set('init', { texts: ['true'], where: 'thawd init' })
  const config = values['config']
  if (Array.isArray(config)) throw new UsageError('--config is given more than once; it can be one file only')
  return {
    command,
    config: config === undefined ? null : String(config),
    options,
  }
}

export function readEnvironment(environment: NodeJS.ProcessEnv): GivenOptions {
  const options = new Map<OptionName, GivenOption>()
  for (const name of optionNames) {
    const { value, repeated, commandLineOnly } = optionSpec(name)
    const variable = environmentName(name)
    const text = environment[variable]
    // An empty variable is how a unit file or a shell says "not set".
    if (text === undefined || text === '') continue
    const where = `$${variable}`
    if (commandLineOnly !== undefined) {
      throw new UsageError(`${where} is refused: --${name} is for the command line only; ${commandLineOnly}`)
    }
    if (value === undefined && text !== 'true' && text !== 'false') {
      throw new UsageError(`${where} is '${text}'; a flag is true or false`)
    }
    options.set(name, { texts: repeated === true ? text.split(',') : [text], where })
  }
  return options
}

/** The file that `--config` or `$THAWD_CONFIG` names, else `thawd.json` in `$CONFIGURATION_DIRECTORY` if it is there, else nothing. */
export function readConfigurationFile(named: string | null, environment: NodeJS.ProcessEnv): GivenOptions {
  const asked = named ?? (environment['THAWD_CONFIG'] || null)
  const directory = environment['CONFIGURATION_DIRECTORY'] || null
  const path = asked ?? (directory === null ? null : join(directory, 'thawd.json'))
  if (path === null) return new Map()
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (asked === null && code === 'ENOENT') return new Map()
    throw new UsageError(`the configuration file ${path} cannot be read (${code}); check the path and who may read it`)
  }
  return parseConfigurationFile(text, path)
}

export function parseConfigurationFile(text: string, path: string): GivenOptions {
  let content: unknown
  try {
    content = JSON.parse(text)
  } catch (error) {
    throw new UsageError(`the configuration file ${path} is not JSON: ${(error as Error).message}`)
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw new UsageError(`the configuration file ${path} must be one JSON object, like {"cache": "1GiB"}`)
  }
  const options = new Map<OptionName, GivenOption>()
  for (const [key, value] of Object.entries(content)) {
    const name = optionNames.find((option) => option === key || fileKey(option) === key)
    if (name === undefined) {
      throw new UsageError(
        `the configuration file ${path} has the unknown key '${key}'; thawd --help lists the options`,
      )
    }
    const where = `${key} in ${path}`
    const { commandLineOnly } = optionSpec(name)
    if (commandLineOnly !== undefined) {
      throw new UsageError(`${where} is refused: --${name} is for the command line only; ${commandLineOnly}`)
    }
    if (options.has(name)) throw new UsageError(`${where} is there already, spelled otherwise; keep one of them`)
    options.set(name, checkedCount(name, { texts: textsOf(name, value, where), where }))
  }
  return options
}

/** The option as the first of the places that has it gives it. */
export function joinSources(...places: readonly GivenOptions[]): GivenOptions {
  return new Map(places.toReversed().flatMap((place) => [...place]))
}

function textsOf(name: OptionName, value: unknown, where: string): string[] {
  const { value: shape, repeated } = optionSpec(name)
  if (shape === undefined) {
    if (typeof value === 'boolean') return [String(value)]
    throw new UsageError(`${where} must be true or false`)
  }
  if (typeof value === 'string') return [value]
  if (typeof value === 'number') return [String(value)]
  if (repeated === true && Array.isArray(value) && value.every((item) => typeof item === 'string')) return value
  throw new UsageError(
    `${where} must be a ${repeated === true ? 'text or a list of texts' : 'text or a number'}: ${shape}`,
  )
}

function checkedCount(name: OptionName, given: GivenOption): GivenOption {
  if (given.texts.length > 1 && optionSpec(name).repeated !== true) {
    throw new UsageError(`${given.where} is given more than once; it can be one value only`)
  }
  return given
}
