import t from 'tap';
import { MergeboxError } from '../../src/util/errors.js';
import { refusal } from '../../src/upstream/errors.js';
import { type FakeFeatures, FakeServer, FULL, mail, PLAIN } from './support/fake-server.js';
import { MailWorld, openWorld, type Servers, scratch } from './support/mail-world.js';

function serversOf(inboxes: Readonly<Record<string, readonly Buffer[]>>, features: FakeFeatures = FULL): Servers {
  return Object.fromEntries(
    Object.entries(inboxes).map(([name, mails]) => {
      const server = new FakeServer(features);
      server.create('INBOX', 'inbox');
      server.create('Archive', 'archive');
      server.create('Trash', 'trash');
      server.create('Projects');
      for (const bytes of mails) server.folder('INBOX').add(bytes);
      return [name, server];
    }),
  );
}

t.test('an account that is forgotten gives back what was on its way through another one', async (t) => {
  const servers = serversOf({ a: [], b: [] });
  const dir = await scratch(t);
  const first = await MailWorld.open(dir, servers);
  await first.start();
  await first.settle();
  for (const upstream of Object.values(first.upstreams)) {
    upstream.step = () => {
      throw new MergeboxError('connection', 'down');
    };
  }
  await first.mail.append('Accounts/a/Projects', [{ bytes: mail('only here'), flags: [] }]);
  await first.in('Accounts/a/Projects', (projects) => projects.move([1], 'Accounts/b/Archive'));
  await first.close();
  const world = await MailWorld.open(dir, { a: servers['a']! });
  t.teardown(() => world.close());
  world.upstreams['a']!.step = (call) => {
    if (call.startsWith('append')) throw refusal('append', { status: 'NO', code: 'UNAVAILABLE', text: 'later' });
  };
  await world.start();
  await world.sync.engines[0]!.round();
  servers['a']!.folder('Projects').add(mail('new'));
  await world.sync.engines[0]!.round();
  await world.sync.engines[0]!.round();
  world.upstreams['a']!.step = () => undefined;
  await world.settle();
  t.same(servers['a']!.contents(), ['Projects: new []', 'Projects: only here []']);
  t.same((await world.entries('Accounts/a/Projects')).map(({ subject }) => subject).sort(), ['new', 'only here']);
});

for (const [kind, features] of [
  ['MOVE', FULL],
  ['COPY and EXPUNGE', { ...PLAIN, uidplus: true }],
] as const) {
  t.test(`a MOVE whose answer was lost takes no other mail of the same identity for its own (${kind})`, async (t) => {
    const real = mail('invoice', 'pay 10\r\n');
    const world = await openWorld(t, serversOf({ a: [real] }, features));
    await world.settle();
    let broken = false;
    world.upstreams['a']!.step = (call, moment) => {
      if (broken || moment !== 'before' || !call.startsWith('move')) return;
      broken = true;
      world.servers['a']!.folder('Projects').add(mail('invoice', 'pay 99\r\n'));
      throw new MergeboxError('connection', 'lost');
    };
    await world.in('INBOX', (inbox) => inbox.move([1], 'Accounts/a/Projects'));
    await world.settle();
    t.ok(broken);
    const bodies = [...world.servers['a']!.folders.values()].flatMap(({ messages }) =>
      messages.map(({ bytes }) => bytes.toString().split('\r\n').at(-2)),
    );
    t.same(bodies.sort(), ['pay 10', 'pay 99']);
  });
}

