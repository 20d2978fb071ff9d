import t, { type Test } from 'tap';
import { MergeboxError } from '../../src/util/errors.js';
import { type FakeFeatures, FakeServer, FULL, mail, PLAIN } from './support/fake-server.js';
import { MailWorld, openWorld, type Servers, scratch, type WorldOptions } from './support/mail-world.js';

type Mails = Readonly<Record<string, readonly Buffer[]>>;

/** One server an account, each with these mails in its INBOX and the usual folders. */
function serversOf(inboxes: Mails, features: FakeFeatures = FULL): Servers {
  return Object.fromEntries(
    Object.entries(inboxes).map(([name, mails], index) => {
      const server = new FakeServer(features);
      for (const [folder, role] of [
        ['INBOX', 'inbox'],
        ['Archive', 'archive'],
        ['Trash', 'trash'],
        ['Projects', null],
      ] as const) {
        server.create(folder, role);
      }
      // Of two copies the earlier account's is shown first, whichever is listed first.
      const date = (n: number): number => 1_700_000_000 + 10 * n + index;
      for (const [n, bytes] of mails.entries()) server.folder('INBOX').add(bytes, '', date(n));
      return [name, server];
    }),
  );
}

async function settled(t: Test, inboxes: Mails, options: WorldOptions & { features?: FakeFeatures } = {}) {
  const world = await openWorld(t, serversOf(inboxes, options.features), options);
  await world.settle();
  return world;
}

/** `subject [flags]` in UID order. */
async function lines(world: MailWorld, name: string): Promise<string[]> {
  return (await world.entries(name)).map(({ subject, flags }) => `${subject} [${flags}]`);
}

const subjects = async (world: MailWorld, name: string): Promise<string[]> =>
  (await world.entries(name)).map(({ subject }) => subject);

const upstream = (world: MailWorld, account: string): string[] => world.servers[account]!.contents();

t.test('merging: the k-th copy of one account pairs with the k-th of every other', async (t) => {
  const twin = mail('twin');
  const world = await settled(t, { a: [twin, twin, mail('only a')], b: [twin], c: [twin, twin, twin] });
  t.same((await lines(world, 'INBOX')).sort(), [
    'only a [$account_a]',
    'twin [$account_a $account_b $account_c]',
    'twin [$account_a $account_c]',
    'twin [$account_c]',
  ]);
});

t.test('merging: by policy', async (t) => {
  const real = mail('invoice', 'pay 10\r\n');
  const forged = mail('invoice', 'pay 10000\r\n');
  for (const [dedupe, expected] of [
    ['content', 2],
    ['messageId', 1],
    ['off', 2],
  ] as const) {
    const world = await settled(t, { a: [real], b: [forged] }, { dedupe });
    t.equal((await subjects(world, 'INBOX')).length, expected, `${dedupe}, other content`);
  }
  const off = await settled(t, { a: [real], b: [real] }, { dedupe: 'off' });
  t.equal((await subjects(off, 'INBOX')).length, 2, 'off, same content');
  const nameless = mail('cron', 'same\r\n', { messageId: null });
  const unnamed = await settled(t, { a: [nameless], b: [nameless] });
  t.equal((await subjects(unnamed, 'INBOX')).length, 2, 'no Message-ID and no bytes at hand: stays two');
});

t.test('merging: what arrives later joins the entry it belongs to, with one set of flags', async (t) => {
  const world = await settled(t, { a: [mail('news')], b: [] });
  const before = await world.entries('INBOX');
  await world.in('INBOX', (inbox) => inbox.store([before[0]!.uid], 'add', ['\\Flagged']));
  world.servers['b']!.folder('INBOX').add(mail('news'), '\\Seen');
  await world.settle();
  t.same(await lines(world, 'INBOX'), ['news [\\Flagged \\Seen $account_a $account_b]']);
  t.equal(await world.uid('INBOX', 'news'), before[0]!.uid);
  t.same([upstream(world, 'a'), upstream(world, 'b')].flat(), Array(2).fill('INBOX: news [\\Flagged \\Seen]'));
});

