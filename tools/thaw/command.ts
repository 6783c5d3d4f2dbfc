import type { ArgumentsCamelCase, Argv, CommandModule } from 'yargs'
import { wrongUsage } from './failure.ts'
import type { Session } from './session.ts'

/** One command, as its file describes it. */
interface Description<A> {
  /** In the notation of yargs: `create <name> <size>`. */
  readonly command: string
  readonly describe: string
  /** Declares options and positional arguments, and gives an example. */
  builder(yargs: Argv): Argv<A>
  run(args: ArgumentsCamelCase<A>, session: Session): Promise<void>
}

/** A command waiting for the session that it runs in. */
export type Command = (session: Session) => CommandModule

export function command<A>({ command, describe, builder, run }: Description<A>): Command {
  // The one argument that may come several times, in the notation of yargs.
  const several = /[<[]([a-z]+)\.\.[>\]]/.exec(command)?.[1]
  return (session) => ({
    command,
    describe,
    builder: (yargs) => builder(yargs),
    handler: async (args) => {
      const twice = Object.keys(args).find((key) => Array.isArray(args[key]) && key !== '_' && key !== several)
      if (twice !== undefined) throw wrongUsage(`${twice} is given more than once`)
      await run(args as ArgumentsCamelCase<A>, session)
    },
  })
}

/** A word under which other commands stand: `disk`, `snapshot`, `hydration`. */
export function group(word: string, describe: string, commands: readonly Command[]): Command {
  return (session) => {
    const modules = commands.map((each) => each(session))
    const words = modules.map(({ command }) => String(command).split(' ')[0])
    return {
      command: word,
      describe,
      builder: (yargs) => {
        for (const each of modules) yargs.command(each)
        return yargs.demandCommand(2, `say what to do: ${words.join(', ')}`)
      },
      // Never reached: one of the commands is demanded.
      handler: () => {},
    }
  }
}

/** Leaves out what was not given, so that it is not sent. */
export function given<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as ReturnType<
    typeof given<T>
  >
}
