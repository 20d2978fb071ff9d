import t, { type Test } from 'tap';
import { type ActionRow, actionCounts } from '../../src/store/actions.js';
import { parkAction } from '../../src/store/park.js';
import {
  dropParked,
  onlyCopy,
  type ParkedAction,
  parkedAction,
  parkedActions,
  retryParked,
} from '../../src/store/parked.js';
import { refusal } from '../../src/upstream/errors.js';
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

const no = (code: string | null, text = 'not here'): Error => refusal('change', { status: 'NO', code, text });

/** Refuses the calls of an account that match until told otherwise; how often it did. */
function refuse(
  world: MailWorld,
  account: string,
  pattern: RegExp,
  error: () => Error,
): { times: number; end(): void } {
  const state = {
    times: 0,
    end: () => {
      world.upstreams[account]!.step = () => undefined;
    },
  };
  world.upstreams[account]!.step = (call, moment) => {
    if (moment !== 'before' || !pattern.test(call)) return;
    state.times += 1;
    throw error();
  };
  return state;
}

/** Until nothing is pending and a look shows nothing new; what is parked may stay. */
async function quiet(world: MailWorld): Promise<void> {
  for (let calm = 0; calm < 2; ) {
    await world.store.write((tx) => tx.run('UPDATE action SET next_try = 0 WHERE next_try > 0'));
    for (const engine of world.sync.engines) engine.owed();
    const results = await Promise.all(world.sync.engines.map((engine) => engine.round()));
    const counts = [...(await world.store.read(actionCounts)).values()];
    const still = results.every(({ changed }) => !changed) && counts.every(({ pending }) => pending === 0);
    calm = still ? calm + 1 : 0;
  }
}

async function parked(world: MailWorld, account: string): Promise<readonly ParkedAction[]> {
  return world.store.read((tx) => parkedActions(tx, world.book.named(account)!.id, 10));
}

async function retry(world: MailWorld, account: string, id: number | null = null): Promise<void> {
  await world.store.write((tx) => retryParked(tx, world.book, world.book.named(account)!.id, id));
}

async function drop(world: MailWorld, account: string, id: number): Promise<void> {
  const accountId = world.book.named(account)!.id;
  await world.store.write(async (tx) => dropParked(tx, world.book, await parkedAction(tx, accountId, id)));
}

/** `subject [flags]` in UID order, without the account keywords. */
async function lines(world: MailWorld, name: string): Promise<string[]> {
  const entries = await world.entries(name);
  return entries.map(({ subject, flags }) => `${subject} [${flags.replace(/ ?\$account_\w+/g, '').trim()}]`);
}

const upstream = (world: MailWorld, account: string): string[] => world.servers[account]!.contents();

for (const [kind, features] of [
  ['QRESYNC', FULL],
  ['plain', PLAIN],
] as const) {
  t.test(`a refused flag goes back, clients are told, and later changes go through (${kind})`, async (t) => {
    const world = await worldOf(t, { a: [mail('x')] }, { features });
    const refused = refuse(world, 'a', /^store INBOX .*\$Work/, () => no('LIMIT', 'too many keywords'));
    await world.in('INBOX', async (inbox) => {
      let told = 0;
      const off = inbox.onChange(() => {
        told += 1;
      });
      await inbox.store([1], 'add', ['$Work', '\\Seen']);
      await quiet(world);
      off();
      t.ok(told >= 2, 'the change, and that it was taken back');
    });
    t.same(await lines(world, 'INBOX'), ['x [\\Seen]'], 'the flag that was refused alone');
    t.same(upstream(world, 'a'), ['INBOX: x [\\Seen]'], 'the flag beside it was set');
    t.match(await parked(world, 'a'), [{ kind: 'flags', folder: 'INBOX', uid: 1, flags: '+$Work', error: /LIMIT/ }]);
    await world.in('INBOX', (inbox) => inbox.store([1], 'add', ['\\Flagged']));
    await quiet(world);
    t.same(upstream(world, 'a'), ['INBOX: x [\\Flagged \\Seen]']);
    await world.in('INBOX', (inbox) => inbox.store([1], 'add', ['$Work']));
    await quiet(world);
    t.equal((await parked(world, 'a')).length, 1, 'asked for again and refused again: told once');
    refused.end();
    await retry(world, 'a');
    await world.settle();
    t.same(await lines(world, 'INBOX'), ['x [\\Flagged \\Seen $Work]']);
    t.same(upstream(world, 'a'), ['INBOX: x [\\Flagged \\Seen $Work]']);
    t.same(await parked(world, 'a'), []);
  });
}

