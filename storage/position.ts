/**
 * A place in the segment log as one number that grows with the log: segment
 * number and byte offset. Exact up to segment 2,097,151 (2^21 - 1), which at
 * 64 MiB a segment is 128 TiB written in a store's whole life.
 */
export type Position = number

const TWO_32 = 2 ** 32
export const SEGMENT_ID_MAX = 2 ** 21 - 1

export function positionOf(segment: number, offset: number): Position {
  return segment * TWO_32 + offset
}

export function segmentOf(position: Position): number {
  return Math.floor(position / TWO_32)
}

export function offsetOf(position: Position): number {
  return position % TWO_32
}
