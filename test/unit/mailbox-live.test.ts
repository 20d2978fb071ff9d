import t, { type Test } from 'tap';
import { accountKeyword } from '../../src/mail/flags.js';
import type { Listing } from '../../src/mail/listing.js';
import { LiveListing } from '../../src/mailbox/live-listing.js';
import { mailboxNamed } from '../../src/store/mailboxes.js';
import { FakeServer, mail } from './support/fake-server.js';
import { type MailWorld, openWorld } from './support/mail-world.js';

function rows(listing: Listing): string[] {
  return Array.from({ length: listing.length }, (_, n) =>
    [
      listing.uids[n],
      listing.rows[n],
      listing.messages[n],
      listing.flags(n),
      listing.modSeqs[n],
      listing.sizes[n],
      listing.dates[n],
    ].join(' '),
  );
}

async function world(t: Test): Promise<MailWorld> {
  const [a, b] = [new FakeServer(), new FakeServer()];
  for (const server of [a, b]) {
    server.create('INBOX', 'inbox');
    server.create('Archive', 'archive');
    server.create('Trash', 'trash');
    server.create('Projects');
    for (let n = 0; n < 12; n += 1) server.folder('INBOX').add(mail(`common ${n}`));
  }
  for (let n = 0; n < 6; n += 1) a.folder('INBOX').add(mail(`a ${n}`));
  const opened = await openWorld(t, { a, b });
  await opened.settle();
  return opened;
}

/** A small generator of its own, so that a failure can be repeated by its seed. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const NAMES = ['INBOX', 'Archive', 'Trash', 'Accounts/a/INBOX', 'Accounts/b/INBOX', 'Accounts/b/Projects'];

/** One thing that a client, or another client of a server, may do; refusals are fine. */
async function act(world: MailWorld, pick: (below: number) => number): Promise<string> {
  const name = NAMES[pick(NAMES.length)]!;
  const target = NAMES[pick(NAMES.length)]!;
  const what = pick(9);
  const mailbox = await world.mail.open(name);
  const uids = [...mailbox.listing.uids.subarray(0, mailbox.listing.length)].filter(() => pick(4) === 0);
  const flags = [['\\Seen'], ['\\Flagged', '$Work'], ['\\Deleted']][pick(3)]!;
  const server = world.servers[pick(2) === 0 ? 'a' : 'b']!;
  const inbox = server.folder('INBOX');
  const some = inbox.messages.filter(() => pick(6) === 0).map(({ uid }) => uid);
  try {
    if (what === 0) await mailbox.store(uids, 'add', flags);
    if (what === 1) await mailbox.store(uids, 'remove', flags);
    if (what === 2) await mailbox.copy(uids.slice(0, 3), target);
    if (what === 3) await mailbox.move(uids.slice(0, 3), target);
    if (what === 4) await mailbox.expunge();
    if (what === 5) await world.mail.append(name, [{ bytes: mail(`new ${pick(1_000_000)}`), flags }]);
    if (what === 6) inbox.flag(some, flags);
    if (what === 7) server.moveElsewhere('INBOX', some.slice(0, 2), 'Projects');
    if (what === 8) inbox.add(mail(`arrived ${pick(1_000_000)}`));
  } catch (error) {
    if ((error as { code?: string }).code !== 'cannot') throw error;
  } finally {
    mailbox.close();
  }
  if (what >= 6 || pick(3) === 0) await Promise.all(world.sync.engines.map((engine) => engine.round()));
  return `${what} on ${name} to ${target}: ${uids.join(',')}`;
}

