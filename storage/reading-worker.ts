/**
 * The reading thread itself: sleeps until reads are submitted, does them one
 * after another, and tells the event loop once for several.
 */

import { readSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { ReadOutcome } from './environment.ts'
import { Counter, READ_FIELDS, RECORD_FIELDS, type RingMemory, ringIn, SLOT_BYTES, SLOTS } from './reading-ring.ts'
import { payloadIsGood, readHeader } from './record.ts'

/**
 * Who waits for the disk: a read that took longer than any break the scheduler
 * makes, or several of the last eight that took longer than a copy of memory
 * (a system call, and a gigabyte a second).
 */
const WAITED_MILLIS = 8
const CALL_MILLIS = 0.06
const COPY_BYTES_PER_MILLI = 1e6
const WAITS_OF_EIGHT = 3
/** Reads done between two messages: a message costs more than a read. */
const READS_PER_MESSAGE = 8

const { control, order, reads, records, outcomes, memory } = ringIn(workerData as RingMemory)
const port = parentPort as NonNullable<typeof parentPort>

let done = 0
let told = 0
/** So many of the next reads are handed back: those that were submitted before a slow one ended. */
let handBack = 0
/** Of the last eight reads a bit each: it took longer than a copy. */
let waits = 0

for (;;) {
  const submitted = Atomics.load(control, Counter.SUBMITTED)
  if (submitted === done) {
    Atomics.wait(control, Counter.SUBMITTED, submitted)
    continue
  }
  const slot = order[done & (SLOTS - 1)] as number
  if (handBack > 0) {
    handBack--
    outcomes[slot] = ReadOutcome.NOT_READ
  } else outcomes[slot] = read(slot)
  done = (done + 1) | 0
  Atomics.store(control, Counter.DONE, done)
  const enough = ((done - told) | 0) >= READS_PER_MESSAGE || done === Atomics.load(control, Counter.SUBMITTED)
  if (enough && Atomics.exchange(control, Counter.AWAITED, 0) === 1) {
    told = done
    port.postMessage(null)
  }
}

function read(slot: number): ReadOutcome {
  const at = slot * READ_FIELDS
  const length = reads[at + 2] as number
  const base = slot * SLOT_BYTES
  const began = performance.now()
  try {
    if (readSync(reads[at] as number, memory, base, length, reads[at + 1] as number) < length)
      return ReadOutcome.NOT_READ
  } catch {
    // Not swallowed: the read is done again the ordinary way, which reports what is wrong.
    return ReadOutcome.NOT_READ
  }
  const millis = performance.now() - began
  waits = ((waits << 1) | (millis > CALL_MILLIS + length / COPY_BYTES_PER_MILLI ? 1 : 0)) & 0xff
  if (millis > WAITED_MILLIS || countBits(waits) >= WAITS_OF_EIGHT) {
    // The thread pool waits for the disk with many threads at once.
    handBack = (Atomics.load(control, Counter.SUBMITTED) - done - 1) | 0
    waits = 0
  }
  return recordsAreGood(slot, base, reads[at + 3] as number) ? ReadOutcome.GOOD : ReadOutcome.UNCHECKED
}

function countBits(byte: number): number {
  let count = 0
  for (let rest = byte; rest !== 0; rest &= rest - 1) count++
  return count
}

function recordsAreGood(slot: number, base: number, incarnationCrc: number): boolean {
  const first = slot * RECORD_FIELDS
  const count = records[first] as number
  for (let i = 1; i <= count; i++) {
    const at = base + (records[first + i] as number)
    const header = readHeader(memory, at, incarnationCrc)
    if (header === undefined || !payloadIsGood(memory, at, header)) return false
  }
  return true
}
