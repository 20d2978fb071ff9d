import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Pseudo-random numbers from 0 to below `limit` (mulberry32), so that a failure can be repeated by its seed. */
export type Random = (limit: number) => number;

export function random(seed: number): Random {
  let state = seed | 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  };
}

/** `text` with a few pieces cut, doubled, or replaced by some of `bits` or by any octet. */
export function mutate(text: string, bits: readonly string[], next: Random): string {
  let mutated = text;
  for (let rounds = next(4); rounds > 0; rounds -= 1) {
    const at = next(mutated.length + 1);
    const to = at + next(4) * next(6);
    const kind = next(6);
    const from = next(mutated.length + 1);
    const bit =
      kind === 0
        ? mutated.slice(from, from + 30)
        : kind === 1
          ? String.fromCharCode(next(256))
          : bits[next(bits.length)]!;
    mutated = mutated.slice(0, at) + bit + mutated.slice(to);
  }
  return mutated;
}

/** How a run went. */
export interface FuzzReport {
  readonly inputs: number;
  readonly seconds: number;
  /** Octets of the heap after the run less those after its first tenth. */
  readonly growth: number;
  /** The longest that one input took, in milliseconds; of what was slow, the quickest of three tries. */
  readonly slowest: number;
  /** What was found, each with the input that shows it; only the first few. */
  readonly faults: readonly string[];
  readonly outcomes: Readonly<Record<string, number>>;
}

const MAX_FAULTS = 10;
/** What no input may take (the event loop must not stall longer). */
export const MAX_MS = 50;

/** Feeds `inputs` inputs to `feed`, which throws for a fault of ours and answers what became of the input. */
export async function fuzz<T>(options: {
  readonly inputs: number;
  readonly make: () => T;
  readonly show: (input: T) => string;
  readonly feed: (input: T) => Promise<string> | string;
}): Promise<FuzzReport> {
  const { inputs, make, show, feed } = options;
  const faults: string[] = [];
  const outcomes: Record<string, number> = {};
  const started = performance.now();
  let slowest = 0;
  let early = 0;
  const timed = async (input: T): Promise<number> => {
    const before = performance.now();
    const outcome = await feed(input);
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    return performance.now() - before;
  };
  for (let n = 0; n < inputs && faults.length < MAX_FAULTS; n += 1) {
    if (n === Math.ceil(inputs / 10)) early = heap();
    const input = make();
    try {
      let ms = await timed(input);
      // A busy machine makes anything slow once.
      for (let again = 0; again < 3 && ms > MAX_MS; again += 1) ms = Math.min(ms, await timed(input));
      slowest = Math.max(slowest, ms);
      if (ms > MAX_MS) faults.push(`${Math.round(ms)} ms: ${show(input)}`);
    } catch (error) {
      faults.push(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n  with ${show(input)}`);
    }
  }
  const seconds = (performance.now() - started) / 1_000;
  return { inputs, seconds, growth: heap() - early, slowest, faults, outcomes };
}

let collect: (() => void) | null = null;

/** Octets in use, garbage left out. */
function heap(): number {
  if (collect === null) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
  }
  collect();
  return process.memoryUsage().heapUsed;
}
