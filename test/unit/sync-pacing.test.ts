import t, { type Test } from 'tap';
import { asksForPatience, retryDelay } from '../../src/sync/pacing.js';
import { refusal } from '../../src/upstream/errors.js';
import { isPassing, isThrottling, isTooManyConnections, retryHintMs } from '../../src/upstream/refusals.js';
import { MergeboxError } from '../../src/util/errors.js';
import { FakeServer, mail } from './support/fake-server.js';
import { openWorld } from './support/mail-world.js';

const lost = (text: string): MergeboxError => new MergeboxError('connection', `connect: the server closed: ${text}`);
const no = (code: string | null, text: string): MergeboxError => refusal('store', { status: 'NO', code, text });

t.test('retryHintMs: how long servers ask to wait, as they say it', async (t) => {
  for (const [text, ms] of [
    ['Too many connections, try again in 30 seconds', 30_000],
    ['Please try again in 5 minutes.', 300_000],
    ['Rate limit hit. Retry after 90', 90_000],
    ['Request is throttled. Suggested Backoff Time: 299961 milliseconds', 299_961],
    ['try again in 250 ms', 250],
    ['wait 2 hours', 3_600_000],
    ['try again in 99999999999999 seconds', null],
    ['try again later', null],
    ['quota exceeded (100 of 100)', null],
  ] as const) {
    t.equal(retryHintMs(lost(text)), ms, text);
  }
  t.equal(retryHintMs(new Error('try again in 30 seconds')), null, 'only what a server said');
  const start = process.cpuUsage().user;
  retryHintMs(lost('try again in '.repeat(100_000)));
  t.ok(process.cpuUsage().user - start < 50_000, 'a long text is not read to its end');
});

t.test('refusals: throttling, full servers and what passes are told apart', async (t) => {
  t.ok(isThrottling(no('THROTTLED', 'slow')));
  t.ok(isThrottling(no('LIMIT', 'Rate limit hit')));
  t.notOk(isThrottling(no('LIMIT', 'too many keywords')));
  t.notOk(isThrottling(no('OVERQUOTA', 'no room')));
  t.ok(isTooManyConnections(lost('Maximum number of connections from user+IP exceeded')));
  t.ok(isTooManyConnections(lost('Too many simultaneous connections. (Failure)')));
  t.notOk(isTooManyConnections(lost('shutting down')));
  for (const code of ['UNAVAILABLE', 'INUSE', 'SERVERBUG', 'THROTTLED']) t.ok(isPassing(no(code, 'x')), code);
  t.ok(isPassing(no(null, 'Internal server error')));
  t.notOk(isPassing(no('NOPERM', 'no')));
});

t.test('retryDelay: at least what was asked for, with jitter and growing otherwise', async (t) => {
  t.ok(retryDelay(lost('try again in 40 seconds'), 1) >= 40_000);
  const plain = retryDelay(lost('reset'), 1);
  t.ok(plain >= 500 && plain <= 1_000, String(plain));
  t.ok(retryDelay(lost('reset'), 30) <= 300_000);
  t.ok(retryDelay(lost('too many connections'), 1) >= 7_500, 'longer where the server is full');
  t.equal(retryDelay(new MergeboxError('authentication', 'x'), 1), 300_000);
  t.ok(asksForPatience(no('THROTTLED', 'slow')));
  t.notOk(asksForPatience(lost('reset')));
  t.notOk(asksForPatience(new MergeboxError('timeout', 'try again in 5 seconds')), 'our own words are no request');
});

async function accountOf(t: Test) {
  const server = new FakeServer();
  for (const [path, role] of [
    ['INBOX', 'inbox'],
    ['Trash', 'trash'],
  ] as const) {
    server.create(path, role);
  }
  server.folder('INBOX').add(mail('x'));
  const world = await openWorld(t, { a: server });
  await world.settle();
  return { world, upstream: world.upstreams['a']!, engine: world.sync.engines[0]! };
}

t.test('a server that says BYE and when to come back is not asked before, whoever wants to sync', async (t) => {
  const { world, upstream, engine } = await accountOf(t);
  const calls: number[] = [];
  let busy = true;
  upstream.step = (_call, moment) => {
    if (moment !== 'before') return;
    calls.push(Date.now());
    if (busy) throw lost('BYE too many connections, try again in 400 ms');
  };
  await t.rejects(engine.round(), { code: 'connection' });
  busy = false;
  const first = calls.length;
  await engine.round();
  t.ok(calls[first]! - calls[first - 1]! >= 390, `${calls[first]! - calls[first - 1]!} ms`);
  await world.settle();
});

t.test('NO [THROTTLED] pauses the account and parks nothing', async (t) => {
  const { world, upstream } = await accountOf(t);
  const tries: number[] = [];
  let left = 3;
  upstream.step = (call, moment) => {
    if (moment !== 'before' || !call.startsWith('store')) return;
    tries.push(Date.now());
    left -= 1;
    if (left >= 0) throw no('THROTTLED', 'Backoff Time: 200 milliseconds');
  };
  await world.in('INBOX', (inbox) => inbox.store([1], 'add', ['\\Seen']));
  for (let n = 0; n < 400 && left >= 0; n += 1) {
    await world.store.write((tx) => tx.run('UPDATE action SET next_try = 0'));
    world.sync.engines[0]!.owed();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await world.settle();
  const gaps = tries.slice(1).map((at, n) => at - tries[n]!);
  t.ok(gaps.length === 3 && gaps.every((gap) => gap >= 190), gaps.join(' '));
  t.same(world.servers['a']!.contents(), ['INBOX: x [\\Seen]']);
});