t.test('LiveListing: equals a fresh load after whatever clients and servers do', async (t) => {
  for (const seed of [1, 2, 3, 4]) {
    const opened = await world(t);
    const pick = random(seed);
    const mailboxes = await Promise.all(NAMES.map((name) => opened.mail.open(name)));
    const told = NAMES.map(() => 0);
    for (const [n, mailbox] of mailboxes.entries()) {
      mailbox.onChange(() => {
        told[n]! += 1;
      });
    }
    const done: string[] = [];
    for (let n = 0; n < 30; n += 1) done.push(await act(opened, pick));
    await opened.settle(30_000);
    await opened.check();
    for (const [n, name] of NAMES.entries()) {
      const row = await opened.store.read((tx) => mailboxNamed(tx, name));
      const account = /^Accounts\/([ab])\//.exec(name)?.[1];
      const fresh = await LiveListing.load(opened.store, row, account ? accountKeyword(account) : '');
      // What STATUS asks for brings the open one up to date.
      const status = await opened.mail.status(name);
      const { listing } = mailboxes[n]!;
      t.same(rows(listing), rows(fresh.listing), `seed ${seed}: ${name}`) || t.comment(done.join('\n'));
      t.same([listing.uidNext, listing.highestModSeq], [fresh.listing.uidNext, fresh.listing.highestModSeq]);
      t.equal(status.messages, fresh.listing.length);
      t.equal(status.uidNext, fresh.listing.uidNext);
    }
    t.ok(told[0]! > 0, 'listeners were told');
    for (const mailbox of mailboxes) mailbox.close();
  }
});

t.test('STATUS counts the same for an open mailbox and for one that is not', async (t) => {
  const opened = await world(t);
  await opened.in('INBOX', async (inbox) => {
    await inbox.store([1, 2, 3], 'add', ['\\Seen']);
    await inbox.store([3, 4], 'add', ['\\Deleted', '$NotSeen']);
  });
  for (const name of ['INBOX', 'Accounts/a/INBOX']) {
    const closed = await opened.mail.status(name);
    const mailbox = await opened.mail.open(name);
    t.same(await opened.mail.status(name), closed, name);
    mailbox.close();
  }
  const status = await opened.mail.status('INBOX');
  t.same([status.messages, status.unseen, status.deleted], [18, 15, 2]);
});

t.test('two sessions: each hears of what the other did, and both of the same state', async (t) => {
  const opened = await world(t);
  const [one, two] = [await opened.mail.open('INBOX'), await opened.mail.open('INBOX')];
  let told = 0;
  const off = two.onChange(() => {
    told += 1;
  });
  const { modSeq } = await one.store([1], 'add', ['\\Flagged']);
  t.ok(told > 0);
  t.equal(two.listing.modSeqs[0], modSeq);
  t.match(two.listing.flags(0), /\\Flagged/);
  await one.store([2], 'add', ['\\Deleted']);
  await one.expunge([2]);
  t.equal(two.listing.indexOf(2), -1);
  off();
  const before = told;
  await one.store([1], 'remove', ['\\Flagged']);
  t.equal(told, before, 'not after it stopped listening');
  one.close();
  await two.store([1], 'add', ['\\Seen']);
  t.match(two.listing.flags(0), /\\Seen/, 'the other one stays open');
  two.close();
});

t.test('STORE: UNCHANGEDSINCE leaves alone what changed later, and changes the rest', async (t) => {
  const opened = await world(t);
  await opened.in('INBOX', async (inbox) => {
    const since = inbox.listing.highestModSeq;
    await inbox.store([1], 'add', ['\\Flagged']);
    const result = await inbox.store([1, 2], 'add', ['\\Seen'], since);
    t.same(result.modified, [1]);
    t.notMatch(inbox.listing.flags(0), /\\Seen/);
    t.match(inbox.listing.flags(1), /\\Seen/);
  });
});

t.test('STORE, MOVE and EXPUNGE of UIDs that are gone or were never there do nothing', async (t) => {
  const opened = await world(t);
  const before = await opened.view({ uids: true });
  await opened.in('INBOX', async (inbox) => {
    t.same((await inbox.store([777], 'add', ['\\Seen'])).modified, []);
    t.same((await inbox.copy([777], 'Archive')).targetUids, []);
    t.same((await inbox.move([777], 'Archive')).targetUids, []);
    await inbox.expunge([777, 1]);
    await t.rejects(inbox.copy([1], 'Nowhere'), { code: 'trycreate' });
    await t.rejects(inbox.move([1], 'INBOX'), { code: 'cannot' });
  });
  t.same(await opened.view({ uids: true }), before);
});

