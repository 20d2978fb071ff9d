import { readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import t, { type Test } from 'tap';
import { OfflineBodies } from '../../src/cache/offline-bodies.js';
import type { OfflineWish } from '../../src/store/offline.js';
import type { Prefetch } from '../../src/sync/prefetch-types.js';
import type { Clock } from '../../src/util/clock.js';
import { MergeboxError } from '../../src/util/errors.js';
import { Quiet } from '../../src/util/quiet.js';
import { eventually } from '../harness/net.js';
import { FakeServer, mail } from './support/fake-server.js';
import { MailWorld, scratch } from './support/mail-world.js';

const DAY = 86_400;
const NOW = Math.floor(Date.now() / 1000);

/** INBOX with mails `m0` (the oldest) to `m<n - 1>`, a day apart, arrived in the order of `order`. */
function server(days: readonly number[]): FakeServer {
  const made = new FakeServer();
  made.create('INBOX', 'inbox');
  made.create('Trash', 'trash');
  for (const day of days) made.folder('INBOX').add(mail(`m${day}`), '', NOW - day * DAY);
  return made;
}

/** Time that passes only by waiting. */
class StepClock implements Clock {
  waited = 0;
  now(): number {
    return this.waited;
  }
  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.waited += ms;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

interface Options {
  readonly wish?: Partial<OfflineWish>;
  readonly budget?: number;
  readonly rate?: number;
  readonly quiet?: Quiet;
  readonly dir?: string;
}

async function prefetching(t: Test, a: FakeServer, options: Options = {}) {
  const dir = options.dir ?? (await scratch(t));
  const bodies = await OfflineBodies.open(path.join(dir, 'offline'), options.budget ?? 1e9);
  const clock = new StepClock();
  const prefetch: Prefetch = {
    policy: 'test',
    wish: () => ({ since: null, maxBytes: 1e6, ...options.wish }),
    bodies,
    fetch: (place, sink) => world.upstreams['a']!.fetchBody(place, place.uid, sink),
    cached: async () => null,
    bytesPerSecond: options.rate ?? 1e6,
    quiet: options.quiet ?? new Quiet(0),
    clock,
  };
  const world: MailWorld = await MailWorld.open(dir, { a }, { selection: { a: { prefetch } } });
  const fetched: number[] = [];
  world.upstreams['a']!.step = (call, moment) => {
    if (moment === 'before' && call.startsWith('fetch body')) fetched.push(fetched.length);
  };
  await world.start();
  await world.settle();
  const [engine] = world.sync.engines;
  const status = () => engine!.status().offline!;
  const whole = (count: number) =>
    eventually('all that is wished for', () => status().wanted === count && status().kept === count, { everyMs: 5 });
  return { dir, world, bodies, clock, fetched, status, whole };
}

/** Subjects of what is kept. */
async function kept(bodies: OfflineBodies): Promise<string[]> {
  const texts = await Promise.all(
    bodies.keys().map(async (key) => {
      const body = (await bodies.get(key))!;
      return /Subject: (\S+)/.exec((await body.read(0, body.size)).toString())![1]!;
    }),
  );
  return texts;
}

t.test('bodies are fetched newest first, whatever their UIDs', async (t) => {
  const { world, bodies, whole } = await prefetching(t, server([5, 1, 9, 3, 7]));
  await whole(5);
  t.same(await kept(bodies), ['m1', 'm3', 'm5', 'm7', 'm9']);
  await world.close();
});

t.test('only what is recent and not too large is fetched', async (t) => {
  const a = server([1, 40]);
  a.folder('INBOX').add(mail('huge', 'x'.repeat(5_000)), '', NOW);
  const { world, bodies, whole } = await prefetching(t, a, { wish: { since: NOW - 30 * DAY, maxBytes: 2_000 } });
  await whole(1);
  t.same(await kept(bodies), ['m1']);
  await world.close();
});

t.test('a restart goes on where it was, and what arrives comes at once', async (t) => {
  const a = server([1, 2, 3, 4]);
  const dir = await scratch(t);
  const first = await prefetching(t, a, { dir });
  await first.whole(4);
  await first.world.close();
  const [lost, damaged] = first.bodies.keys();
  await first.bodies.delete(lost!);
  await writeFile(path.join(dir, 'offline', `${damaged}.body`), 'not what it was');
  await writeFile(path.join(dir, 'offline', '9.1.part'), 'half');
  const again = await prefetching(t, a, { dir });
  await again.whole(4);
  t.equal(again.fetched.length, 1, 'one was missing');
  t.equal(await again.bodies.get(damaged!), null, 'what is damaged is not served');
  t.notOk((await readdir(path.join(dir, 'offline'))).includes('9.1.part'));
  a.folder('INBOX').add(mail('m0'), '', NOW);
  await again.world.settle();
  await again.whole(5);
  t.ok((await kept(again.bodies)).includes('m0'));
  await again.world.close();
});

t.test('the rate is kept, and nothing is fetched while a client waits for a body', async (t) => {
  const quiet = new Quiet(20);
  let done: () => void = () => undefined;
  const busy = quiet.during(
    () =>
      new Promise<void>((resolve) => {
        done = resolve;
      }),
  );
  const { world, bodies, clock, fetched, whole } = await prefetching(t, server([1, 2]), { rate: 100, quiet });
  await eventually('it waits for quiet', () => clock.waited > 200, { everyMs: 1 });
  t.equal(fetched.length, 0);
  done();
  await busy;
  const before = clock.waited;
  await whole(2);
  t.ok(
    clock.waited - before >= ((bodies.octets - 64) / 100) * 1_000,
    `${clock.waited - before} ms for ${bodies.octets} octets`,
  );
  await world.close();
});

t.test('when the room is used up, newer mail takes the place of older', async (t) => {
  const a = server([5, 6, 7, 8, 9]);
  const size = mail('m5').length + 32;
  const { world, bodies, status, whole } = await prefetching(t, a, { budget: size * 3 });
  await eventually('the room is used up', () => status().full, { everyMs: 5 });
  t.same(await kept(bodies), ['m5', 'm6', 'm7']);
  a.folder('INBOX').add(mail('m1'), '', NOW - DAY);
  await world.settle();
  await eventually('the newest is there', async () => (await kept(bodies)).includes('m1'), { everyMs: 5 });
  t.same((await kept(bodies)).sort(), ['m1', 'm5', 'm6']);
  t.ok(bodies.octets <= size * 3);
  t.type(whole, 'function');
  await world.close();
});

t.test('a failing server ends nothing, and mail that goes leaves no body behind', async (t) => {
  const a = server([1, 2, 3]);
  const dir = await scratch(t);
  const first = await prefetching(t, a, { dir });
  await first.whole(3);
  a.folder('INBOX').add(mail('m0'), '', NOW);
  const upstream = first.world.upstreams['a']!;
  let failures = 0;
  upstream.step = (call) => {
    if (!call.startsWith('fetch body')) return;
    failures += 1;
    throw new MergeboxError('connection', 'test: away');
  };
  await first.world.settle();
  await eventually('a try', () => failures > 0, { everyMs: 5 });
  upstream.step = () => undefined;
  await first.world.settle();
  await first.whole(4);
  a.folder('INBOX').remove([1]);
  await first.world.settle();
  await first.world.close();
  const again = await prefetching(t, a, { dir });
  await again.whole(3);
  t.same((await kept(again.bodies)).sort(), ['m0', 'm2', 'm3']);
  await again.world.close();
});