for (const features of [FULL, PLAIN]) {
  const kind = features === FULL ? 'QRESYNC' : 'plain';

  t.test(`flags: from one server to the client and to the other server (${kind})`, async (t) => {
    const world = await settled(t, { a: [mail('x')], b: [mail('x')] }, { features });
    world.servers['a']!.folder('INBOX').flag([1], ['\\Seen', '$Work']);
    await world.settle();
    t.same(await lines(world, 'INBOX'), ['x [\\Seen $Work $account_a $account_b]']);
    t.same(upstream(world, 'b'), ['INBOX: x [\\Seen $Work]']);
    world.servers['b']!.folder('INBOX').flag([1], [], ['\\Seen']);
    await world.settle();
    t.same(upstream(world, 'a'), ['INBOX: x [$Work]']);
    t.same(await lines(world, 'Accounts/a/INBOX'), ['x [$Work $account_a]']);
  });

  t.test(`flags: a server that spells a keyword in its own way is left alone (${kind})`, async (t) => {
    const world = await settled(t, { a: [mail('x')], b: [mail('x')] }, { features });
    await world.in('INBOX', (inbox) => inbox.store([1], 'add', ['$Work']));
    await world.settle();
    const folder = world.servers['a']!.folder('INBOX');
    folder.flag([1], [], ['$Work']);
    folder.flag([1], ['$work']);
    await world.settle();
    const count = world.mutations();
    await world.settle();
    t.equal(world.mutations(), count);
    t.same(upstream(world, 'a'), ['INBOX: x [$work]']);
    t.same(upstream(world, 'b'), ['INBOX: x [$Work]']);
  });

  t.test(`flags: what a server cannot hold stays here and is never read as cleared (${kind})`, async (t) => {
    const servers = serversOf({ a: [mail('x')], b: [mail('x')] }, features);
    servers['a']!.folder('INBOX').offered = ['\\Seen', '\\Deleted'];
    const world = await openWorld(t, servers);
    await world.settle();
    await world.in('INBOX', (inbox) => inbox.store([1], 'add', ['\\Seen', '\\Flagged', '$Work']));
    await world.settle();
    world.servers['a']!.folder('INBOX').flag([1], [], ['\\Seen']);
    await world.settle();
    t.same(await lines(world, 'INBOX'), ['x [\\Flagged $Work $account_a $account_b]']);
    t.same(upstream(world, 'a'), ['INBOX: x []']);
    t.same(upstream(world, 'b'), ['INBOX: x [\\Flagged $Work]']);
  });

  t.test(`deletion at one server: the other copies follow the policy of their account (${kind})`, async (t) => {
    for (const [onUpstreamDelete, expected, left] of [
      ['trash', ['Trash: x []'], []],
      ['expunge', [], []],
      ['keep', ['INBOX: x []'], ['x [$account_b]']],
    ] as const) {
      const options = { features, policies: { b: { onUpstreamDelete } } };
      const world = await settled(t, { a: [mail('x'), mail('y')], b: [mail('x')] }, options);
      world.servers['a']!.folder('INBOX').remove([1]);
      await world.settle();
      t.same(upstream(world, 'b'), expected, onUpstreamDelete);
      t.same(await lines(world, 'INBOX'), ['y [$account_a]', ...left], onUpstreamDelete);
      t.same(upstream(world, 'a'), ['INBOX: y []']);
    }
  });

  t.test(`a move into Trash at one server is a deletion, one out of it a restoration (${kind})`, async (t) => {
    const world = await settled(t, { a: [mail('x')], b: [mail('x')] }, { features });
    world.servers['a']!.moveElsewhere('INBOX', [1], 'Trash');
    await world.settle();
    t.same(upstream(world, 'b'), ['Trash: x []']);
    t.same(await lines(world, 'Trash'), ['x [$account_a $account_b]']);
    world.servers['a']!.moveElsewhere('Trash', [1], 'INBOX');
    await world.settle();
    t.same(upstream(world, 'b'), ['INBOX: x []']);
    t.same(await lines(world, 'INBOX'), ['x [$account_a $account_b]']);
    t.same(await lines(world, 'Trash'), []);
  });

  t.test(`a move to another folder at one server deletes nothing (${kind})`, async (t) => {
    const world = await settled(t, { a: [mail('x')], b: [mail('x')] }, { features });
    for (const [from, to] of [
      ['INBOX', 'Archive'],
      ['Archive', 'Projects'],
      ['Projects', 'INBOX'],
    ] as const) {
      world.servers['a']!.moveElsewhere(from, [world.servers['a']!.folder(from).messages[0]!.uid], to);
      await world.settle();
      t.same(upstream(world, 'a'), [`${to}: x []`]);
      t.same(upstream(world, 'b'), ['INBOX: x []'], to);
    }
    t.same(await lines(world, 'INBOX'), ['x [$account_a $account_b]']);
  });

  t.test(`a move into a folder that was looked at before is no deletion (${kind})`, async (t) => {
    const world = await settled(t, { a: [mail('x')], b: [mail('x')] }, { features });
    const server = world.servers['a']!;
    server.folder('INBOX').add(mail('new'));
    let moved = false;
    world.upstreams['a']!.step = (call, moment) => {
      // Between the look at all folders and the visit of this one.
      if (call !== 'examine INBOX' || moment !== 'before' || moved) return;
      moved = true;
      server.moveElsewhere('INBOX', [1], 'Projects');
    };
    await world.settle();
    t.ok(moved);
    t.same(upstream(world, 'b'), ['INBOX: x []']);
  });

  t.test(`UIDVALIDITY reset: clients keep their UIDs and flags, servers are left alone (${kind})`, async (t) => {
    const twin = mail('twin');
    const inboxes = { a: [mail('x'), twin, twin, mail('y')], b: [mail('x')] };
    const world = await settled(t, inboxes, { features });
    await world.in('INBOX', (inbox) => inbox.store([1], 'add', ['\\Flagged']));
    await world.settle();
    const before = { inbox: await world.entries('INBOX'), mirror: await world.entries('Accounts/a/INBOX') };
    const count = world.mutations();
    world.servers['a']!.folder('INBOX').reset();
    world.servers['a']!.folder('INBOX').flag([4], ['\\Seen']);
    await world.settle();
    t.equal(world.mutations(), count);
    const seen = (list: typeof before.inbox) =>
      list.map((each) => (each.subject === 'y' ? { ...each, flags: `\\Seen ${each.flags}` } : each));
    t.same(await world.entries('INBOX'), seen(before.inbox));
    t.same(await world.entries('Accounts/a/INBOX'), seen(before.mirror));
  });

  t.test(`UIDVALIDITY reset: a mail that went with it is a deletion like any other (${kind})`, async (t) => {
    const mails = Array.from({ length: 6 }, (_, n) => mail(`m${n}`));
    const world = await settled(t, { a: mails, b: [mails[0]!] }, { features });
    world.servers['a']!.folder('INBOX').remove([1]);
    world.servers['a']!.folder('INBOX').reset();
    await world.settle();
    t.same(upstream(world, 'b'), ['Trash: m0 []']);
    t.equal((await subjects(world, 'INBOX')).length, 5);
  });

  t.test(`UIDVALIDITY reset: a removal that was owed is done under the new UID (${kind})`, async (t) => {
    const servers = serversOf({ a: [mail('x'), mail('y'), mail('z')] }, features);
    const dir = await scratch(t);
    const first = await MailWorld.open(dir, servers);
    await first.start();
    await first.settle();
    first.upstreams['a']!.step = () => {
      throw new MergeboxError('connection', 'down');
    };
    await first.in('INBOX', async (inbox) => {
      await inbox.store([2], 'add', ['\\Deleted']);
      await inbox.expunge();
      await inbox.move([3], 'Archive');
    });
    await first.close();
    servers['a']!.folder('INBOX').reset();
    const world = await MailWorld.open(dir, servers);
    t.teardown(() => world.close());
    await world.start();
    await world.settle();
    t.same(upstream(world, 'a'), ['Archive: z []', 'INBOX: x []']);
    t.same(await subjects(world, 'INBOX'), ['x']);
    t.same(await subjects(world, 'Archive'), ['z']);
  });

  t.test(`mass-deletion guard: an emptied folder is held, and forgiven when it comes back (${kind})`, async (t) => {
    const mails = Array.from({ length: 8 }, (_, n) => mail(`m${n}`));
    const world = await settled(t, { a: mails, b: mails }, { features });
    const folder = world.servers['a']!.folder('INBOX');
    const kept = [...folder.messages];
    // A server that lost its mail says nothing of what it lost.
    folder.messages = [];
    folder.uidNext = 1;
    folder.highestModSeq += 1;
    await t.rejects(world.settle(), /8 of 8 mails vanished from "INBOX"/);
    t.equal(world.servers['b']!.folder('INBOX').messages.length, 8);
    t.equal(world.sync.engines[0]!.status().state, 'held');
    folder.messages = kept;
    folder.uidNext = kept.length + 1;
    folder.highestModSeq += 1;
    await world.settle();
    t.equal((await subjects(world, 'INBOX')).length, 8);
    t.equal(world.servers['b']!.folder('INBOX').messages.length, 8);
  });

  t.test(`mass-deletion guard: released by a person, the deletions are believed (${kind})`, async (t) => {
    const mails = Array.from({ length: 30 }, (_, n) => mail(`m${n}`));
    const world = await settled(t, { a: mails, b: [mails[0]!] }, { features, guard: { share: 0.2, count: 5 } });
    const folder = world.servers['a']!.folder('INBOX');
    folder.messages = [];
    folder.highestModSeq += 1;
    await t.rejects(world.settle(), /30 of 30 mails/);
    await world.sync.engines[0]!.release();
    await world.settle();
    t.same(upstream(world, 'b'), ['Trash: m0 []']);
    t.same(await subjects(world, 'INBOX'), []);
  });
}