/** How far the COPY has come when its client, who has its OK, removes the source. */
for (const moment of ['is refused later', 'was refused already'] as const) {
  for (const target of ['Accounts/a/Projects', 'Accounts/b/Projects']) {
    t.test(`a client without MOVE: the mail outlives a COPY to ${target} that ${moment}`, async (t) => {
      const world = await openWorld(t, serversOf({ a: [mail('x'), mail('y')], b: [] }));
      await world.settle();
      let refuse: () => void = () => undefined;
      const ready = new Promise<void>((resolve) => {
        refuse = resolve;
      });
      for (const upstream of Object.values(world.upstreams)) {
        upstream.step = async (call, when) => {
          if (when !== 'before' || !/^(copy|append)/.test(call)) return;
          await ready;
          throw refusal('copy', { status: 'NO', code: 'OVERQUOTA', text: 'full' });
        };
      }
      const uid = await world.uid('INBOX', 'x');
      await world.in('INBOX', async (inbox) => {
        await inbox.copy([uid], target);
        if (moment === 'was refused already') {
          refuse();
          await t.rejects(world.settle(), { code: 'refused' });
        }
        await inbox.store([uid], 'add', ['\\Deleted']);
        await inbox.expunge();
      });
      refuse();
      await world.settle().catch(() => undefined);
      await world.settle().catch(() => undefined);
      const seen = [...(await world.entries('INBOX')), ...(await world.entries(target))];
      t.same(seen.map(({ subject }) => subject).sort(), ['x', 'y']);
      if (target === 'Accounts/b/Projects' && moment === 'is refused later') return;
      t.match(world.servers['a']!.contents(), [/^INBOX: x/, /^INBOX: y/]);
      await world.store.write((tx) => tx.run('UPDATE action SET created = created - 3600'));
      await world.in('INBOX', async (inbox) => {
        const again = await world.uid('INBOX', 'x');
        await inbox.store([again], 'add', ['\\Deleted']);
        await inbox.expunge();
      });
      t.same(
        (await world.entries('INBOX')).map(({ subject }) => subject),
        ['y'],
        'whoever deletes it later means it',
      );
    });
  }
}

t.test('DELETE of a mailbox destroys no mail that came into the folder unseen', async (t) => {
  const servers = serversOf({ a: [mail('x')] });
  servers['a']!.create('Empty');
  const world = await openWorld(t, servers);
  await world.settle();
  await world.mail.append('Accounts/a/Empty', [{ bytes: mail('ours'), flags: [] }]);
  await world.settle();
  world.upstreams['a']!.step = () => {
    throw new MergeboxError('connection', 'down');
  };
  await world.mail.delete('Accounts/a/Projects');
  await world.mail.delete('Accounts/a/Empty');
  servers['a']!.folder('Projects').add(mail('unseen'));
  world.upstreams['a']!.step = () => undefined;
  await world.settle().catch(() => undefined);
  await t.rejects(world.settle(), { code: 'refused' });
  t.same([...servers['a']!.folders.keys()], ['INBOX', 'Archive', 'Trash', 'Projects']);
  t.same(
    (await world.entries('Accounts/a/Projects')).map(({ subject }) => subject),
    ['unseen'],
  );
  await world.mail.delete('Accounts/a/Projects');
  await world.settle().catch(() => undefined);
  t.same([...servers['a']!.folders.keys()], ['INBOX', 'Archive', 'Trash']);
});

t.test('DELETE of a mailbox whose mail was refused elsewhere a moment ago has to wait', async (t) => {
  const world = await openWorld(t, serversOf({ a: [] }));
  world.servers['a']!.folder('Projects').add(mail('x'));
  await world.settle();
  world.upstreams['a']!.step = (call, when) => {
    if (when === 'before' && call.startsWith('move')) {
      throw refusal('move', { status: 'NO', code: 'OVERQUOTA', text: 'full' });
    }
  };
  await world.in('Accounts/a/Projects', (projects) => projects.move([1], 'Archive'));
  await t.rejects(world.settle(), { code: 'refused' });
  await t.rejects(world.mail.delete('Accounts/a/Projects'), { code: 'unavailable' });
  await world.store.write((tx) => tx.run('UPDATE action SET created = created - 3600'));
  await world.mail.delete('Accounts/a/Projects');
});

t.test('of many twins that vanished at once, as many were moved as have arrived elsewhere', async (t) => {
  const twins = Array.from({ length: 120 }, () => mail('twin'));
  const world = await openWorld(t, serversOf({ a: twins, b: twins }));
  await world.settle();
  const a = world.servers['a']!;
  const gone = a.folder('INBOX').messages.slice(0, 110);
  const uids = gone.map(({ uid }) => uid);
  a.moveElsewhere('INBOX', uids.slice(0, 55), 'Projects');
  a.folder('INBOX').remove(uids);
  await world.settle(30_000);
  const b = world.servers['b']!;
  t.same([b.folder('INBOX').messages.length, b.folder('Trash').messages.length], [65, 55]);
});
