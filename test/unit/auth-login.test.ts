import fc from 'fast-check';
import t from 'tap';
import { addressKey } from '../../src/auth/address.js';
import { Authenticator } from '../../src/auth/authenticator.js';
import { Gate } from '../../src/auth/gate.js';
import { hashPassword, readPasswordHash, verifyPassword } from '../../src/auth/password.js';
import { Throttle } from '../../src/auth/throttle.js';
import type { Clock } from '../../src/util/clock.js';
import { formatScryptHash, parseScryptHash } from '../../src/util/phc.js';

const CHEAP = { ln: 10, r: 1, p: 1 } as const;

/** A clock whose sleeps pass at once and are written down. */
class FakeClock implements Clock {
  time = 1_000_000;
  readonly sleeps: number[] = [];
  now = (): number => this.time;
  sleep = async (ms: number, signal?: AbortSignal): Promise<void> => {
    signal?.throwIfAborted();
    this.sleeps.push(ms);
    this.time += ms;
  };
}

async function setUp(): Promise<{ clock: FakeClock; auth: Authenticator; attempts: boolean[] }> {
  const clock = new FakeClock();
  const attempts: boolean[] = [];
  const users = [
    { name: 'alice', passwordHash: await hashPassword('right', CHEAP) },
    { name: 'bob', passwordHash: await hashPassword('bobs', CHEAP) },
  ];
  const auth = new Authenticator({ users, clock, onAttempt: ({ ok }) => attempts.push(ok) });
  return { clock, auth, attempts };
}

t.test('hashPassword and verifyPassword agree, with a fresh salt each time', async (t) => {
  const one = await hashPassword('Grüße, 世界');
  t.match(one, /^\$scrypt\$ln=15,r=8,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
  t.not(one, await hashPassword('Grüße, 世界'));
  t.ok(await verifyPassword('Grüße, 世界', readPasswordHash(one)));
  t.notOk(await verifyPassword('Grüße, 世界 ', readPasswordHash(one)));
});

t.test('verifyPassword fits the test vector of RFC 7914 §12', async (t) => {
  const hash = Buffer.from(
    'fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640',
    'hex',
  );
  t.ok(await verifyPassword('password', { ln: 10, r: 8, p: 16, salt: Buffer.from('NaCl'), hash }));
});

t.test('parseScryptHash reads what formatScryptHash writes and refuses the rest', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 32 }), fc.integer({ min: 10, max: 17 }), (bytes, ln) => {
      const text = formatScryptHash({ ln, r: 8, p: 1, salt: Buffer.from(bytes), hash: Buffer.from(bytes) });
      const back = parseScryptHash(text);
      return back?.ln === ln && back.salt.equals(Buffer.from(bytes)) && formatScryptHash(back) === text;
    }),
  );
  const good = '$scrypt$ln=15,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';
  t.ok(parseScryptHash(good));
  for (const bad of [
    '',
    'secret',
    `${good}=`,
    good.replace('15', '9'),
    good.replace('15', '40'),
    good.replace('p=1', 'p=0'),
  ]) {
    t.equal(parseScryptHash(bad), null, bad);
  }
  t.throws(() => readPasswordHash('secret'), { code: 'config' });
  t.end();
});

t.test('authenticate accepts the right password only', async (t) => {
  const { auth, attempts } = await setUp();
  t.equal(await auth.authenticate('alice', 'right', '192.0.2.1'), true);
  t.equal(await auth.authenticate('alice', 'wrong', '192.0.2.1'), false);
  t.equal(await auth.authenticate('alice', 'bobs', '192.0.2.1'), false);
  t.equal(await auth.authenticate('Alice', 'right', '192.0.2.1'), false);
  t.equal(await auth.authenticate('nobody', 'right', '192.0.2.1'), false);
  t.equal(await auth.authenticate('alice', 'x'.repeat(1_025), '192.0.2.1'), false);
  t.equal(await auth.authenticate('', '', '192.0.2.1'), false);
  t.strictSame(attempts, [true, false, false, false, false, false]);
});

