/** Stands for a line longer than allowed. Nothing comes after it: where the next line begins cannot be told. */
export const tooLong = Symbol('a line that is too long')

/**
 * Cuts a stream of bytes into lines (without `\n`, and without a `\r` before
 * it), however the stream was cut before. Holds at most `bytesMax` and one
 * piece of the source. What follows the last `\n` when the source ends is a
 * line too, unless it is empty.
 */
export async function* linesOf(
  source: AsyncIterable<Buffer>,
  bytesMax: number,
): AsyncGenerator<Buffer | typeof tooLong> {
  let held: Buffer[] = []
  let heldBytes = 0
  for await (const piece of source) {
    let start = 0
    for (;;) {
      const end = piece.indexOf(0x0a, start)
      const part = piece.subarray(start, end === -1 ? piece.length : end)
      // One more than allowed, for the `\r` that may turn out to be part of the line's end.
      if (heldBytes + part.length > bytesMax + 1) return yield tooLong
      held.push(part)
      heldBytes += part.length
      if (end === -1) break
      const line = withoutReturn(joined(held))
      if (line.length > bytesMax) return yield tooLong
      held = []
      heldBytes = 0
      start = end + 1
      yield line
    }
  }
  const rest = withoutReturn(joined(held))
  if (rest.length > bytesMax) yield tooLong
  else if (rest.length > 0) yield rest
}

function joined(parts: readonly Buffer[]): Buffer {
  const [only] = parts
  return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts)
}

function withoutReturn(line: Buffer): Buffer {
  return line.at(-1) === 0x0d ? line.subarray(0, -1) : line
}
