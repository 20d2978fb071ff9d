import { mock } from 'node:test';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { Heap } from '../../src/submit/queue/heap.js';
import { type Job, type JobResult, Lane } from '../../src/submit/queue/lane.js';
import type { SendWhen } from '../../src/submit/types.js';

t.test('Heap gives its items in order', (t) => {
  fc.assert(
    fc.property(fc.array(fc.integer()), (numbers) => {
      const heap = new Heap<number>((a, b) => a < b);
      for (const number of numbers) heap.push(number);
      const out = numbers.map(() => heap.pop());
      return heap.size === 0 && out.join() === [...numbers].sort((a, b) => a - b).join();
    }),
  );
  t.end();
});

interface Bench {
  readonly lane: Lane;
  /** Ids in the order they were started. */
  readonly started: number[];
  /** Ends a job that was started. */
  end(id: number, result?: JobResult): Promise<void>;
  downs: number;
}

/** A lane whose jobs end when the test says so, on a clock that stands still. */
function bench(test: Test, changes: { width?: number; when?: SendWhen; reachable?: () => boolean } = {}): Bench {
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 });
  test.teardown(() => mock.timers.reset());
  const endings = new Map<number, (result: JobResult) => void>();
  const made: Bench = {
    started: [],
    downs: 0,
    end: async (id, result = { kind: 'finished' }) => {
      endings.get(id)?.(result);
      await Promise.resolve();
      await Promise.resolve();
    },
    lane: new Lane({
      run: (job) => {
        made.started.push(job.id);
        return new Promise((resolve) => endings.set(job.id, resolve));
      },
      clock: { now: () => Date.now(), sleep: () => Promise.resolve() },
      width: changes.width ?? 2,
      when: changes.when ?? 'now',
      reachable: changes.reachable ?? (() => true),
      retryMs: 1_000,
      onDown: () => {
        made.downs += 1;
      },
    }),
  };
  return made;
}

function job(id: number, changes: Partial<Job> = {}): Job {
  return {
    id,
    sender: 'a@x',
    priority: 0,
    nextTry: 0,
    ordered: false,
    gone: false,
    released: false,
    fresh: {},
    ...changes,
  };
}

t.test('as many jobs run at once as there are sessions, urgent ones first', async (t) => {
  const box = bench(t);
  for (const [id, priority] of [
    [1, 0],
    [2, 0],
    [3, 0],
    [4, 5],
  ] as const)
    box.lane.add(job(id, { priority }));
  t.same(box.started, [1, 2]);
  await box.end(1);
  await box.end(2);
  t.same(box.started, [1, 2, 4, 3]);
});

t.test('a job that is put off runs again when it is due, and not before', async (t) => {
  const box = bench(t);
  box.lane.add(job(1));
  await box.end(1, { kind: 'again', at: Date.now() + 5_000 });
  mock.timers.tick(4_999);
  t.same(box.started, [1]);
  mock.timers.tick(1);
  t.same(box.started, [1, 1]);
});

t.test('a server out of reach is tried with one job at a time, and the backlog leaves in order', async (t) => {
  const box = bench(t, { width: 3 });
  for (const id of [1, 2, 3, 4, 5]) box.lane.add(job(id));
  t.same(box.started, [1, 2, 3]);
  for (const id of [3, 1, 2]) await box.end(id, { kind: 'unreachable', patience: 'short' });
  t.equal(box.downs, 3);
  mock.timers.tick(10_000);
  t.same(box.started.splice(0), [1, 2, 3, 1], 'one, and the oldest');
  await box.end(1);
  t.same(box.started.splice(0), [2], 'the next of that sender only behind it');
  box.lane.add(job(6));
  box.lane.add(job(7, { sender: 'b@x' }));
  t.same(box.started.splice(0), [7], 'another sender waits for nobody');
  for (const id of [2, 3, 4, 5]) await box.end(id);
  t.same(box.started, [3, 4, 5, 6], 'new mail goes behind what waited');
});

t.test('a refused login waits five minutes, retry does not', async (t) => {
  const box = bench(t);
  box.lane.add(job(1));
  await box.end(1, { kind: 'unreachable', patience: 'long' });
  mock.timers.tick(140_000);
  t.same(box.started, [1]);
  box.lane.retry();
  t.same(box.started, [1, 1]);
});

t.test('a new mail is reason to try a server again that failed a while ago', async (t) => {
  const box = bench(t);
  box.lane.add(job(1));
  for (let n = 0; n < 6; n += 1) {
    await box.end(1, { kind: 'unreachable', patience: 'short' });
    mock.timers.tick(300_000);
  }
  await box.end(1, { kind: 'unreachable', patience: 'short' });
  box.started.length = 0;
  box.lane.add(job(2));
  mock.timers.tick(1_000);
  t.same(box.started, [1], 'with the oldest mail');
});

t.test('a job that is taken out does not run; one that runs cannot be taken out', async (t) => {
  const box = bench(t, { width: 1 });
  box.lane.add(job(1));
  box.lane.add(job(2));
  t.equal(box.lane.remove(1), false);
  t.equal(box.lane.remove(2), true);
  await box.end(1);
  t.same(box.started, [1]);
  t.equal(box.lane.size, 0);
});

t.test('a lane for synced accounts lets go what is there at a sync, and no more', async (t) => {
  const box = bench(t, { when: 'sync', width: 5 });
  box.lane.add(job(1));
  box.lane.add(job(2));
  t.same(box.started, []);
  box.lane.synced();
  t.same(box.started, [1, 2]);
  box.lane.add(job(3));
  t.same(box.started, [1, 2]);
  box.lane.retry(3);
  t.same(box.started, [1, 2, 3], 'a person may say now');
});

t.test('a lane for reachable accounts sends while they are', async (t) => {
  let online = false;
  const box = bench(t, { when: 'reachable', reachable: () => online });
  box.lane.add(job(1));
  t.same(box.started, []);
  online = true;
  box.lane.add(job(2));
  t.same(box.started, [2]);
  box.lane.synced();
  t.same(box.started, [2, 1]);
});

t.test('close waits for what runs and starts nothing more', async (t) => {
  const box = bench(t, { width: 1 });
  box.lane.add(job(1));
  box.lane.add(job(2));
  const closed = box.lane.close();
  await box.end(1);
  await closed;
  t.same(box.started, [1]);
});