t.test('authenticate takes the same work for an unknown user as for a wrong password', async (t) => {
  const clock = new FakeClock();
  const users = [{ name: 'alice', passwordHash: await hashPassword('right', { ln: 14, r: 8, p: 1 }) }];
  const auth = new Authenticator({ users, clock });
  const cost = async (user: string, number: number): Promise<number> => {
    const start = process.hrtime.bigint();
    await auth.authenticate(user, `guess ${number}`, `192.0.2.${number}`);
    return Number(process.hrtime.bigint() - start) / 1e6;
  };
  const wrong: number[] = [];
  const unknown: number[] = [];
  for (let i = 0; i < 9; i += 1) {
    wrong.push(await cost('alice', 2 * i));
    unknown.push(await cost('mallory', 2 * i + 1));
  }
  const ratio = (Math.min(...unknown) + 1) / (Math.min(...wrong) + 1);
  t.ok(ratio > 0.5 && ratio < 2, `ratio ${ratio}`);
});

t.test('authenticate recognises a verified password without scrypt, until it has to verify again', async (t) => {
  const clock = new FakeClock();
  const users = [{ name: 'alice', passwordHash: await hashPassword('right', { ln: 15, r: 8, p: 1 }) }];
  const auth = new Authenticator({ users, clock });
  const time = async (): Promise<number> => {
    const start = process.hrtime.bigint();
    t.equal(await auth.authenticate('alice', 'right', '192.0.2.1'), true);
    return Number(process.hrtime.bigint() - start) / 1e6;
  };
  const first = await time();
  const again = await time();
  t.ok(again < first / 5, `${again} ms after ${first} ms`);
  clock.time += 6 * 60_000;
  t.ok((await time()) > first / 5, 'verified again');
  auth.setUsers([{ name: 'alice', passwordHash: await hashPassword('changed', CHEAP) }]);
  t.equal(await auth.authenticate('alice', 'right', '192.0.2.1'), false, 'a changed password ends it at once');
});

t.test('authenticate slows guesses from one address more and more, and turns them away in the end', async (t) => {
  const { auth, clock } = await setUp();
  let refused = 0;
  for (let i = 0; i < 20; i += 1) {
    await auth.authenticate('alice', `guess ${i}`, '192.0.2.1').catch((error: { code?: string }) => {
      t.equal(error.code, 'unavailable');
      refused += 1;
    });
  }
  t.ok(refused > 0);
  t.strictSame(clock.sleeps.slice(0, 4), [500, 1_000, 2_000, 4_000]);
  const before = clock.sleeps.length;
  t.equal(await auth.authenticate('alice', 'right', '198.51.100.7'), true, 'not from another address');
  t.equal(clock.sleeps.length, before);
});

t.test('authenticate does not let parallel guesses run ahead of the delays', async (t) => {
  const { auth, clock } = await setUp();
  const guesses = Array.from({ length: 40 }, (_, i) => auth.authenticate('alice', `guess ${i}`, '192.0.2.1'));
  const results = await Promise.allSettled(guesses);
  const decided = results.filter((result) => result.status === 'fulfilled').length;
  t.ok(decided <= 11, `${decided} were checked`);
  t.ok(clock.sleeps.length > 0);
});

t.test('authenticate slows an address that tries many users, but not who logged in there before', async (t) => {
  const { auth, clock } = await setUp();
  t.equal(await auth.authenticate('bob', 'bobs', '192.0.2.1'), true);
  for (let i = 0; i < 25; i += 1) {
    await auth.authenticate(`user${i}`, 'guess', '192.0.2.1').catch(() => undefined);
  }
  t.ok(clock.sleeps.length > 0);
  const before = clock.sleeps.length;
  t.equal(await auth.authenticate('bob', 'bobs', '192.0.2.1'), true);
  t.equal(clock.sleeps.length, before);
});

t.test('authenticate does not count the same wrong password again and again', async (t) => {
  const { auth, clock } = await setUp();
  for (let i = 0; i < 100; i += 1) t.equal(await auth.authenticate('alice', 'old one', '192.0.2.1'), false);
  const before = clock.sleeps.length;
  t.equal(await auth.authenticate('alice', 'right', '192.0.2.1'), true);
  t.equal(clock.sleeps.length, before, 'the phone with the new password does not wait for the laptop with the old');
});

