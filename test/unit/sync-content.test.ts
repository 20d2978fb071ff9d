import t, { type Test } from 'tap';
import { pruneExpunged } from '../../src/store/feed.js';
import { MergeboxError } from '../../src/util/errors.js';
import { type FakeFeatures, FakeServer, FULL, mail, PLAIN } from './support/fake-server.js';
import { type MailWorld, openWorld } from './support/mail-world.js';

/** What stands under a UID, and what a copy is taken for. */

function servers(features: FakeFeatures = FULL): { work: FakeServer; home: FakeServer } {
  const work = new FakeServer(features);
  const home = new FakeServer(features);
  for (const server of [work, home]) {
    server.create('INBOX', 'inbox').add(mail('both'));
    server.folder('INBOX').add(mail('both again'));
    server.create('Trash', 'trash');
    server.create('Kept').add(mail('filed'));
  }
  work.create('Projects').add(mail('plan'));
  return { work, home };
}

async function settled(t: Test, made = servers()): Promise<MailWorld> {
  const world = await openWorld(t, made);
  await world.settle();
  return world;
}

/** Mails that only their text tells apart. */
function lookAlike(text: string): Buffer {
  return mail('nameless', `${text}\r\n`, { messageId: null });
}

/** What each UID of a mailbox serves. */
async function hashes(world: MailWorld, name: string): Promise<Map<number, string>> {
  return new Map((await world.entries(name)).map(({ uid, hash }) => [uid, hash]));
}

/** UIDs that serve other bytes than before. */
function changed(before: ReadonlyMap<number, string>, after: ReadonlyMap<number, string>): number[] {
  return [...after].flatMap(([uid, hash]) => (before.has(uid) && before.get(uid) !== hash ? uid : []));
}

for (const [kind, features] of [
  ['QRESYNC', FULL],
  ['plain', PLAIN],
] as const) {
  t.test(`a COPY of ours explains no mail that vanished (${kind})`, async (t) => {
    const world = await settled(t, servers(features));
    await world.in('INBOX', (mailbox) => mailbox.copy([1], 'Accounts/work/Projects'));
    await world.settle();
    world.servers['work']!.folder('INBOX').remove([1]);
    await world.settle();
    t.ok(world.servers['home']!.contents().includes('Trash: both []'), 'a deletion, which the other account follows');
  });

  t.test(`MOVE whose answer is lost: look-alikes do not change places (${kind})`, async (t) => {
    const made = servers(features);
    for (const text of ['one', 'two']) made.work.folder('INBOX').add(lookAlike(text), '', 1_800_000_000);
    const world = await settled(t, made);
    const before = made.work.folder('INBOX').messages.slice(-2);
    const upstream = world.upstreams['work']!;
    upstream.step = (call, moment) => {
      if (moment !== 'after' || !/^(move: copy|move) INBOX/.test(call)) return;
      upstream.step = () => undefined;
      throw new MergeboxError('connection', 'connection lost');
    };
    const uids = await world.in('INBOX', async (mailbox) =>
      [...mailbox.listing.uids.subarray(0, mailbox.listing.length)].slice(-2),
    );
    // The later one first, so that the order of the targets is not that of the sources.
    const targets = new Map<number, string>();
    for (const [index, uid] of [...uids.entries()].reverse()) {
      const { targetUids } = await world.in('INBOX', (mailbox) => mailbox.move([uid], 'Accounts/work/Projects'));
      targets.set(targetUids[0]!, before[index]!.bytes.toString());
    }
    await world.settle();
    const found = await world.in('Accounts/work/Projects', async (mailbox) => {
      const texts = new Map<number, string>();
      for (const uid of mailbox.listing.uids.subarray(0, mailbox.listing.length)) {
        const body = await mailbox.body(uid);
        texts.set(uid, (await body.read(0, body.size)).toString());
      }
      return texts;
    });
    t.same(changed(targets, found), []);
    t.equal([...found.values()].filter((text) => text.includes('nameless')).length, 2);
    t.equal(made.work.contents().filter((line) => line.includes('nameless')).length, 2);
  });

  t.test(`UIDVALIDITY reset: no UID serves other bytes, whatever looks alike (${kind})`, async (t) => {
    const made = servers(features);
    const inbox = made.work.folder('INBOX');
    for (const text of ['one', 'two']) inbox.add(lookAlike(text), '', 1_800_000_000);
    for (const [n, text] of ['red', 'tan'].entries()) inbox.add(lookAlike(`the ${text}`), '', 1_800_000_100 + n);
    const world = await settled(t, made);
    const before = await hashes(world, 'INBOX');
    // The server numbers them anew in another order.
    inbox.messages.reverse();
    inbox.reset();
    await world.settle();
    const after = await hashes(world, 'INBOX');
    t.same(changed(before, after), []);
    t.same([...after.values()].sort(), [...before.values()].sort());
    t.same(
      [...before.keys()].filter((uid) => !after.has(uid)).length,
      2,
      'only the two that nothing but their text tells apart are new to clients',
    );
    t.notOk(
      world.servers['home']!.contents().some((line) => line.startsWith('Trash')),
      'nobody deleted anything',
    );
  });
}