t.test('mass-deletion guard: deletions that the server names one by one pass', async (t) => {
  const mails = Array.from({ length: 30 }, (_, n) => mail(`m${n}`));
  const world = await settled(t, { a: mails }, { guard: { share: 0.2, count: 5 } });
  world.servers['a']!.folder('INBOX').remove(Array.from({ length: 25 }, (_, n) => n + 1));
  await world.settle();
  t.equal((await subjects(world, 'INBOX')).length, 5);
});

t.test('authority upstream: changes flow in, nothing flows out', async (t) => {
  const options = { policies: { a: { authority: 'upstream' as const } } };
  const world = await settled(t, { a: [mail('x'), mail('y')], b: [mail('x')] }, options);
  const count = world.upstreams['a']!.mutations.length;
  await world.in('INBOX', async (inbox) => {
    await inbox.store([1, 2], 'add', ['\\Flagged']);
    await inbox.copy([1], 'Archive');
    await t.rejects(inbox.move([2], 'Archive'), { code: 'cannot' });
  });
  await t.rejects(world.mail.append('Accounts/a/Projects', [{ bytes: mail('z'), flags: [] }]), { code: 'cannot' });
  world.servers['a']!.folder('INBOX').flag([1], ['\\Seen']);
  await world.settle();
  t.equal(world.upstreams['a']!.mutations.length, count);
  t.same(upstream(world, 'b'), ['Archive: x [\\Flagged]', 'INBOX: x [\\Flagged \\Seen]']);
});