t.test('authenticate forgets failures after a quiet time and at a success', async (t) => {
  const { auth, clock } = await setUp();
  for (let i = 0; i < 8; i += 1) await auth.authenticate('alice', `guess ${i}`, '192.0.2.1');
  t.equal(await auth.authenticate('alice', 'right', '192.0.2.1'), true);
  const before = clock.sleeps.length;
  await auth.authenticate('alice', 'guess', '192.0.2.1');
  t.equal(clock.sleeps.length, before);
  for (let i = 10; i < 18; i += 1) await auth.authenticate('alice', `guess ${i}`, '192.0.2.1');
  const slow = clock.sleeps.length;
  clock.time += 16 * 60_000;
  await auth.authenticate('alice', 'guess 20', '192.0.2.1');
  t.equal(clock.sleeps.length, slow);
});

t.test('authenticate checks the same password of five connections once', async (t) => {
  const { auth, clock, attempts } = await setUp();
  const results = await Promise.all(Array.from({ length: 30 }, () => auth.authenticate('alice', 'right', '192.0.2.1')));
  t.ok(results.every(Boolean));
  t.strictSame([attempts.length, clock.sleeps.length], [1, 0]);
});

t.test('close ends a login that waits', async (t) => {
  const { auth } = await setUp();
  auth.close();
  const results: unknown[] = [];
  for (let i = 0; i < 8; i += 1) {
    results.push(
      await auth.authenticate('alice', `guess ${i}`, '192.0.2.1').catch((error: { code: string }) => error.code),
    );
  }
  t.ok(results.includes('aborted'));
});

t.test('Throttle keeps a bounded number of keys', (t) => {
  const throttle = new Throttle({ free: 0, baseMs: 100, maxMs: 1_000, forgetMs: 10_000, keys: 2 });
  for (const key of ['a', 'b', 'c']) throttle.admit(key, 0);
  t.strictSame(
    ['a', 'b', 'c'].map((key) => throttle.delay(key, 0)),
    [0, 200, 200],
  );
  throttle.forgive('c', 0);
  t.equal(throttle.delay('c', 0), 0);
  for (let i = 0; i < 50; i += 1) throttle.admit('b', 0);
  t.ok(throttle.delay('b', 0) <= 51 * 1_000);
  t.end();
});

t.test('Gate runs no more than its width at once and refuses beyond its queue', async (t) => {
  const gate = new Gate(2, 3);
  let running = 0;
  let most = 0;
  const releases: (() => void)[] = [];
  const task = async (): Promise<void> => {
    running += 1;
    most = Math.max(most, running);
    await new Promise<void>((resolve) => releases.push(resolve));
    running -= 1;
  };
  const tasks = Array.from({ length: 5 }, () => gate.run(task));
  await t.rejects(gate.run(task), { code: 'unavailable' });
  while (releases.length < 5) {
    releases.at(-1)?.();
    releases.forEach((release) => {
      release();
    });
    await new Promise((resolve) => setImmediate(resolve));
  }
  releases.forEach((release) => {
    release();
  });
  await Promise.all(tasks);
  t.equal(most, 2);
  await t.rejects(
    gate.run(() => Promise.reject(new Error('no'))),
    /no/,
  );
  const last = gate.run(task);
  releases.at(-1)?.();
  await last;
});

t.test('addressKey counts an IPv6 subscriber as one and knows mapped addresses', (t) => {
  t.equal(addressKey('::ffff:192.0.2.1'), '192.0.2.1');
  t.equal(addressKey('192.0.2.1'), '192.0.2.1');
  t.equal(addressKey('2001:db8:0:1::5'), addressKey('2001:0DB8:0000:0001:ffff::'));
  t.not(addressKey('2001:db8:0:1::5'), addressKey('2001:db8:0:2::5'));
  t.equal(addressKey('fe80::1%eth0'), 'fe80:0:0:0::/64');
  t.equal(addressKey('::1'), '0:0:0:0::/64');
  t.end();
});