t.test('a flag that one of two servers refuses stays with the other, and is sent to the first no more', async (t) => {
  const world = await worldOf(t, { a: [mail('x')], b: [mail('x')] });
  const refused = refuse(world, 'b', /^store INBOX/, () => no('NOPERM'));
  await world.in('INBOX', (inbox) => inbox.store([1], 'add', ['\\Seen']));
  await quiet(world);
  t.same(await lines(world, 'INBOX'), ['x [\\Seen]']);
  t.same([upstream(world, 'a'), upstream(world, 'b')], [['INBOX: x [\\Seen]'], ['INBOX: x []']]);
  const times = refused.times;
  await quiet(world);
  world.servers['b']!.folder('INBOX').add(mail('y'));
  await quiet(world);
  t.equal(refused.times, times, 'no further try');
  t.same(await lines(world, 'INBOX'), ['x [\\Seen]', 'y []'], 'and what b lacks is not read as cleared');
  refused.end();
  await world.in('INBOX', (inbox) => inbox.store([1], 'add', ['\\Flagged']));
  await quiet(world);
  t.same(upstream(world, 'b'), ['INBOX: x [\\Flagged]', 'INBOX: y []'], 'other flags go on');
  await retry(world, 'b', (await parked(world, 'b'))[0]!.id);
  await world.settle();
  t.same(upstream(world, 'b'), ['INBOX: x [\\Flagged \\Seen]', 'INBOX: y []']);
});

t.test('a flag that every server refuses goes back, whichever is asked last', async (t) => {
  const world = await worldOf(t, { a: [mail('x')], b: [mail('x')] });
  for (const name of ['a', 'b']) refuse(world, name, /^store INBOX/, () => no('NOPERM'));
  await world.in('INBOX', (inbox) => inbox.store([1], 'add', ['\\Seen']));
  await quiet(world);
  t.same(await lines(world, 'INBOX'), ['x []']);
  for (const name of ['a', 'b']) t.match(await parked(world, name), [{ kind: 'flags', flags: '+\\Seen' }]);
  for (const name of ['a', 'b']) await drop(world, name, (await parked(world, name))[0]!.id);
  await world.settle();
  t.same(await lines(world, 'INBOX'), ['x []']);
});

t.test('a refused MOVE: the mail is where it was, under a new UID, and is moved by a retry', async (t) => {
  const world = await worldOf(t, { a: [mail('x'), mail('y')], b: [mail('x')] });
  const refused = refuse(world, 'a', /^move/, () => no('OVERQUOTA', 'no room'));
  await world.in('INBOX', (inbox) => inbox.move([1], 'Trash'));
  t.same(await lines(world, 'INBOX'), ['y []']);
  await quiet(world);
  t.same(await lines(world, 'INBOX'), ['y []', 'x []']);
  t.ok((await world.uid('INBOX', 'x')) > 2);
  t.same(await lines(world, 'Trash'), ['x []'], 'the copy that could be moved');
  t.same([upstream(world, 'a'), upstream(world, 'b')].flat(), ['INBOX: x []', 'INBOX: y []', 'Trash: x []']);
  t.match(await parked(world, 'a'), [{ kind: 'move', folder: 'INBOX', uid: 1, target: 'Trash', onlyCopy: false }]);
  refused.end();
  await retry(world, 'a');
  await world.settle();
  t.same(await lines(world, 'INBOX'), ['y []']);
  t.same(upstream(world, 'a'), ['INBOX: y []', 'Trash: x []']);
});

