/** How much of a folder's history is shown. */
export interface HistoryWindow {
  /** Earliest INTERNALDATE, Unix seconds; null: no limit. */
  readonly since: number | null;
  /** Newest mails, by UID; null: no limit. */
  readonly max: number | null;
}

const DAY = 86_400;

/** Days (`90d`, from the beginning of that day in UTC) or a date (`2024-01-31`) as Unix seconds. */
export function sinceSeconds(text: string, now: number): number {
  const days = /^(\d+)d$/.exec(text)?.[1];
  if (days !== undefined) return Math.max(0, Math.floor(now / DAY) - Number(days)) * DAY;
  return Math.floor(Date.parse(`${text}T00:00:00Z`) / 1000);
}

/** The window that a configuration means at `now` (Unix seconds); null when all is shown. */
export function windowAt(since: string | undefined, max: number | undefined, now: number): HistoryWindow | null {
  if (since === undefined && max === undefined) return null;
  return { since: since === undefined ? null : sinceSeconds(since, now), max: max ?? null };
}

/** Whether `now` shows anything that `before` (null: all) did not. */
export function isWider(now: HistoryWindow | null, before: HistoryWindow | null): boolean {
  if (before === null) return false;
  const opened = (mine: number | null, its: number | null, wider: (a: number, b: number) => boolean): boolean =>
    its !== null && (mine === null || wider(mine, its));
  return (
    opened(now?.since ?? null, before.since, (a, b) => a < b) || opened(now?.max ?? null, before.max, (a, b) => a > b)
  );
}

/** Numbers, ascending, as ranges: `3:7,9`. */
export function packNumbers(numbers: readonly number[]): string {
  const ranges: string[] = [];
  for (let at = 0; at < numbers.length; ) {
    const first = numbers[at]!;
    let last = first;
    for (at += 1; numbers[at] === last + 1; at += 1) last += 1;
    ranges.push(first === last ? String(first) : `${first}:${last}`);
  }
  return ranges.join(',');
}

export function unpackNumbers(text: string): Set<number> {
  const numbers = new Set<number>();
  if (text === '') return numbers;
  for (const range of text.split(',')) {
    const [first = 0, last = first] = range.split(':').map(Number);
    for (let number = first; number <= last; number += 1) numbers.add(number);
  }
  return numbers;
}
