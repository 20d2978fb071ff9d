import { setTimeout as delay } from 'node:timers/promises';

/** Whether it came to its end in time; how does not matter. */
export async function within(work: Promise<unknown>, ms: number): Promise<boolean> {
  const enough = new AbortController();
  const late = delay(ms, false, { signal: enough.signal }).catch(() => false);
  const done = work.then(
    () => true,
    () => true,
  );
  return await Promise.race([done, late]).finally(() => enough.abort());
}
