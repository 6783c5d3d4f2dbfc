import t from 'tap'
import { configure, type Configuration } from '../../daemon/configuration.ts'
import {
  joinSources,
  parseConfigurationFile,
  readCommandLine,
  readConfigurationFile,
  readEnvironment,
} from '../../daemon/option-sources.ts'
import { fileKey, environmentName, optionNames, optionSpec } from '../../daemon/options.ts'
import { UsageError } from '../../daemon/usage-error.ts'

const person = { environment: { HOME: '/home/ann', XDG_RUNTIME_DIR: '/run/user/1000' }, isRoot: false }

async function fromWords(...words: string[]): Promise<Configuration> {
  return configure((await readCommandLine(words, '0')).options, person)
}

/** The refusal as its one line. */
async function refusal(make: () => unknown): Promise<string> {
  try {
    await make()
  } catch (error) {
    if (error instanceof UsageError) return error.message
    throw error
  }
  return ''
}

t.test('what nobody says has a default', async (t) => {
  t.match(await fromWords(), {
    dataDirectory: '/home/ann/.local/share/thaw',
    controlPath: '/run/user/1000/thaw/control.sock',
    controlPathGiven: false,
    init: false,
    demoDisk: null,
    listen: null,
    listenUnix: [],
    insecure: false,
    connectionsMax: 100,
    cacheBytes: 256 * 1024 ** 2,
    hydrationRateDefault: 100 * 1024 ** 2,
    hydrationRateTotal: null,
    chunkBytesPlacement: null,
    compression: 'lz4',
    inlineBytesMax: 512,
    reserveBytes: null,
    logLevel: 'info',
  })
})

t.test('every option is taken from the command line', async (t) => {
  const configuration = await fromWords(
    ...'--data /d --init --demo-disk disk0=10GiB --listen 127.0.0.1:0 --listen [::1]:10809 --listen-unix /run/a'.split(
      ' ',
    ),
    ...'--listen-unix /run/b --control /run/c --cache 1G --insecure --connections-max 7'.split(' '),
    ...'--hydration-rate-default 50M/s --hydration-rate-total unlimited --chunk-bytes leveldb'.split(' '),
    ...'--compression none --inline-bytes-max 0 --reserve-bytes 2GiB --log-level debug'.split(' '),
  )
  t.strictSame(configuration, {
    dataDirectory: '/d',
    init: true,
    demoDisk: { name: 'disk0', sizeBytes: 10 * 1024 ** 3 },
    listen: [
      { host: '127.0.0.1', port: 0 },
      { host: '::1', port: 10809 },
    ],
    listenUnix: ['/run/a', '/run/b'],
    controlPath: '/run/c',
    controlPathGiven: true,
    insecure: true,
    connectionsMax: 7,
    cacheBytes: 1024 ** 3,
    hydrationRateDefault: 50 * 1024 ** 2,
    hydrationRateTotal: null,
    chunkBytesPlacement: 'leveldb',
    compression: 'none',
    inlineBytesMax: 0,
    reserveBytes: 2 * 1024 ** 3,
    logLevel: 'debug',
  })
})

t.test('the command line goes before the environment, and that before the file', async (t) => {
  const file = parseConfigurationFile(
    '{"cache":"1GiB","compression":"none","listen":["[::1]:1","[::1]:2"],"insecure":true}',
    'f',
  )
  const environment = readEnvironment({ THAWD_CACHE: '2GiB', THAWD_LISTEN: '[::1]:3,[::1]:4', THAWD_COMPRESSION: '' })
  const { options } = await readCommandLine(['--cache', '3GiB'], '0')
  t.match(configure(file, person), { cacheBytes: 1024 ** 3, insecure: true, listen: [{ port: 1 }, { port: 2 }] })
  t.match(configure(joinSources(environment, file), person), {
    cacheBytes: 2 * 1024 ** 3,
    compression: 'none',
    listen: [{ port: 3 }, { port: 4 }],
  })
  t.match(configure(joinSources(options, environment, file), person), { cacheBytes: 3 * 1024 ** 3 })
})

t.test('the file takes numbers, and both spellings of a name', async (t) => {
  const spelled = (key: string) => configure(parseConfigurationFile(JSON.stringify({ [key]: 1048576 }), 'f'), person)
  t.equal(spelled('hydrationRateDefault').hydrationRateDefault, 1048576)
  t.equal(spelled('hydration-rate-default').hydrationRateDefault, 1048576)
})

t.test('every option has its place in the file and the environment, or a reason why not', async (t) => {
  for (const name of optionNames) {
    const { value, commandLineOnly } = optionSpec(name)
    const text = value === undefined ? 'true' : 'x'
    const content = value === undefined ? true : 'x'
    const viaFile = () => parseConfigurationFile(JSON.stringify({ [fileKey(name)]: content }), 'f').get(name)?.texts
    const viaEnvironment = () => readEnvironment({ [environmentName(name)]: text }).get(name)?.texts
    if (commandLineOnly === undefined) {
      t.strictSame([viaFile(), viaEnvironment()], [[text], [text]], name)
    } else {
      t.match(await refusal(viaFile), `--${name} is for the command line only`)
      t.match(await refusal(viaEnvironment), `--${name} is for the command line only`)
    }
  }
})