t.test('UIDVALIDITY reset: a mail with other bytes than before is a new one, and no deletion', async (t) => {
  const world = await settled(t);
  const inbox = world.servers['work']!.folder('INBOX');
  const before = await hashes(world, 'INBOX');
  inbox.messages = inbox.messages.map((each) => ({
    ...each,
    bytes: Buffer.concat([Buffer.from('X-Migrated: yes\r\n'), each.bytes]),
  }));
  inbox.reset();
  await world.settle();
  const after = await hashes(world, 'INBOX');
  t.same(changed(before, after), []);
  t.same((await world.entries('INBOX')).map(({ subject }) => subject).sort(), ['both', 'both again']);
  t.same(world.servers['home']!.contents().filter((line) => line.startsWith('INBOX')).length, 2);
});

t.test('a COPY to another account is honoured though its source is destroyed before the upload', async (t) => {
  const world = await settled(t);
  const { work, home } = world.servers;
  const target = world.upstreams['home']!;
  let refuse = true;
  target.step = (call, moment) => {
    if (refuse && moment === 'before' && /^append/.test(call)) throw new MergeboxError('unavailable', 'not now');
  };
  const { targetUids } = await world.in('Accounts/work/Projects', (mailbox) => mailbox.copy([1], 'Accounts/home/Kept'));
  for (const engine of world.sync.engines) {
    if (engine.name === 'work') await engine.settle(AbortSignal.timeout(5_000));
  }
  work!.folder('Projects').remove([1]);
  for (const engine of world.sync.engines) {
    if (engine.name === 'work') await engine.settle(AbortSignal.timeout(5_000));
  }
  t.ok(
    (await world.entries('Accounts/home/Kept')).some(({ uid, subject }) => uid === targetUids[0] && subject === 'plan'),
  );
  refuse = false;
  await world.settle();
  t.ok(home!.contents().includes('Kept: plan []'));
  t.same(await world.store.read((tx) => tx.all('SELECT id FROM message WHERE pinned IS NOT NULL')), []);
});

t.test('a COPY to another account needs no server when the bytes are at hand', async (t) => {
  const world = await settled(t);
  const { work, home } = world.servers;
  await world.mail.append('INBOX', [{ bytes: mail('mine'), flags: [], internalDate: 1_810_000_000 }]);
  const upstream = world.upstreams['work']!;
  upstream.step = () => {
    throw new MergeboxError('unavailable', 'not now');
  };
  await world.in('INBOX', (mailbox) => mailbox.copy([3], 'Accounts/home/Kept'));
  for (const engine of world.sync.engines) {
    if (engine.name === 'home') await engine.settle(AbortSignal.timeout(5_000));
  }
  t.ok(home!.contents().includes('Kept: mine []'));
  upstream.step = () => undefined;
  await world.settle();
  t.ok(work!.contents().includes('INBOX: mine []'));
});

