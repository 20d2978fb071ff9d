import t from 'tap';
import { FAULT_POINTS } from '../../src/util/fault.js';
import { REBUILD_POINTS } from '../faults/points.js';
import { OPERATIONS, type Operation } from '../faults/operations.js';
import { type CaseResult, type Ending, runKilled, runWhole } from '../faults/run-case.js';
import { Stage } from '../faults/stage.js';

/**
 * 1: every combination of operation and point that it reaches, the first time and the last; more: the first so many times
 * as well. Otherwise each point once.
 */
const TIMES = Number(process.env['MERGEBOX_TEST_ALL'] ?? 0);
const ALL = TIMES > 0;
t.setTimeout(ALL ? 7_200_000 : 900_000);

/** For each operation the points at which it is killed; `a b` is killed at `a`, and at `b` when it was started again. */
const PLAN: Readonly<Record<string, readonly string[]>> = {
  'first ingest': ['migration.applied', 'migration.committed', 'folders.listed', 'ingest.opened', 'store.commit:3'],
  'ingest of changes': ['ingest.flags', 'ingest.recorded', 'ingest.saved', 'ingest.placed'],
  STORE: ['flags.committed', 'flags.sent', 'flags.acknowledged'],
  APPEND: [
    ...['pin.written', 'pin.linked', 'append.committed', 'append.attempted', 'append.uploaded', 'append.bound'],
    ...['append.verified', 'append.acknowledged'],
  ],
  'APPEND without APPENDUID': ['append.uploaded'],
  'COPY within accounts': ['transfer.committed', 'transfer.attempted', 'transfer.sent'],
  'COPY across accounts': ['append.uploaded', 'store.committed:9'],
  'MOVE within accounts': [
    ...['transfer.sent', 'transfer.bound', 'transfer.copied', 'transfer.copied transfer.repaired'],
    'transfer.acknowledged',
  ],
  'MOVE across accounts': ['append.acknowledged', 'expunge.sent'],
  EXPUNGE: [
    ...['expunge.committed', 'expunge.marked', 'expunge.unmarked', 'expunge.removed', 'expunge.sent'],
    'expunge.acknowledged',
  ],
  'UIDVALIDITY re-anchoring': ['ingest.bound', 'ingest.recorded', 'ingest.saved'],
  'deletion at a server': ['vanish.explained'],
  'move at a server': ['ingest.saved'],
  'folder emptied': ['guard.held', 'guard.renewed'],
  CREATE: ['folder.committed', 'folder.sent', 'folder.acknowledged'],
  RENAME: ['folder.sent'],
  DELETE: ['folder.sent'],
  'refused COPY': ['action.refused'],
  FETCH: ['body.written', 'body.published'],
  sweep: ['pin.removed'],
  'orderly end': ['store.closed'],
};

interface Case {
  readonly operation: Operation;
  readonly faults: readonly string[];
}

function planned(): Case[] {
  return OPERATIONS.flatMap((operation) =>
    (PLAN[operation.name] ?? []).map((faults) => ({ operation, faults: faults.split(' ') })),
  );
}

/** The times that the uninterrupted run reached each point. */
function whole(operation: Operation, points: readonly string[]): Case[] {
  const counts = new Map<string, number>();
  for (const point of points) counts.set(point, (counts.get(point) ?? 0) + 1);
  return [...counts].flatMap(([point, count]) =>
    Array.from({ length: count }, (_, n) => n + 1)
      .filter((n) => n <= TIMES || n === count)
      .map((n) => ({ operation, faults: [`${point}:${n}`] })),
  );
}

/** At most two at a time: the tests share the machine. */
async function inPairs<T>(items: readonly T[], run: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items];
  const worker = async (): Promise<void> => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await run(item);
  };
  await Promise.all([worker(), worker()]);
}

t.test('every fault point is killed at by some operation', async (t) => {
  const here = planned().flatMap(({ faults }) => faults.map((fault) => fault.replace(/:\d+$/, '')));
  const points = new Set<string>([...here, ...REBUILD_POINTS]);
  t.same(
    FAULT_POINTS.filter((point) => !points.has(point)),
    [],
  );
  t.same(
    Object.keys(PLAN),
    OPERATIONS.map(({ name }) => name),
  );
});

t.test('SIGKILL at any fault point: all ends as if nothing had happened', async (t) => {
  const only = process.env['MERGEBOX_TEST_ONLY'] ?? '';
  const operations = OPERATIONS.filter(({ name }) => new RegExp(only).test(name));
  const stage = await Stage.open((stop) => t.teardown(stop));
  const { ending: untouched } = await runWhole(stage, null);
  t.same(untouched.faults, [], 'nothing done');
  const endings = new Map<string, Ending>();
  const cases: Case[] = [];
  await inPairs(operations, async (operation) => {
    const { ending, points } = await runWhole(stage, operation);
    t.same(ending.faults, [], `${operation.name}: uninterrupted`);
    endings.set(operation.name, ending);
    if (ALL) cases.push(...whole(operation, points));
  });
  cases.push(
    ...planned().filter(({ operation, faults }) => operations.includes(operation) && (!ALL || faults.length > 1)),
  );
  const table: (Case & { result: CaseResult })[] = [];
  await inPairs(cases, async ({ operation, faults }) => {
    const result = await runKilled(stage, operation, faults, { whole: endings.get(operation.name)!, untouched });
    table.push({ operation, faults, result });
    const name = `${operation.name}: ${faults.join(', then ')}`;
    t.same(result.faults, [], `${name}: ${result.outcome}`);
    // What runs beside the operation does not reach a point equally often each time.
    if (!ALL) t.ok(result.killed, `${name}: was killed`);
  });
  for (const { operation, faults, result } of table) {
    const { killed, answered, outcome } = result;
    t.comment(
      `| ${operation.name} | ${faults.join(', ')} | ${killed ? 'killed' : 'not reached'} | ${answered ? 'answered' : '–'} | ${outcome} |`,
    );
  }
});
