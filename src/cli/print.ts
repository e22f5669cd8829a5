// Output on stdout: JSON for machines, aligned columns or Markdown for people.

export type Row = readonly (string | number)[];

export const printLine = (text = ''): void => void process.stdout.write(`${text}\n`);

export const printJson = (value: unknown): void => printLine(JSON.stringify(value, null, 2));

/** Columns padded to their widest cell; numbers to the right. */
export function formatTable(head: readonly string[], rows: readonly Row[]): string {
  const widths = head.map((h, k) => rows.reduce((w, row) => Math.max(w, String(row[k] ?? '').length), h.length));
  const line = (row: Row): string =>
    row
      .map((cell, k) => {
        const width = widths[k] ?? 0;
        return typeof cell === 'number' ? String(cell).padStart(width) : cell.padEnd(width);
      })
      .join('  ')
      .trimEnd();
  return [line(head), line(widths.map((w) => '-'.repeat(w))), ...rows.map(line)].join('\n');
}

export function formatMarkdown(head: readonly string[], rows: readonly Row[]): string {
  const line = (row: Row): string => `| ${row.map((cell) => String(cell).replace(/\|/g, '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

/** `1,234` */
export const formatCount = (n: number): string => n.toLocaleString('en-US');

/** A sentence that fits a table cell. */
export const firstLine = (text: string, width = 160): string => {
  const line = text.split('\n', 1)[0] ?? '';
  return line.length > width ? `${line.slice(0, width - 1)}…` : line;
};