t.test('a refused COPY leaves nothing in the target, a refused EXPUNGE brings the mail back', async (t) => {
  const world = await worldOf(t, { a: [mail('x'), mail('y')] });
  refuse(world, 'a', /^(copy|expunge)/, () => no('NOPERM'));
  await world.in('INBOX', async (inbox) => {
    await inbox.copy([1], 'Accounts/a/Projects');
    await inbox.store([2], 'add', ['\\Deleted']);
    await inbox.expunge();
  });
  t.same(await lines(world, 'INBOX'), ['x []']);
  await quiet(world);
  t.same(await lines(world, 'Accounts/a/Projects'), []);
  t.same((await lines(world, 'INBOX')).length, 2);
  t.match(
    (await parked(world, 'a')).map(({ kind }) => kind),
    ['copy', 'expunge'],
  );
  world.upstreams['a']!.step = () => undefined;
  await retry(world, 'a');
  await world.settle();
  t.same(await lines(world, 'INBOX'), ['x []']);
  t.same(await lines(world, 'Accounts/a/Projects'), ['x []']);
  t.same(upstream(world, 'a'), ['INBOX: x []', 'Projects: x []']);
});

t.test('a refused expunge of many mails is one command, parked as one', async (t) => {
  const many = Array.from({ length: 12 }, (_, n) => mail(`m${n}`));
  const world = await worldOf(t, { a: many });
  const refused = refuse(world, 'a', /^expunge/, () => no('NOPERM'));
  await world.in('INBOX', async (inbox) => {
    const uids = many.map((_, n) => n + 1);
    await inbox.store(uids, 'add', ['\\Deleted']);
    await inbox.expunge();
  });
  await quiet(world);
  t.equal((await lines(world, 'INBOX')).length, 12);
  t.equal((await parked(world, 'a')).length, 10, 'as many as were asked for');
  t.ok(refused.times <= 2, `${refused.times} commands were refused`);
});

t.test('a refused APPEND stays visible with its bytes until a person drops it', async (t) => {
  const world = await worldOf(t, { a: [] });
  const refused = refuse(world, 'a', /^append/, () => no('OVERQUOTA', 'no room'));
  const { uids } = await world.mail.append('INBOX', [{ bytes: mail('draft'), flags: ['\\Seen'] }]);
  await quiet(world);
  t.match(await world.entries('INBOX'), [{ uid: uids[0], subject: 'draft' }], 'the same UID, the same bytes');
  const [action] = await parked(world, 'a');
  t.match(action, { kind: 'append', target: 'INBOX', onlyCopy: true, error: /OVERQUOTA/ });
  await world.in('INBOX', (inbox) => inbox.store(uids, 'add', ['\\Flagged']));
  refused.end();
  await retry(world, 'a', action!.id);
  await world.settle();
  t.same(upstream(world, 'a'), ['INBOX: draft [\\Flagged \\Seen]']);
  t.same(await world.uids('INBOX', 'draft'), uids);

  refuse(world, 'a', /^append/, () => no('OVERQUOTA'));
  await world.mail.append('INBOX', [{ bytes: mail('second'), flags: [] }]);
  await quiet(world);
  const [second] = await parked(world, 'a');
  const accountId = world.book.named('a')!.id;
  const row = await world.store.read((tx) => parkedAction(tx, accountId, second!.id));
  const message = await world.store.read((tx) => onlyCopy(tx, row));
  t.same(await world.context.bodies.bytes(message!), mail('second'), 'what a drop has to save first');
  await drop(world, 'a', second!.id);
  await quiet(world);
  t.same(await lines(world, 'INBOX'), ['draft [\\Flagged \\Seen]']);
});

t.test('a move to another account that its server refuses leaves the mail where it was', async (t) => {
  const world = await worldOf(t, { a: [mail('x')], b: [] });
  const refused = refuse(world, 'b', /^append/, () => no('OVERQUOTA'));
  await world.in('INBOX', (inbox) => inbox.move([1], 'Accounts/b/Projects'));
  await quiet(world);
  t.same(await lines(world, 'INBOX'), ['x []']);
  t.same(await lines(world, 'Accounts/b/Projects'), []);
  t.same(upstream(world, 'a'), ['INBOX: x []']);
  t.match(await parked(world, 'b'), [{ kind: 'append', target: 'Projects', onlyCopy: false }]);
  refused.end();
  await retry(world, 'b');
  await world.settle();
  t.same([upstream(world, 'a'), upstream(world, 'b')], [[], ['Projects: x []']]);
  t.same(await lines(world, 'INBOX'), []);
});