t.test('COPY and MOVE to an account that rewrites mail: what was shown is served, the original stays', async (t) => {
  const made = servers();
  made.home.rewrite = (bytes) => Buffer.concat([Buffer.from('X-Seen-By: home\r\n'), bytes]);
  made.work.create('Third');
  const world = await settled(t, made);
  const before = (await hashes(world, 'Accounts/work/Projects')).get(1)!;
  const { targetUids } = await world.in('Accounts/work/Projects', (mailbox) => mailbox.copy([1], 'Accounts/home/Kept'));
  await world.settle();
  t.equal((await hashes(world, 'Accounts/home/Kept')).get(targetUids[0]!), before);
  // The copy of that copy at a third place is verified there, which says nothing of the second.
  const { targetUids: third } = await world.in('Accounts/home/Kept', (mailbox) =>
    mailbox.copy([targetUids[0]!], 'Accounts/work/Third'),
  );
  await world.settle();
  t.equal((await hashes(world, 'Accounts/work/Third')).get(third[0]!), before);
  made.work.folder('Projects').remove([1]);
  made.work.folder('Third').remove([1]);
  await world.settle();
  t.equal((await hashes(world, 'Accounts/home/Kept')).get(targetUids[0]!), before, 'bytes that only we have are kept');
});

t.test('MOVE to an account that rewrites mail: the original is shown again where it was', async (t) => {
  const made = servers();
  made.home.rewrite = (bytes) => Buffer.concat([Buffer.from('X-Seen-By: home\r\n'), bytes]);
  const world = await settled(t, made);
  const before = (await hashes(world, 'Accounts/work/Projects')).get(1)!;
  const { targetUids } = await world.in('Accounts/work/Projects', (mailbox) => mailbox.move([1], 'Accounts/home/Kept'));
  for (const engine of world.sync.engines) await engine.settle(AbortSignal.timeout(5_000)).catch(() => undefined);
  t.ok(made.work.contents().includes('Projects: plan []'));
  t.equal((await hashes(world, 'Accounts/home/Kept')).get(targetUids[0]!), before);
  t.same([...(await hashes(world, 'Accounts/work/Projects')).values()], [before]);
});

t.test('mass-deletion guard: without VANISHED the loss of a whole small folder waits for a person', async (t) => {
  const world = await settled(t, servers(PLAIN));
  const { work, home } = world.servers;
  // UIDNEXT and UIDVALIDITY say nothing: many servers keep these apart from the mails.
  work!.folder('INBOX').remove([1, 2]);
  await t.rejects(world.settle(), /2 of 2 mails vanished from "INBOX"/);
  t.equal(await world.in('INBOX', async ({ listing }) => listing.length), 2, 'clients keep their view');
  t.same(home!.contents().filter((line) => line.startsWith('INBOX')).length, 2);
  await world.sync.engines.find(({ name }) => name === 'work')!.release();
  await world.settle();
  t.same(home!.contents().filter((line) => line.startsWith('Trash')).length, 2);
});

t.test('mass-deletion guard: what was moved, replaced or thrown out of Trash is no loss', async (t) => {
  const world = await settled(t, servers(PLAIN));
  const { work, home } = world.servers;
  work!.moveElsewhere('INBOX', [1, 2], 'Projects');
  await world.settle();
  t.same(home!.contents().filter((line) => line.startsWith('INBOX')).length, 2, 'moved to another folder');
  home!.folder('Kept').remove([1]);
  home!.folder('Kept').add(mail('filed', 'a later version\r\n'));
  await world.settle();
  t.same((await world.entries('Accounts/home/Kept')).length, 1);
  work!.folder('Trash').add(mail('rubbish'));
  await world.settle();
  work!.folder('Trash').remove([1]);
  await world.settle();
  t.same(await world.entries('Trash'), []);
});

