import type { FaultPoint } from '../../src/util/fault.js';

/** Points on the way from a damaged database to a new one, in the order in which they are reached (test/e2e/damage.test.ts). */
export const REBUILD_POINTS = [
  'rebuild.complete',
  'rebuild.aside',
  'rebuild.renamed',
  'rescue.moved',
  'rescue.adopted',
] as const satisfies readonly FaultPoint[];