t.test('a folder that one listing leaves out is not forgotten, one that two leave out is', async (t) => {
  const servers = serversOf({ a: [] });
  servers['a']!.folder('Projects').add(mail('plan'));
  const world = await openWorld(t, servers);
  await world.settle();
  const uidValidity = (await world.mail.status('Accounts/a/Projects')).uidValidity;
  servers['a']!.unlisted.add('Projects');
  await world.sync.engines[0]!.round();
  servers['a']!.unlisted.clear();
  await world.sync.engines[0]!.round();
  t.equal((await world.mail.status('Accounts/a/Projects')).uidValidity, uidValidity);
  t.same(await subjects(world, 'Accounts/a/Projects'), ['plan']);
  servers['a']!.folders.delete('Projects');
  await world.sync.engines[0]!.round();
  await world.sync.engines[0]!.round();
  await t.rejects(world.mail.status('Accounts/a/Projects'), { code: 'nonexistent' });
});

t.test('RENAME: the folder does not come back under its old name while its renaming is owed', async (t) => {
  const servers = serversOf({ a: [] });
  servers['a']!.folder('Projects').add(mail('plan'));
  servers['a']!.create('Projects/Old').add(mail('older'));
  const world = await openWorld(t, servers);
  await world.settle();
  const fail = (call: string): void => {
    if (call.startsWith('rename')) throw new MergeboxError('refused', 'not now');
  };
  world.upstreams['a']!.step = fail;
  await world.mail.rename('Accounts/a/Projects', 'Accounts/a/Plans');
  for (let n = 0; n < 3; n += 1) await world.sync.engines[0]!.round();
  const names = (await world.mail.list()).map(({ name }) => name).filter((name) => /Pl|Pr/.test(name));
  t.same(names.sort(), ['Accounts/a/Plans', 'Accounts/a/Plans/Old']);
  world.upstreams['a']!.step = () => undefined;
  await world.settle();
  t.same(await subjects(world, 'Accounts/a/Plans'), ['plan']);
  t.same(upstream(world, 'a'), ['Plans/Old: older []', 'Plans: plan []']);
});