t.test('EXPUNGE removes only what carries \\Deleted when the transaction runs', async (t) => {
  const opened = await world(t);
  const [one, two] = [await opened.mail.open('INBOX'), await opened.mail.open('INBOX')];
  await one.store([1, 2], 'add', ['\\Deleted']);
  await Promise.all([two.store([1], 'remove', ['\\Deleted']), one.expunge()]);
  t.not(one.listing.indexOf(1), -1);
  t.equal(one.listing.indexOf(2), -1);
  one.close();
  two.close();
});

t.test('COPY and MOVE answer with the UIDs that the target shows', async (t) => {
  const opened = await world(t);
  for (const target of ['Archive', 'Accounts/a/Projects', 'Accounts/b/Projects']) {
    const subjects = (await opened.entries('INBOX')).slice(0, 4);
    const result = await opened.in('INBOX', (inbox) =>
      inbox.move(
        subjects.map(({ uid }) => uid),
        target,
      ),
    );
    t.same(
      result.sourceUids,
      subjects.map(({ uid }) => uid),
    );
    for (const when of ['at once', 'when it is done upstream']) {
      const there = await opened.entries(target);
      t.same(
        result.targetUids.map((uid) => there.find((each) => each.uid === uid)?.subject),
        subjects.map(({ subject }) => subject),
        `${target}, ${when}`,
      );
      await opened.settle();
    }
  }
});

t.test('APPEND: all or none, the bytes are there at once and after a restart of nothing but the store', async (t) => {
  const opened = await world(t);
  const many = [mail('first'), mail('second')].map((bytes) => ({ bytes, flags: ['\\Seen', '$account_b'] }));
  const { uids, uidValidity } = await opened.mail.append('INBOX', many);
  t.equal(uidValidity, (await opened.mail.status('INBOX')).uidValidity);
  t.same(
    (await opened.entries('INBOX')).filter(({ uid }) => uids.includes(uid)).map(({ flags }) => flags),
    ['\\Seen $account_a', '\\Seen $account_a'],
    'account keywords are not a client’s to set',
  );
  const before = await opened.view();
  const huge = { bytes: Buffer.alloc((1 << 24) + 1), flags: [] };
  await t.rejects(opened.mail.append('INBOX', [...many, huge]), { code: 'toobig' });
  await t.rejects(opened.mail.append('Nowhere', many), { code: 'trycreate' });
  t.same(await opened.view(), before);
});

t.test('a body is readable while its file is evicted, and while a MOVE is on its way', async (t) => {
  const server = new FakeServer();
  server.create('INBOX', 'inbox');
  server.create('Archive', 'archive');
  const big = mail('big', `${'x'.repeat(70)}\r\n`.repeat(20_000));
  server.folder('INBOX').add(big);
  server.folder('INBOX').add(mail('other big', `${'y'.repeat(70)}\r\n`.repeat(20_000)));
  const opened = await openWorld(t, { a: server });
  await opened.settle();
  await opened.in('INBOX', async (inbox) => {
    const body = await inbox.body(1);
    t.same(await body.read(0, 100), big.subarray(0, 100));
    // There is room for one file only.
    await inbox.body(2);
    t.same(await body.read(1_000_000, 1_000_100), big.subarray(1_000_000, 1_000_100));
    await inbox.body(2);
  });
  let moved: () => void = () => undefined;
  const answer = new Promise<void>((resolve) => {
    moved = resolve;
  });
  let asked: () => void = () => undefined;
  const gone = new Promise<void>((resolve) => {
    asked = resolve;
  });
  opened.upstreams['a']!.step = (call, moment) => {
    if (!call.startsWith('move') || moment !== 'after') return undefined;
    asked();
    return answer;
  };
  await opened.in('INBOX', (inbox) => inbox.move([1], 'Archive'));
  await gone;
  await opened.in('Archive', async (archive) => {
    const body = archive.body(1);
    setImmediate(moved);
    t.same(await (await body).read(0, big.length), big);
  });
  await opened.settle();
});
