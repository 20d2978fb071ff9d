import t, { type Test } from 'tap';
import { type FakeFeatures, FakeServer, FULL, mail, PLAIN } from './support/fake-server.js';
import { type MailWorld, openWorld, type WorldOptions } from './support/mail-world.js';

type Mails = Readonly<Record<string, readonly Buffer[]>>;

async function worldOf(t: Test, inboxes: Mails, options: WorldOptions & { features?: FakeFeatures } = {}) {
  const servers = Object.fromEntries(
    Object.entries(inboxes).map(([name, mails]) => {
      const server = new FakeServer(options.features ?? FULL);
      for (const [folder, role] of [
        ['INBOX', 'inbox'],
        ['Trash', 'trash'],
        ['Projects', null],
      ] as const) {
        server.create(folder, role);
      }
      for (const bytes of mails) server.folder('INBOX').add(bytes);
      return [name, server];
    }),
  );
  const world = await openWorld(t, servers, options);
  await world.settle();
  return world;
}

/** `subject [flags]` in UID order, without the account keywords. */
async function lines(world: MailWorld, name: string): Promise<string[]> {
  const entries = await world.entries(name);
  return entries.map(({ subject, flags }) => `${subject} [${flags.replace(/ ?\$account_\w+/g, '').trim()}]`);
}

const upstream = (world: MailWorld, account: string): string[] => world.servers[account]!.contents();
const MERGEBOX = { a: { authority: 'mergebox' } } as const;
const UPSTREAM = { a: { authority: 'upstream' } } as const;

for (const [kind, features] of [
  ['QRESYNC', FULL],
  ['plain', PLAIN],
] as const) {
  t.test(`authority mergebox: a mail deleted at its server is uploaded again (${kind})`, async (t) => {
    const world = await worldOf(t, { a: [mail('x'), mail('y')] }, { policies: MERGEBOX, features });
    await world.in('INBOX', (inbox) => inbox.store([1], 'add', ['\\Flagged']));
    await world.settle();
    const before = { inbox: await world.entries('INBOX'), mirror: await world.entries('Accounts/a/INBOX') };
    world.servers['a']!.folder('INBOX').remove([1]);
    await world.settle();
    t.same(upstream(world, 'a'), ['INBOX: x [\\Flagged]', 'INBOX: y []']);
    t.same(await world.entries('INBOX'), before.inbox, 'clients notice nothing');
    t.same(await world.entries('Accounts/a/INBOX'), before.mirror);
  });

  t.test(`authority mergebox: a mail moved at its server is moved back, also from Trash (${kind})`, async (t) => {
    const world = await worldOf(t, { a: [mail('x')], b: [mail('x')] }, { policies: MERGEBOX, features });
    const before = await world.entries('INBOX');
    for (const to of ['Trash', 'Projects']) {
      const server = world.servers['a']!;
      server.moveElsewhere('INBOX', [server.folder('INBOX').messages[0]!.uid], to);
      await world.settle();
      t.same(upstream(world, 'a'), ['INBOX: x []'], to);
      t.same(upstream(world, 'b'), ['INBOX: x []'], 'and the other account has no part in it');
      t.same(await world.entries('INBOX'), before);
      t.same(await lines(world, to === 'Trash' ? 'Trash' : 'Accounts/a/Projects'), []);
    }
  });

  t.test(`authority mergebox: flags changed at the server are changed back, ours go out (${kind})`, async (t) => {
    const world = await worldOf(t, { a: [mail('x')] }, { policies: MERGEBOX, features });
    world.servers['a']!.folder('INBOX').flag([1], ['\\Seen', '$Work']);
    await world.settle();
    t.same(await lines(world, 'INBOX'), ['x []']);
    t.same(upstream(world, 'a'), ['INBOX: x []']);
    await world.in('INBOX', (inbox) => inbox.store([1], 'add', ['\\Flagged']));
    await world.settle();
    t.same(upstream(world, 'a'), ['INBOX: x [\\Flagged]']);
    await world.in('INBOX', async (inbox) => {
      await inbox.store([1], 'add', ['\\Deleted']);
      await inbox.expunge();
    });
    await world.settle();
    t.same(upstream(world, 'a'), []);
  });

  t.test(`authority upstream: a client's changes stay here, the server's come in (${kind})`, async (t) => {
    const world = await worldOf(t, { a: [mail('x'), mail('y')], b: [mail('x')] }, { policies: UPSTREAM, features });
    await world.in('INBOX', (inbox) => inbox.store([1], 'add', ['\\Flagged']));
    await world.settle();
    t.same(upstream(world, 'a'), ['INBOX: x []', 'INBOX: y []'], 'nothing goes there');
    t.same(upstream(world, 'b'), ['INBOX: x [\\Flagged]'], 'the other account follows');
    world.servers['a']!.folder('INBOX').flag([1], ['\\Seen']);
    await world.settle();
    t.same(await lines(world, 'INBOX'), ['x [\\Flagged \\Seen]', 'y []']);
    t.same(upstream(world, 'b'), ['INBOX: x [\\Flagged \\Seen]']);
    await t.rejects(world.mail.append('Accounts/a/INBOX', [{ bytes: mail('n'), flags: [] }]), { code: 'cannot' });
    await t.rejects(
      world.in('INBOX', (inbox) => inbox.move([2], 'Trash')),
      { code: 'cannot' },
    );
    await world.in('INBOX', async (inbox) => {
      await inbox.store([2], 'add', ['\\Deleted']);
      await inbox.expunge();
    });
    await world.settle();
    t.same(await lines(world, 'INBOX'), ['x [\\Flagged \\Seen]'], 'hidden here');
    t.same(upstream(world, 'a'), ['INBOX: x [\\Seen]', 'INBOX: y []'], 'and still there');
    world.servers['a']!.folder('INBOX').remove([1]);
    await world.settle();
    t.same(await lines(world, 'INBOX'), [], 'a deletion there is one here');
    t.same(upstream(world, 'b'), ['Trash: x [\\Flagged \\Seen]']);
  });
}

