import { writeSync } from 'node:fs';
import { MergeboxError } from './errors.js';

/**
 * The moments between two durable steps, by name. A test lets the daemon kill itself at one (test/e2e/fault-points.test.ts
 * does so at each) and looks at what is left. docs/testing.md says what stands before and behind each.
 */
export const FAULT_POINTS = [
  // store: every transaction of a user
  'store.commit',
  'store.committed',
  'store.closed',
  'migration.applied',
  'migration.committed',
  // pinned files
  'pin.written',
  'pin.linked',
  'pin.removed',
  // body cache
  'body.written',
  'body.published',
  // a damaged database is replaced
  'rebuild.complete',
  'rebuild.aside',
  'rebuild.renamed',
  'rescue.moved',
  'rescue.adopted',
  // a client's command, committed and not yet answered
  'append.committed',
  'flags.committed',
  'expunge.committed',
  'transfer.committed',
  'folder.committed',
  // ingest
  'folders.listed',
  'ingest.bound',
  'ingest.flags',
  'ingest.recorded',
  'ingest.saved',
  'ingest.placed',
  'ingest.opened',
  'vanish.explained',
  'guard.held',
  'guard.renewed',
  // the action list
  'append.attempted',
  'append.uploaded',
  'append.bound',
  'append.verified',
  'append.acknowledged',
  'flags.sent',
  'flags.acknowledged',
  'expunge.marked',
  'expunge.unmarked',
  'expunge.removed',
  'expunge.sent',
  'expunge.acknowledged',
  'transfer.attempted',
  'transfer.copied',
  'transfer.sent',
  'transfer.bound',
  'transfer.repaired',
  'transfer.acknowledged',
  'folder.sent',
  'folder.acknowledged',
  'action.refused',
] as const;

/** Those on the way of outgoing mail (test/e2e/submit-crash.test.ts). */
export const SENDING_FAULT_POINTS = [
  // a content too large for the queue's database
  'spool.written',
  'spool.linked',
  // every transaction of a queue
  'queue.commit',
  'queue.committed',
  // the final dot is on record, not yet sent; its answer came, not yet on record
  'queue.dot',
  'queue.answered',
  // what became of the recipients is on record, nothing else done
  'queue.settling',
  'queue.reported',
  'queue.filed',
  'queue.marked',
  'queue.forgotten',
] as const;

export type FaultPoint = (typeof FAULT_POINTS)[number] | (typeof SENDING_FAULT_POINTS)[number];

/** What is armed in this process. Only `armFaultPoint` sets it, and only the command line calls that, once. */
let armed: { readonly point: FaultPoint | 'trace'; left: number } | null = null;

/**
 * Arms `name` (the first time it is reached) or `name:n` (the n-th), or with `trace` lets every point write its name to
 * standard error. It comes from the environment of the process and from nowhere else, so that no peer can name one.
 * Throws `config` for what is none of these.
 */
export function armFaultPoint(spec: string | undefined): void {
  if (spec === undefined || spec === '') return;
  const [, name = '', count = '1'] = /^([a-z.]+)(?::([1-9]\d{0,5}))?$/.exec(spec) ?? [];
  const point = name === 'trace' ? name : [...FAULT_POINTS, ...SENDING_FAULT_POINTS].find((each) => each === name);
  if (point === undefined) throw new MergeboxError('config', `MERGEBOX_FAULT: there is no fault point "${spec}"`);
  armed = { point, left: Number(count) };
}

/** Where a durable step has ended: the process ends here, as in a power cut, when this point is armed. */
export function faultPoint(name: FaultPoint): void {
  if (armed !== null) reached(armed, name);
}

function reached(fault: NonNullable<typeof armed>, name: FaultPoint): void {
  if (fault.point === 'trace') writeSync(2, `fault point ${name}\n`);
  if (fault.point !== name) return;
  fault.left -= 1;
  if (fault.left === 0) process.kill(process.pid, 'SIGKILL');
}
