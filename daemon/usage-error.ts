/** What somebody wrote on the command line, in the environment or in the configuration file cannot be. Ends the process with `exitCodes.usage`. */
export class UsageError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'UsageError'
  }
}