t.test(
  'content: when the bytes an entry showed are gone, the entry gets a new UID rather than other bytes',
  async (t) => {
    // The same mail, but each server added a header of its own.
    const [one, two] = ['one', 'two'].map((text) =>
      Buffer.concat([Buffer.from(`Received: by ${text}\r\n`), mail('letter')]),
    );
    const world = await settled(
      t,
      { a: [one!, mail('other')], b: [two!] },
      { policies: { b: { onUpstreamDelete: 'keep' } } },
    );
    const [before] = await world.entries('INBOX');
    world.servers['a']!.folder('INBOX').remove([1]);
    await world.settle();
    const after = (await world.entries('INBOX')).find(({ subject }) => subject === 'letter')!;
    t.not(after.hash, before!.hash);
    t.ok(after.uid > before!.uid);
    t.same(await lines(world, 'INBOX'), ['other [$account_a]', 'letter [$account_b]']);
  },
);

t.test('content: an entry whose bytes only another mailbox still had keeps being readable', async (t) => {
  const [one, two] = ['one', 'two'].map((text) =>
    Buffer.concat([Buffer.from(`Received: by ${text}\r\n`), mail('letter')]),
  );
  const options = { policies: { b: { onUpstreamDelete: 'keep' as const } } };
  const world = await settled(t, { a: [one!, mail('other')], b: [two!] }, options);
  await world.in('INBOX', (inbox) => inbox.copy([1], 'Accounts/a/Projects'));
  await world.settle();
  world.servers['a']!.folder('INBOX').remove([1]);
  await world.settle();
  world.servers['a']!.folder('Projects').remove([1]);
  world.servers['a']!.folder('Projects').add(mail('unrelated'));
  await world.settle();
  t.same((await subjects(world, 'INBOX')).sort(), ['letter', 'other']);
});

t.test('APPEND: what is served afterwards is what was served before, also where line ends were bare', async (t) => {
  const servers = serversOf({ a: [] });
  // As Dovecot does: bare LF comes back as CRLF.
  servers['a']!.rewrite = (bytes) => Buffer.from(bytes.toString('latin1').replace(/\r?\n/g, '\r\n'), 'latin1');
  const world = await openWorld(t, servers);
  await world.settle();
  await world.mail.append('INBOX', [{ bytes: Buffer.from(String(mail('bare')).replaceAll('\r\n', '\n')), flags: [] }]);
  const [before] = await world.entries('INBOX');
  await world.settle();
  const [after] = await world.entries('INBOX');
  t.same(after, before);
  const pinned = await world.store.read((tx) => tx.all('SELECT id FROM message WHERE pinned IS NOT NULL'));
  t.same(pinned, [], 'and the server is known to have it');
});

t.test('APPEND: a server that changes the mail never makes Mergebox serve other bytes or upload twice', async (t) => {
  for (const features of [FULL, PLAIN]) {
    const servers = serversOf({ a: [], b: [mail('travels')] }, features);
    servers['a']!.rewrite = (bytes) => Buffer.concat([Buffer.from('X-Scanned: yes\r\n'), bytes]);
    const world = await openWorld(t, servers);
    await world.settle();
    await world.mail.append('Accounts/a/Projects', [{ bytes: mail('kept'), flags: [] }]);
    const [before] = await world.entries('Accounts/a/Projects');
    await world.settle();
    t.same(await world.entries('Accounts/a/Projects'), [before]);
    t.same(upstream(world, 'a'), ['Projects: kept []']);
  }
});

t.test('an account that is configured no more takes no mail along', async (t) => {
  const servers = serversOf({ a: [mail('both'), mail('at a')], b: [mail('both'), mail('at b')], c: [mail('both')] });
  const dir = await scratch(t);
  const first = await MailWorld.open(dir, servers);
  await first.start();
  await first.settle();
  const moved = await first.uid('INBOX', 'at a');
  for (const name of ['b', 'c']) {
    first.upstreams[name]!.step = () => {
      throw new MergeboxError('connection', 'down');
    };
  }
  await first.mail.append('Accounts/b/Projects', [{ bytes: mail('never uploaded'), flags: ['\\Flagged'] }]);
  await first.in('INBOX', (inbox) => inbox.move([moved], 'Accounts/b/Archive'));
  await first.close();
  const world = await MailWorld.open(dir, { a: servers['a']! });
  t.teardown(() => world.close());
  await world.start();
  await world.settle();
  t.same((await lines(world, 'INBOX')).sort(), [
    'at a [$account_a]',
    'both [$account_a]',
    'never uploaded [\\Flagged $account_a]',
  ]);
  t.same(upstream(world, 'a'), ['INBOX: at a []', 'INBOX: both []', 'INBOX: never uploaded [\\Flagged]']);
});

