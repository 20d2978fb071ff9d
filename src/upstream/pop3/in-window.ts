import { IN_FLIGHT } from './limits.js';

/** Runs `task` for each item, several at a time where the server allows pipelining; rejects with the first failure. */
export async function inWindow<T>(
  pipelining: boolean,
  items: readonly T[],
  task: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < items.length) {
      const item = items[next]!;
      next += 1;
      await task(item);
    }
  };
  const lanes = Array.from({ length: pipelining ? Math.min(IN_FLIGHT, items.length) : 1 }, lane);
  const results = await Promise.allSettled(lanes);
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
}