t.test('authority upstream: a deletion at another account leaves the mail that it has', async (t) => {
  const world = await worldOf(t, { a: [mail('x')], b: [mail('x')] }, { policies: UPSTREAM });
  world.servers['b']!.folder('INBOX').remove([1]);
  await world.settle();
  t.same(await world.entries('INBOX').then((all) => all.map(({ flags }) => flags)), ['$account_a']);
  t.same(upstream(world, 'a'), ['INBOX: x []']);
});

t.test('authority mergebox: a deletion that another account decides goes out', async (t) => {
  const world = await worldOf(t, { a: [mail('x')], b: [mail('x')] }, { policies: MERGEBOX });
  world.servers['b']!.folder('INBOX').remove([1]);
  await world.settle();
  t.same(await lines(world, 'INBOX'), []);
  t.same(upstream(world, 'a'), ['Trash: x []']);
});

t.test('authority mergebox: a folder deleted at its server is made again with its mail', async (t) => {
  const world = await worldOf(t, { a: [] }, { policies: MERGEBOX });
  world.servers['a']!.folder('Projects').add(mail('plan'), '\\Flagged');
  await world.settle();
  const before = await world.entries('Accounts/a/Projects');
  world.servers['a']!.folders.delete('Projects');
  await world.settle();
  await world.settle();
  t.same(upstream(world, 'a'), ['Projects: plan [\\Flagged]']);
  t.same(await world.entries('Accounts/a/Projects'), before);
});

t.test('authority mergebox: a server that lost everything gets it back when a person has released it', async (t) => {
  const mails = Array.from({ length: 30 }, (_, n) => mail(`m${n}`));
  const world = await worldOf(t, { a: mails }, { policies: MERGEBOX });
  const inbox = world.servers['a']!.folder('INBOX');
  const before = await world.entries('INBOX');
  inbox.messages = [];
  inbox.expunged = [];
  inbox.highestModSeq += 1;
  const [engine] = world.sync.engines;
  t.ok((await engine!.round()).held, 'the guard first');
  await engine!.release();
  await world.settle();
  t.equal(upstream(world, 'a').length, 30);
  t.same(await world.entries('INBOX'), before);
});

t.test('convergence: whichever account is heard first, all end alike', async (t) => {
  const orders = [
    ['a', 'b', 'c'],
    ['a', 'c', 'b'],
    ['b', 'a', 'c'],
    ['b', 'c', 'a'],
    ['c', 'a', 'b'],
    ['c', 'b', 'a'],
  ];
  const ends: string[] = [];
  for (const order of orders) {
    const inboxes = {
      a: [mail('x'), mail('y'), mail('z')],
      b: [mail('x'), mail('y'), mail('z')],
      c: [mail('x'), mail('y'), mail('z')],
    };
    const world = await worldOf(t, inboxes);
    await world.in('INBOX', (inbox) => inbox.store([1, 2, 3], 'add', ['\\Seen', '$Keep']));
    await world.settle();
    const [a, b, c] = ['a', 'b', 'c'].map((name) => world.servers[name]!.folder('INBOX'));
    a!.flag([1], ['\\Flagged'], ['$Keep']);
    b!.flag([1], ['$Work'], ['\\Seen']);
    c!.flag([1], ['\\Answered'], ['$Keep']);
    // Deleted at one, flagged at another, moved at the third.
    a!.remove([2]);
    b!.flag([2], ['\\Flagged']);
    world.servers['c']!.moveElsewhere('INBOX', [2], 'Projects');
    // Marked and not expunged at one, cleared of \Seen at another.
    a!.flag([3], ['\\Deleted']);
    b!.flag([3], [], ['\\Seen']);
    for (const name of order) await world.sync.engines.find((each) => each.name === name)!.round();
    await world.settle();
    ends.push(JSON.stringify([await lines(world, 'INBOX'), ...['a', 'b', 'c'].map((name) => upstream(world, name))]));
    await world.close();
  }
  t.equal(new Set(ends).size, 1, [...new Set(ends)].join('\n'));
  t.match(ends[0], /x \[\\\\Answered \\\\Flagged \$Work\]/);
});