t.test('a refused CREATE takes the mailbox back with what was on its way into it', async (t) => {
  const world = await worldOf(t, { a: [mail('x')] });
  let letGo: () => void = () => undefined;
  const moved = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  world.upstreams['a']!.step = async (call, moment) => {
    if (moment !== 'before' || !call.startsWith('create')) return;
    await moved;
    throw no('NOPERM');
  };
  await world.mail.create('New');
  await world.in('INBOX', (inbox) => inbox.move([1], 'New'));
  letGo();
  await quiet(world);
  t.same(await lines(world, 'INBOX'), ['x []']);
  t.notOk((await world.mail.list()).some(({ name }) => name === 'New'));
  t.match((await parked(world, 'a')).map(({ kind, target }) => [kind, target]).sort(), [
    ['create-folder', 'New'],
    ['move', 'New'],
  ]);
  await t.test('and is settled by itself when the folder appears', async (t) => {
    world.servers['a']!.create('New', null);
    await quiet(world);
    t.match(
      (await parked(world, 'a')).map(({ kind }) => kind),
      ['move'],
    );
    world.upstreams['a']!.step = () => undefined;
    await retry(world, 'a');
    await world.settle();
    t.same(upstream(world, 'a'), ['New: x []']);
  });
});

t.test('a refused CREATE keeps the mailbox while it holds mail that is nowhere else', async (t) => {
  const world = await worldOf(t, { a: [] });
  const refused = refuse(world, 'a', /^create/, () => no('NOPERM'));
  await world.mail.append('Sent', [{ bytes: mail('letter'), flags: [] }]);
  await quiet(world);
  t.same(await lines(world, 'Sent'), ['letter []']);
  const rows = await parked(world, 'a');
  t.same(rows.map(({ kind }) => kind).sort(), ['append', 'create-folder']);
  await t.rejects(drop(world, 'a', rows.find(({ kind }) => kind === 'create-folder')!.id), { code: 'cannot' });
  refused.end();
  await retry(world, 'a');
  await world.settle();
  t.same(upstream(world, 'a'), ['Sent: letter []']);
});

t.test('a refused DELETE or RENAME shows the mailbox as it was', async (t) => {
  const world = await worldOf(t, { a: [] });
  world.servers['a']!.folder('Projects').add(mail('x'));
  await world.settle();
  refuse(world, 'a', /^rename/, () => no('NOPERM'));
  await world.mail.rename('Accounts/a/Projects', 'Accounts/a/Plans');
  await quiet(world);
  t.same(await lines(world, 'Accounts/a/Projects'), ['x []']);
  t.match(await parked(world, 'a'), [{ kind: 'rename-folder', target: 'Plans' }]);
  world.upstreams['a']!.step = () => undefined;
  await retry(world, 'a');
  await world.settle();
  t.same(upstream(world, 'a'), ['Plans: x []']);
  t.same(await lines(world, 'Accounts/a/Plans'), ['x []']);

  refuse(world, 'a', /^delete/, () => no('NOPERM'));
  await world.mail.delete('Accounts/a/Plans');
  await quiet(world);
  t.same(await lines(world, 'Accounts/a/Plans'), ['x []']);
  t.match(await parked(world, 'a'), [{ kind: 'delete-folder', target: 'Plans' }]);
  await drop(world, 'a', (await parked(world, 'a'))[0]!.id);
  await world.settle();
  t.same(upstream(world, 'a'), ['Plans: x []']);
});