t.test('openAccounts: refuses to forget the only copy of a mail', async (t) => {
  const servers = serversOf({ a: [], b: [] });
  const dir = await scratch(t);
  const first = await MailWorld.open(dir, servers);
  await first.start();
  await first.settle();
  first.upstreams['b']!.step = () => {
    throw new MergeboxError('connection', 'down');
  };
  await first.mail.append('Accounts/b/Projects', [{ bytes: mail('only here'), flags: [] }]);
  await first.close();
  const policies = { a: { authority: 'upstream' as const } };
  await t.rejects(MailWorld.open(dir, { a: servers['a']! }, { policies }), { code: 'config', message: /1 mails/ });
  const world = await MailWorld.open(dir, servers);
  t.teardown(() => world.close());
  await world.start();
  await world.settle();
  t.same(upstream(world, 'b'), ['Projects: only here []']);
});

t.test('a mail that its server lists but cannot give keeps nothing from being in sync', async (t) => {
  for (const features of [FULL, PLAIN]) {
    const world = await settled(t, { a: [mail('x')], b: [mail('x')] }, { features });
    const { bytes } = world.servers['a']!.folder('INBOX').add(mail('broken'));
    world.upstreams['a']!.unreadable.add(bytes);
    await world.settle();
    t.same(await subjects(world, 'INBOX'), ['x']);
    world.upstreams['a']!.unreadable.clear();
    world.servers['a']!.folder('INBOX').flag([2], ['\\Seen']);
    await world.settle();
    t.same(await subjects(world, 'INBOX'), ['x', 'broken'], 'and is shown when it can');
  }
});

t.test('release: ends with its look, also when that fails', async (t) => {
  const mails = Array.from({ length: 8 }, (_, n) => mail(`m${n}`));
  const world = await settled(t, { a: mails });
  world.upstreams['a']!.step = (call) => {
    if (call === 'list') throw new MergeboxError('protocol', 'broken');
  };
  await t.rejects(world.sync.engines[0]!.release(), /broken/);
  world.upstreams['a']!.step = () => undefined;
  const folder = world.servers['a']!.folder('INBOX');
  folder.messages = [];
  folder.uidNext = 1;
  folder.highestModSeq += 1;
  await t.rejects(world.settle(), /8 of 8/);
});

t.test('first sync: a folder that is still being read when the mailboxes open is shown as well', async (t) => {
  const servers = serversOf({ a: [mail('x')], b: [mail('y')] });
  servers['a']!.folder('Projects').add(mail('plan'));
  const world = await openWorld(t, servers);
  let reading: () => void = () => undefined;
  const held = new Promise<void>((resolve) => {
    reading = resolve;
  });
  world.upstreams['a']!.step = (call) => (call === 'messages Projects' ? held : undefined);
  await world.sync.whenOpened();
  reading();
  await world.settle();
  t.same(await subjects(world, 'Accounts/a/Projects'), ['plan']);
});

t.test('an upload whose answer was lost is recognised only among what arrived since it was tried', async (t) => {
  const servers = serversOf({ a: [] });
  const world = await openWorld(t, servers);
  await world.settle();
  world.upstreams['a']!.step = (call) => {
    if (call.startsWith('append')) throw new MergeboxError('refused', '[INUSE] not now');
  };
  // The very same mail was there before, put by somebody else.
  servers['a']!.folder('Projects').add(mail('same'));
  await world.sync.engines[0]!.round();
  await world.mail.append('Accounts/a/Projects', [{ bytes: mail('same'), flags: [] }]);
  await world.sync.engines[0]!.round();
  t.equal((await subjects(world, 'Accounts/a/Projects')).length, 2);
  world.upstreams['a']!.step = () => undefined;
  await world.settle();
  t.equal((await subjects(world, 'Accounts/a/Projects')).length, 2);
  t.equal(servers['a']!.folder('Projects').messages.length, 2);
});
