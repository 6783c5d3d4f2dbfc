/**
 * The Debian packages that the end-to-end tests need beyond Node, and who gets
 * them onto the machine. Root is asked on a terminal and takes them as given
 * elsewhere; anybody else is told what is missing, and those tests are skipped.
 *
 *     THAW_TEST_INSTALL=0   nothing is installed
 */

import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline/promises'

interface TestPackage {
  readonly name: string
  /** Present when all of these are. */
  readonly commands: readonly string[]
  readonly reason: string
}

export const testPackages: readonly TestPackage[] = [
  { name: 'libnbd-bin', commands: ['nbdinfo', 'nbdcopy'], reason: 'a client of its own make' },
  { name: 'qemu-utils', commands: ['qemu-io', 'qemu-img', 'qemu-nbd'], reason: 'another client, images in and out' },
  { name: 'fio', commands: ['fio'], reason: 'load with verification' },
  { name: 'systemd', commands: ['systemd-analyze', 'systemd-socket-activate'], reason: 'checks the units' },
  { name: 'nbd-client', commands: ['nbd-client'], reason: 'the kernel as a client, inside the virtual machine' },
  { name: 'qemu-system-x86', commands: ['qemu-system-x86_64'], reason: 'the virtual machine' },
  { name: 'busybox-static', commands: ['busybox'], reason: 'the shell of the virtual machine' },
  { name: 'cpio', commands: ['cpio'], reason: 'packs the file system of the virtual machine' },
  { name: 'debootstrap', commands: ['debootstrap'], reason: 'a system with systemd for the virtual machine' },
  { name: 'e2fsprogs', commands: ['mkfs.ext4', 'fsck.ext4'], reason: 'a file system to put on a disk' },
]

/**
 * Whether no tool is missing afterwards. Throws when packages should have been
 * installed and could not be: a test that is skipped for that would look like
 * one that passed.
 */
export async function providePackages(): Promise<boolean> {
  let missing = testPackages.filter(isMissing)
  if (missing.length === 0) return true
  const names = missing.map((each) => each.name).join(' ')

  const why = whyNotInstall()
  if (why !== undefined) {
    console.error(`thaw: ${why}; tests are skipped that need: apt-get install ${names}`)
    return false
  }
  console.error('thaw: the end-to-end tests need these Debian packages:')
  for (const { name, reason } of missing) console.error(`  ${name.padEnd(18)}${reason}`)
  if (process.stdin.isTTY && process.stderr.isTTY && !(await agreed('Install them now with apt-get? [Y/n] '))) {
    console.error(`thaw: not installed; tests are skipped that need: ${names}`)
    return false
  }

  const installed = missing.map((each) => each.name)
  // A fresh machine has no package lists, or old ones that name versions which are gone.
  if (!aptGet('install', ...installed)) {
    aptGet('update')
    aptGet('install', ...installed)
  }
  missing = testPackages.filter(isMissing)
  if (missing.length === 0) return true
  throw new Error(
    `these packages could not be installed: ${missing.map((each) => each.name).join(' ')} (to do without them: THAW_TEST_INSTALL=0)`,
  )
}

/** The path of a command, also of one in the folders that only root has in its PATH. */
export function findCommand(command: string): string | undefined {
  for (const folder of [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin']) {
    const file = path.join(folder, command)
    try {
      accessSync(file, constants.X_OK)
      return file
    } catch {
      // The next one.
    }
  }
  return undefined
}

function isMissing({ commands }: TestPackage): boolean {
  return commands.some((command) => findCommand(command) === undefined)
}

function whyNotInstall(): string | undefined {
  if (process.env['THAW_TEST_INSTALL'] === '0') return 'nothing is installed (THAW_TEST_INSTALL=0)'
  if (process.getuid?.() !== 0) return 'only root can install packages'
  if (findCommand('apt-get') === undefined) return 'this system has no apt-get'
  return undefined
}

async function agreed(question: string): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return /^(|y|yes)$/i.test((await terminal.question(question)).trim())
  } finally {
    terminal.close()
  }
}

function aptGet(command: 'install' | 'update', ...names: string[]): boolean {
  const result = spawnSync('apt-get', [command, '-y', '-q', '--no-install-recommends', ...names], {
    stdio: ['ignore', 2, 2],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    timeout: 300_000,
  })
  return result.status === 0
}