t.test('a refusal that passes is tried again and never parked', async (t) => {
  for (const [code, text] of [
    ['UNAVAILABLE', 'backend down'],
    ['INUSE', 'locked by another'],
    ['SERVERBUG', 'oops'],
    [null, 'Temporary problem, please try again later'],
  ] as const) {
    const world = await worldOf(t, { a: [mail('x')] });
    let left = 7;
    world.upstreams['a']!.step = (call, moment) => {
      if (moment === 'before' && call.startsWith('store') && left > 0) {
        left -= 1;
        throw no(code, text);
      }
    };
    await world.in('INBOX', (inbox) => inbox.store([1], 'add', ['\\Seen']));
    await quiet(world);
    t.equal(left, 0, `${code} ${text}`);
    t.same(upstream(world, 'a'), ['INBOX: x [\\Seen]']);
    t.same(await parked(world, 'a'), []);
  }
});

t.test('a refusal without a reason is parked after five tries', async (t) => {
  const world = await worldOf(t, { a: [mail('x')] });
  const refused = refuse(world, 'a', /^store/, () => no(null, 'no'));
  await world.in('INBOX', (inbox) => inbox.store([1], 'add', ['\\Seen']));
  await quiet(world);
  t.equal(refused.times, 5);
  t.match(await parked(world, 'a'), [{ attempts: 5 }]);
  t.same(await lines(world, 'INBOX'), ['x []']);
});

t.test('1,000 flag changes are a few commands', async (t) => {
  const world = await worldOf(t, { a: Array.from({ length: 1_000 }, (_, n) => mail(`m${n}`)) });
  const before = world.mutations();
  await world.in('INBOX', async (inbox) => {
    const uids = Array.from({ length: 1_000 }, (_, n) => n + 1);
    for (let start = 0; start < 1_000; start += 50) await inbox.store(uids.slice(start, start + 50), 'add', ['\\Seen']);
  });
  await world.settle();
  const sent = world.mutations() - before;
  t.ok(sent >= 1 && sent <= 20, `${sent} commands`);
  t.ok(upstream(world, 'a').every((line) => line.endsWith('[\\Seen]')));
});

t.test('the ledger holds marks, removals, moves and deleted folders, with who asked for each', async (t) => {
  const world = await worldOf(t, { a: [mail('x'), mail('y')] });
  await world.in('INBOX', async (inbox) => {
    await inbox.store([1], 'add', ['\\Deleted']);
    await world.settle();
    await inbox.expunge();
    await inbox.move([2], 'Trash');
  });
  await world.mail.delete('Accounts/a/Projects');
  await world.settle();
  const rows = await world.store.read((tx) =>
    tx.all<{ kind: string; folder: string; uid: number; reason: string }>(
      'SELECT kind, folder, uid, reason FROM ledger ORDER BY id',
    ),
  );
  t.same(rows.map(({ kind, folder, uid, reason }) => `${kind} ${folder} ${uid} ${reason.split(' ')[1]}`).sort(), [
    'delete-folder Projects 0 DELETE',
    'expunge INBOX 1 EXPUNGE',
    'mark INBOX 1 STORE',
    'move INBOX 2 MOVE',
  ]);
});

t.test('a MOVE to another account whose bytes cannot be kept leaves the mail where it was', async (t) => {
  const world = await worldOf(t, { a: [mail('x')], b: [] });
  const refused = refuse(world, 'a', /^fetch body/, () => no('NOPERM'));
  await world.in('INBOX', (inbox) => inbox.move([1], 'Accounts/b/Projects'));
  await world.store.write(async (tx) => {
    const row = (await tx.get<ActionRow>("SELECT * FROM action WHERE kind = 'pin'"))!;
    const none = { copy: undefined, folder: undefined, target: undefined, targetFolder: undefined };
    await parkAction(tx, world.book, { row, ...none }, 'no bytes');
  });
  refused.end();
  await quiet(world);
  t.same(await lines(world, 'INBOX'), ['x []']);
  t.same([upstream(world, 'a'), upstream(world, 'b')], [['INBOX: x []'], []]);
  t.same(await parked(world, 'a'), []);
  t.match(await parked(world, 'b'), [{ kind: 'append', target: 'Projects', onlyCopy: false, error: 'no bytes' }]);
  await retry(world, 'b');
  await world.settle();
  t.same([upstream(world, 'a'), upstream(world, 'b')], [[], ['Projects: x []']]);
});
