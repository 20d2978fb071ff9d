/** Elements sorted at a time without letting others run; a millisecond or two. */
const RUN = 2_048;

/** A stable sort that calls `breathe` every few thousand comparisons, so that sorting 100,000 mails stalls nobody. */
export async function sortYielding<T>(
  items: readonly T[],
  compare: (a: T, b: T) => number,
  breathe: () => Promise<void>,
): Promise<T[]> {
  let runs: T[][] = [];
  for (let at = 0; at < items.length; at += RUN) {
    runs.push(items.slice(at, at + RUN).sort(compare));
    await breathe();
  }
  while (runs.length > 1) {
    const merged: T[][] = [];
    for (let at = 0; at < runs.length; at += 2) {
      const [left, right] = [runs[at]!, runs[at + 1]];
      merged.push(right === undefined ? left : await merge(left, right, compare, breathe));
    }
    runs = merged;
  }
  return runs[0] ?? [];
}

async function merge<T>(
  left: readonly T[],
  right: readonly T[],
  compare: (a: T, b: T) => number,
  breathe: () => Promise<void>,
): Promise<T[]> {
  const out: T[] = [];
  let [l, r] = [0, 0];
  while (l < left.length || r < right.length) {
    const takeLeft = r >= right.length || (l < left.length && compare(left[l]!, right[r]!) <= 0);
    out.push(takeLeft ? left[l++]! : right[r++]!);
    if (out.length % RUN === 0) await breathe();
  }
  return out;
}
