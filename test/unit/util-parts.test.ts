import { inspect } from 'node:util';
import t from 'tap';
import { backoffDelay } from '../../src/util/backoff.js';
import { systemClock } from '../../src/util/clock.js';
import { errorText, isMergeboxError, MergeboxError } from '../../src/util/errors.js';
import { chunks, groupBy } from '../../src/util/group.js';
import { createLog } from '../../src/util/log.js';
import { isLoopback } from '../../src/util/loopback.js';
import { KeyedMutex, Mutex } from '../../src/util/mutex.js';
import { Secret } from '../../src/util/secret.js';
import { Signal } from '../../src/sync/signal.js';

t.test('backoffDelay: doubles between half and whole steps, up to its maximum', async (t) => {
  const at = (attempt: number, random: number): number =>
    backoffDelay(attempt, { baseMs: 1_000, maxMs: 60_000, random: () => random });
  t.same(
    [1, 2, 3, 7, 50, 5_000].map((n) => at(n, 1)),
    [1_000, 2_000, 4_000, 60_000, 60_000, 60_000],
  );
  t.same(
    [0, -5, 1].map((n) => at(n, 0)),
    [500, 500, 500],
  );
});

t.test('Clock.sleep: ends early with the reason of its signal', async (t) => {
  const stop = new AbortController();
  const sleeping = systemClock.sleep(60_000, stop.signal);
  stop.abort(new Error('enough'));
  await t.rejects(sleeping, /enough/);
  await t.rejects(systemClock.sleep(60_000, stop.signal), /enough/);
  await systemClock.sleep(1);
});

t.test('Mutex: one after the other, in order, whatever fails', async (t) => {
  const mutex = new Mutex();
  const order: number[] = [];
  let running = 0;
  const results = await Promise.allSettled(
    [1, 2, 3].map((n) =>
      mutex.run(async () => {
        running += 1;
        t.equal(running, 1);
        await new Promise((resolve) => setImmediate(resolve));
        order.push(n);
        running -= 1;
        if (n === 2) throw new Error('two');
        return n;
      }),
    ),
  );
  t.same(order, [1, 2, 3]);
  t.same(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
});

t.test('KeyedMutex: keys do not wait for each other', async (t) => {
  const mutex = new KeyedMutex<string>();
  let open: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const order: string[] = [];
  const first = mutex.run('a', async () => {
    await gate;
    order.push('a1');
  });
  const second = mutex.run('a', async () => void order.push('a2'));
  await mutex.run('b', async () => void order.push('b'));
  open();
  await Promise.all([first, second]);
  t.same(order, ['b', 'a1', 'a2']);
  await t.rejects(
    mutex.run('a', async () => {
      throw new Error('no');
    }),
    /no/,
  );
  t.equal(await mutex.run('a', async () => 'free again'), 'free again');
});

t.test('Signal: a raise that nobody waited for is remembered once', async (t) => {
  const signal = new Signal();
  const { signal: never } = new AbortController();
  signal.raise();
  signal.raise();
  await signal.wait(60_000, never);
  const waiting = signal.wait(60_000, never);
  let over = false;
  void waiting.then(() => {
    over = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  t.notOk(over);
  signal.raise();
  await waiting;
  await signal.wait(1, never);
  await signal.wait(60_000, AbortSignal.abort());
});

t.test('Secret: prints itself nowhere', async (t) => {
  const secret = new Secret('hunter2');
  let logged = '';
  const log = createLog('info', {
    write: (line) => {
      logged += line;
    },
  });
  log.info({ secret, auth: { pass: 'hunter2' }, account: { password: 'hunter2' } }, 'made');
  const texts = [String(secret), JSON.stringify({ secret }), inspect({ deep: { secret } }), `${secret}`, logged];
  t.notOk(texts.some((text) => text.includes('hunter2')));
  t.equal(secret.reveal(), 'hunter2');
});

t.test('groupBy and chunks keep the order', async (t) => {
  t.same(
    [...groupBy(['b1', 'a1', 'b2'], (text) => text[0])],
    [
      ['b', ['b1', 'b2']],
      ['a', ['a1']],
    ],
  );
  t.same([...chunks([1, 2, 3, 4, 5], 2)], [[1, 2], [3, 4], [5]]);
  t.same([...chunks([], 2)], []);
});

t.test('MergeboxError: known by its code', async (t) => {
  const error = new MergeboxError('refused', 'no');
  t.ok(isMergeboxError(error) && isMergeboxError(error, 'cannot', 'refused'));
  t.notOk(isMergeboxError(error, 'cannot') || isMergeboxError(new Error('no')));
  t.same([errorText(error), errorText('text'), errorText(null)], ['no', 'text', 'null']);
});

t.test('isLoopback: only what never leaves the machine', async (t) => {
  t.ok(['127.0.0.1', '127.8.9.1', '::1', '[::1]', 'LOCALHOST', '::ffff:127.0.0.1'].every(isLoopback));
  t.notOk(['127.evil.example', '0.0.0.0', '::', '128.0.0.1', 'localhost.example', ''].some(isLoopback));
});