t.test('data directory and control socket are where systemd, root or the person has them', async (t) => {
  const places = (environment: NodeJS.ProcessEnv, isRoot: boolean) => {
    const { dataDirectory, controlPath } = configure(new Map(), { environment, isRoot })
    return [dataDirectory, controlPath]
  }
  t.strictSame(places({ STATE_DIRECTORY: '/var/lib/t:/x', RUNTIME_DIRECTORY: '/run/t' }, false), [
    '/var/lib/t',
    '/run/t/control.sock',
  ])
  t.strictSame(places({}, true), ['/var/lib/thaw', '/run/thaw/control.sock'])
  t.strictSame(places({ XDG_DATA_HOME: '/x/data', XDG_RUNTIME_DIR: '/x/run' }, false), [
    '/x/data/thaw',
    '/x/run/thaw/control.sock',
  ])
  t.strictSame(places({ HOME: '/home/ann' }, false), ['/home/ann/.local/share/thaw', null])
})

t.test('what cannot be is refused in one line that names the place', async (t) => {
  const long = `/tmp/${'x'.repeat(103)}`
  const cases: [words: string[], expected: RegExp][] = [
    [['--bogus'], /Unknown argument: bogus/],
    [['--cache'], /Not enough arguments following: cache/],
    [['--cache', '10GB'], /--cache.*say 10G or 10GiB/],
    [['--cache', '1'], /--cache.*too little/],
    [['--cache', ''], /--cache is empty/],
    [['--data', '/a', '--data', '/b'], /--data is given more than once/],
    [['--hydration-rate-default', '0'], /--hydration-rate-default.*0 means unlimited/],
    [['--inline-bytes-max', '1M'], /too much/],
    [['--connections-max', '0'], /--connections-max.*from 1 to/],
    [['--compression', 'zstd'], /--compression 'zstd' is not one of lz4, none/],
    [['--log-level', 'loud'], /is not one of debug, info/],
    [['--listen', '10809'], /--listen 10809 is not an address/],
    [['--listen', '127.0.0.1:65536'], /is not an address/],
    [['--listen', '[localhost]:1'], /is not an address/],
    [['--listen', '::1:10809'], /is not an address/],
    [['--listen', 'none', '--listen', '127.0.0.1:1'], /none stands alone/],
    [['--listen-unix', long], /has 108 bytes.*at most 107/],
    [['--control', `/tmp/${'é'.repeat(52)}`], /has 109 bytes.*at most 107/],
    [['--demo-disk', 'a=1G'], /needs --init/],
    [['--init', '--demo-disk', 'a'], /is not NAME=SIZE/],
    [['--init', '--demo-disk', 'a=1GB'], /--demo-disk.*say 1G or 1GiB/],
  ]
  for (const [words, expected] of cases) {
    const message = await refusal(() => fromWords(...words))
    t.match(message, expected, words.join(' ').slice(0, 60))
    t.notMatch(message, '\n')
  }
  t.equal((await fromWords('--control', long.slice(0, 107))).controlPath?.length, 107, '107 bytes are taken')
})

t.test('a file that is wrong is refused by its name', async (t) => {
  const cases: [text: string, expected: RegExp][] = [
    ['{"cache": }', /file \/etc\/t.json is not JSON/],
    ['[]', /must be one JSON object/],
    ['null', /must be one JSON object/],
    ['{"cahce": "1G"}', /\/etc\/t.json has the unknown key 'cahce'/],
    ['{"cache": true}', /cache in \/etc\/t.json must be a text or a number/],
    ['{"cache": ["1G"]}', /cache in \/etc\/t.json must be a text or a number/],
    ['{"cache": null}', /must be a text or a number/],
    ['{"insecure": "yes"}', /must be true or false/],
    ['{"listen": [1]}', /must be a text or a list of texts/],
    ['{"logLevel": "info", "log-level": "debug"}', /spelled otherwise/],
    ['{"cache": "10GB"}', /cache in \/etc\/t.json: '10GB' is not a size/],
  ]
  for (const [text, expected] of cases) {
    const message = await refusal(() => configure(parseConfigurationFile(text, '/etc/t.json'), person))
    t.match(message, expected, text)
    t.notMatch(message, '\n')
  }
  t.match(
    await refusal(() => readEnvironment({ THAWD_INSECURE: '1' })),
    /\$THAWD_INSECURE is '1'; a flag is true or false/,
  )
})

t.test('the file is the one that was named, or that of the unit', async (t) => {
  const directory = t.testdir({ 'thawd.json': '{"cache":"1GiB"}', 'other.json': '{"cache":"2GiB"}' })
  const cache = (named: string | null, environment: NodeJS.ProcessEnv) =>
    readConfigurationFile(named, environment).get('cache')?.texts
  t.strictSame(cache(null, {}), undefined)
  t.strictSame(cache(null, { CONFIGURATION_DIRECTORY: directory }), ['1GiB'])
  t.strictSame(cache(null, { CONFIGURATION_DIRECTORY: `${directory}/absent` }), undefined)
  t.strictSame(cache(`${directory}/other.json`, { CONFIGURATION_DIRECTORY: directory }), ['2GiB'])
  t.strictSame(cache(null, { THAWD_CONFIG: `${directory}/other.json` }), ['2GiB'])
  t.match(await refusal(() => cache(`${directory}/absent.json`, {})), /absent.json cannot be read \(ENOENT\)/)
})
