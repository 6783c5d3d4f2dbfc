/**
 * Follows the output of tap and counts tests. A test is a subtest without
 * subtests of its own, or a file without any; so a loop with a million
 * assertions counts once. Something that fails outside of its subtests (a
 * crash, a time limit) is one failed test more.
 */

import { Parser } from 'tap-parser'
import type { Result } from 'tap-parser'

export interface Count {
  passed: number
  failed: number
  skipped: number
}

export interface Failure {
  /** Names from the outside in: file, subtests, assertion. */
  readonly names: readonly string[]
  /** What tap says about it: where, what was expected and what came. */
  readonly diagnostics: unknown
}

export interface FileResult extends Count {
  readonly name: string
  readonly ok: boolean
  readonly millis: number
  readonly failures: readonly Failure[]
  /** Sentences: which test, and why. */
  readonly skips: readonly string[]
}

/** A parser to write tap's output to; `onFile` is called whenever a test file is through. */
export function followTap(onFile: (result: FileResult) => void): Parser {
  const parser = new Parser()
  eachPoint(parser, (point, below) => {
    const tally = new Tally()
    tally.add(point, below, [])
    const { passed, failed, skipped, failures, skips } = tally
    onFile({ name: point.name, ok: isGood(point), millis: point.time ?? 0, passed, failed, skipped, failures, skips })
  })
  return parser
}

/** Calls back for each test point, with what was seen in the subtest that it closes, if it closes one. */
function eachPoint(
  parser: Parser,
  callback: (point: Result, below: Tally | undefined) => void,
  names: string[] = [],
): void {
  let below: Tally | undefined
  parser.on('child', (child: Parser) => {
    const tally = new Tally()
    const childNames = [...names, child.name]
    eachPoint(child, (point, belowChild) => tally.add(point, belowChild, childNames), childNames)
    below = tally
  })
  parser.on('assert', (point: Result) => {
    callback(point, below)
    below = undefined
  })
}

/** The counts of everything inside one subtest. */
class Tally implements Count {
  passed = 0
  failed = 0
  skipped = 0
  readonly failures: Failure[] = []
  readonly skips: string[] = []

  add(point: Result, below: Tally | undefined, names: readonly string[]): void {
    const failure = { names: [...names, point.name], diagnostics: point.diag }
    if (point.skip !== false) {
      this.skipped++
      this.skips.push(`${failure.names.join(' > ')}: ${point.skip === true ? 'skipped' : point.skip}`)
      return
    }
    if (below === undefined) {
      if (!isGood(point)) this.failures.push(failure)
      return
    }
    this.passed += below.passed
    this.failed += below.failed
    this.skipped += below.skipped
    this.failures.push(...below.failures)
    this.skips.push(...below.skips)
    const isLeaf = below.passed + below.failed + below.skipped === 0
    if (isGood(point)) {
      if (isLeaf) this.passed++
    } else if (below.failed === 0) {
      this.failed++
      if (below.failures.length === 0) this.failures.push(failure)
    }
  }
}

function isGood(point: Result): boolean {
  return point.ok || point.todo !== false
}