for (const [kind, features] of [
  ['QRESYNC', FULL],
  ['plain', PLAIN],
] as const) {
  t.test(`a folder that another client renamed keeps its mailbox and UIDs under the new name (${kind})`, async (t) => {
    const made = servers(features);
    made.work.create('Projects/Old').add(mail('older plan'));
    const world = await settled(t, made);
    const before = await world.in('Accounts/work/Projects', async ({ uidValidity }) => uidValidity);
    const shown = await hashes(world, 'Accounts/work/Projects/Old');
    for (const path of ['Projects', 'Projects/Old']) {
      made.work.folders.set(path.replace('Projects', 'Plans'), made.work.folder(path));
      made.work.folders.delete(path);
    }
    await world.settle();
    const names = (await world.mail.list()).map(({ name }) => name).filter((name) => name.includes('P'));
    t.same(names.sort(), ['Accounts/work/Plans', 'Accounts/work/Plans/Old']);
    t.equal(await world.in('Accounts/work/Plans', async ({ uidValidity }) => uidValidity), before);
    t.same(await hashes(world, 'Accounts/work/Plans/Old'), shown);
    t.same(
      (await world.entries('Accounts/work/Plans')).map(({ uid, subject }) => [uid, subject]),
      [[1, 'plan']],
    );
  });

  t.test(`a folder that is denied keeps what it shows and holds nothing else up (${kind})`, async (t) => {
    const world = await settled(t, servers(features));
    const { work } = world.servers;
    const upstream = world.upstreams['work']!;
    upstream.step = (call) => {
      if (call === 'examine Projects') throw new MergeboxError('refused', '[NOPERM] permission denied');
    };
    work!.folder('Projects').add(mail('unseen'));
    work!.folder('INBOX').add(mail('seen'));
    await world.settle();
    t.ok((await world.entries('INBOX')).some(({ subject }) => subject === 'seen'));
    t.equal(await world.in('Accounts/work/Projects', async ({ listing }) => listing.length), 1);
    upstream.step = () => undefined;
    await world.settle();
    t.same(
      (await world.entries('Accounts/work/Projects')).map(({ uid, subject }) => [uid, subject]),
      [
        [1, 'plan'],
        [2, 'unseen'],
      ],
    );
  });
}

t.test('a new folder that only looks like a renamed one shows its own mail under new UIDs', async (t) => {
  const made = servers();
  const world = await settled(t, made);
  made.work.folders.delete('Projects');
  const other = made.work.create('Other');
  other.uidValidity = 1;
  other.add(mail('something else'));
  await world.settle();
  const before = await hashes(world, 'Accounts/work/Other');
  made.work.folders.delete('Other');
  const third = made.work.create('Third');
  third.uidValidity = 1;
  third.add(mail('and another'));
  await world.settle().catch(() => undefined);
  for (const engine of world.sync.engines) await engine.release();
  await world.settle();
  const entries = await world.entries('Accounts/work/Third');
  t.same(
    entries.map(({ subject }) => subject),
    ['and another'],
  );
  t.same(changed(before, await hashes(world, 'Accounts/work/Third')), []);
});

for (const [kind, features] of [
  ['QRESYNC', FULL],
  ['plain', PLAIN],
] as const) {
  t.test(`a server that was set back to a backup gives a known UID to another mail (${kind})`, async (t) => {
    const made = servers(features);
    const inbox = made.work.folder('INBOX');
    const backup = inbox.clone();
    inbox.add(mail('lost with the disk'));
    inbox.add(mail('lost as well'));
    const world = await settled(t, made);
    const before = await hashes(world, 'INBOX');
    made.work.folders.set('INBOX', backup);
    backup.add(mail('under a used UID'));
    await world.settle();
    const after = await hashes(world, 'INBOX');
    t.same(changed(before, after), []);
    t.same(
      (await world.entries('INBOX')).map(({ subject }) => subject),
      ['both', 'both again', 'under a used UID'],
    );
    t.same([...after.keys()].slice(0, 2), [...before.keys()].slice(0, 2), 'what is still there keeps its UIDs');
  });
}

t.test('bytes that changed under a UID are another mail, under a new UID', async (t) => {
  const world = await settled(t);
  const inbox = world.servers['work']!.folder('INBOX');
  const listed = await world.in('INBOX', async ({ listing }) => [...listing.uids.subarray(0, listing.length)]);
  const other = mail('both', 'other text of another length\r\n');
  inbox.messages = inbox.messages.map((each) => (each.uid === 1 ? { ...each, bytes: other } : each));
  await t.rejects(
    world.in('INBOX', async (mailbox) => {
      const body = await mailbox.body(listed[0]!);
      await body.read(0, body.size);
    }),
  );
  await world.settle();
  const entries = await world.entries('Accounts/work/INBOX');
  t.equal(entries.length, 2);
  t.ok(
    entries.some(({ uid, subject }) => subject === 'both' && uid > 2),
    'a new UID',
  );
  t.notOk(entries.some(({ uid }) => uid === 1));
  t.same(world.servers['home']!.contents().filter((line) => line.startsWith('INBOX')).length, 2, 'nobody deleted it');
});

