/**
 * Exponential backoff with full jitter between half and the whole of the step.
 * `attempt` counts from 1; the result is in milliseconds. `random` yields [0, 1).
 */
export function backoffDelay(
  attempt: number,
  {
    baseMs = 1_000,
    maxMs = 300_000,
    random = Math.random,
  }: { baseMs?: number; maxMs?: number; random?: () => number } = {},
): number {
  const step = Math.min(maxMs, baseMs * 2 ** Math.min(Math.max(attempt, 1) - 1, 30));
  return Math.round(step / 2 + (random() * step) / 2);
}
