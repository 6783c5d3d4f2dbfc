export interface Column {
  readonly title: string
  /** Numbers stand below each other by their last digit. */
  readonly align?: 'left' | 'right'
}

/** Lines of a table with aligned columns, two spaces apart, without spaces at the ends of lines. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const lines = [columns.map(({ title }) => title), ...rows]
  const widths = columns.map((_, index) => Math.max(...lines.map((cells) => (cells[index] ?? '').length)))
  return lines.map((cells) =>
    columns
      .map(({ align }, index) => {
        const cell = cells[index] ?? ''
        const width = widths[index] ?? 0
        return align === 'right' ? cell.padStart(width) : cell.padEnd(width)
      })
      .join('  ')
      .trimEnd(),
  )
}

/** Lines of `name  value`, for one thing in all its detail. Rows without a value are left out. */
export function sheet(rows: readonly (readonly [string, string | null])[]): string[] {
  const shown = rows.filter(([, value]) => value !== null)
  const width = Math.max(...shown.map(([name]) => name.length))
  return shown.map(([name, value]) => `${name.padEnd(width)}  ${value}`)
}