t.test('a server whose sizes lie is believed in what it gives', async (t) => {
  const world = await settled(t);
  const upstream = world.upstreams['work']!;
  const read = upstream.read.bind(upstream);
  upstream.read = (path, since, use) =>
    read(path, since, (reader) =>
      use({
        ...reader,
        messages: (uids, onPage) =>
          reader.messages(uids, (page) => onPage(page.map((each) => ({ ...each, size: each.size + 7 })))),
      }),
    );
  world.servers['work']!.folder('Projects').add(mail('sized'));
  await world.settle();
  t.same(
    (await world.entries('Accounts/work/Projects')).map(({ uid, subject }) => [uid, subject]),
    [
      [1, 'plan'],
      [2, 'sized'],
    ],
  );
});

for (const [kind, features] of [
  ['QRESYNC', FULL],
  ['plain', PLAIN],
] as const) {
  t.test(`a look that finds nothing new writes nothing (${kind})`, async (t) => {
    const world = await settled(t, servers(features));
    let writes = 0;
    const write = world.store.write.bind(world.store);
    world.store.write = (task) => {
      writes += 1;
      return write(task);
    };
    for (const engine of world.sync.engines) t.match(await engine.round(), { changed: false, held: null });
    t.equal(writes, 0);
  });
}

t.test('removals of long ago are forgotten; who asks for them is told all UIDs that are not there', async (t) => {
  const world = await settled(t);
  const modSeq = await world.in('INBOX', async ({ listing }) => listing.highestModSeq);
  for (const uid of [1, 2]) {
    await world.in('INBOX', async (mailbox) => {
      await mailbox.store([uid], 'add', ['\\Deleted']);
      await mailbox.expunge([uid]);
    });
  }
  await world.settle();
  const told = (since: number): Promise<readonly number[]> =>
    world.in('INBOX', (mailbox) => mailbox.vanishedSince(since));
  const recent = await world.in('INBOX', async ({ listing }) => listing.highestModSeq - 1);
  const [all, last] = [await told(modSeq), await told(recent)];
  t.same(all, [1, 2]);
  await world.store.write((tx) => pruneExpunged(tx, 1, 0));
  const rows = await world.store.read((tx) =>
    tx.all<{ n: number }>('SELECT COUNT(*) AS n FROM expunged GROUP BY mailbox_id'),
  );
  for (const { n } of rows) t.equal(n, 1);
  t.same(await told(modSeq), all);
  t.same(await told(recent), last);
});

t.test(
  'a folder that holds all mail again doubles nothing, and a mail that leaves INBOX for it is archived',
  async (t) => {
    const made = servers();
    const all = made.work.create('All Mail');
    all.virtual = true;
    for (const { bytes } of made.work.folder('INBOX').messages) all.add(bytes);
    const world = await settled(t, made);
    const inbox = await world.entries('INBOX');
    t.same(inbox.map(({ subject }) => subject).sort(), ['both', 'both again']);
    t.equal((await world.entries('Accounts/work/All Mail')).length, 2);
      made.work.folder('INBOX').remove([1]);
    await world.settle();
    t.equal((await world.uids('INBOX', 'both')).length, 1, 'the other account still has it in INBOX');
    t.ok(made.home.contents().includes('INBOX: both []'), 'no deletion');
    all.remove([2]);
    made.work.folder('INBOX').remove([2]);
    await world.settle().catch(() => undefined);
    for (const engine of world.sync.engines) await engine.release();
    await world.settle();
    t.ok(made.home.contents().includes('Trash: both again []'), 'gone from all mail as well: a deletion');
  },
);
