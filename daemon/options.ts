/**
 * Every option of `thawd`, once. The command line, the environment and the
 * configuration file are three spellings of this table:
 *
 *     --hydration-rate-default 50M/s     $THAWD_HYDRATION_RATE_DEFAULT     "hydrationRateDefault": "50M/s"
 *
 * (the file takes `hydration-rate-default` as well, and the command line
 * `--hydrationRateDefault`). What the values mean is decided in `configuration.ts`.
 */

export interface OptionSpec {
  /** How the value is shown in the help; undefined for a flag, which has none. */
  readonly value?: string
  /** May be given more than once; a list in the file, separated by commas in the environment. */
  readonly repeated?: boolean
  /** Only where the person who starts the daemon sees it. */
  readonly commandLineOnly?: string
  readonly summary: string
}

export const optionSpecs = {
  data: {
    value: 'DIR',
    summary: 'the data directory [$STATE_DIRECTORY, /var/lib/thaw as root, $XDG_DATA_HOME/thaw]',
  },
  init: {
    commandLineOnly: 'in a file it would make a blank store wherever a mount is missing',
    summary: 'make a new store if the data directory is absent or empty',
  },
  'demo-disk': {
    value: 'NAME=SIZE',
    commandLineOnly: 'it belongs to --init',
    summary: 'with --init: begin a new store with this disk, as the default export',
  },
  listen: {
    value: 'HOST:PORT|none',
    repeated: true,
    summary: 'serve NBD over TCP; port 0 takes a free one [127.0.0.1:10809 unless sockets are given otherwise]',
  },
  'listen-unix': { value: 'PATH', repeated: true, summary: 'serve NBD on a unix socket' },
  control: {
    value: 'PATH',
    summary: 'the control socket [control.sock in $RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR/thaw, /run/thaw as root]',
  },
  cache: { value: 'SIZE', summary: 'memory for the cache [256MiB]' },
  insecure: { summary: 'allow --listen beyond this machine, where anyone who reaches the port reads and writes' },
  'connections-max': { value: 'N', summary: 'NBD connections at a time [100]' },
  'hydration-rate-default': {
    value: 'RATE',
    summary: 'how fast a restored disk hydrates unless told otherwise [100MiB/s]',
  },
  'hydration-rate-total': { value: 'RATE', summary: 'how fast all of them hydrate together [unlimited]' },
  'chunk-bytes': {
    value: 'segments|leveldb',
    summary: 'where chunk bytes live, said when the store is made [segments]',
  },
  compression: { value: 'lz4|none', summary: 'of chunks that shrink [lz4]' },
  'inline-bytes-max': {
    value: 'SIZE',
    summary: 'stored chunks up to this size are copied into their LevelDB row [512]',
  },
  'reserve-bytes': {
    value: 'SIZE',
    summary: 'background work leaves this much of the file system free [5 %, at least 1GiB]',
  },
  'log-level': { value: 'LEVEL', summary: 'debug, info, notice, warning or error [info]' },
} as const satisfies Record<string, OptionSpec>

export type OptionName = keyof typeof optionSpecs

export const optionNames = Object.keys(optionSpecs) as OptionName[]

export function optionSpec(name: OptionName): OptionSpec {
  return optionSpecs[name]
}

/** `hydration-rate-default` as the configuration file spells it: `hydrationRateDefault`. */
export function fileKey(name: OptionName): string {
  return name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())
}

/** `hydration-rate-default` as the environment spells it: `THAWD_HYDRATION_RATE_DEFAULT`. */
export function environmentName(name: OptionName): string {
  return `THAWD_${name.replaceAll('-', '_').toUpperCase()}`
}
