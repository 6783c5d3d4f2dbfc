/** How the process ends, for scripts and for the unit's Restart= lines. They are in `thawd --help` and systemd/README.md. */
export const exitCodes = {
  /** Everything flushed. */
  stopped: 0,
  /** Could not start, was told to stop twice, or a fault of ours. */
  failed: 1,
  /** The command line, the environment or the configuration file cannot be. Starting again does not help. */
  usage: 2,
  /** A write or fsync in the data directory failed while serving (`EX_IOERR`). Starting again recovers what is durable. */
  storeFailed: 74,
} as const

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes]
