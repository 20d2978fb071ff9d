/** The figures of one measure over all rounds; `dovecot`, those of what it is compared with, is null where there is nothing to compare with. */
export interface Figures {
  readonly name: string;
  readonly unit: string;
  readonly mergebox: readonly number[];
  readonly dovecot: readonly number[] | null;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** A Markdown table of medians, with the ratio of Mergebox to the other where both were measured. */
export function markdownTable(figures: readonly Figures[], other = 'Dovecot'): string {
  const rows = figures.map(({ name, unit, mergebox, dovecot }) => {
    const ours = median(mergebox);
    const theirs = dovecot === null ? null : median(dovecot);
    const cells = [name, number(ours), theirs === null ? '' : number(theirs)];
    return [...cells, theirs === null ? '' : (ours / theirs).toFixed(2), unit];
  });
  const head = ['measure', 'Mergebox', other, 'ratio', 'unit'];
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]!.length)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => (column === 0 || column === 4 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join(' | ')} |`;
  const rule = widths.map((width, column) =>
    column === 0 || column === 4 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`,
  );
  return [line(head), line(rule), ...rows.map(line)].join('\n');
}

function number(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
