import t, { type Test } from 'tap';
import { isChosen } from '../../src/mail/folder-choice.js';
import {
  type HistoryWindow,
  isWider,
  packNumbers,
  sinceSeconds,
  unpackNumbers,
  windowAt,
} from '../../src/mail/window.js';
import { MergeboxError } from '../../src/util/errors.js';
import { type FakeFeatures, FakeServer, FULL, mail, PLAIN } from './support/fake-server.js';
import { MailWorld, openWorld, scratch } from './support/mail-world.js';

const DAY = 86_400;
const NOW = Math.floor(Date.now() / 1000);
const ago = (days: number): number => NOW - days * DAY;

/** A server with the usual folders; INBOX holds `mails` as `[subject, days ago]`. */
function server(mails: readonly (readonly [string, number])[], features: FakeFeatures = FULL): FakeServer {
  const made = new FakeServer(features);
  for (const [path, role] of [
    ['INBOX', 'inbox'],
    ['Archive', 'archive'],
    ['Trash', 'trash'],
    ['Lists', null],
    ['Lists/Cooking', null],
  ] as const) {
    made.create(path, role);
  }
  for (const [subject, days] of mails) made.folder('INBOX').add(mail(subject), '', ago(days));
  return made;
}

/** A window that tests move. */
class Movable {
  shown: HistoryWindow | null = null;
  readonly window = (): HistoryWindow | null => this.shown;
}

const subjects = async (world: MailWorld, name = 'INBOX'): Promise<string[]> =>
  (await world.entries(name)).map(({ subject }) => subject);

const FOUR = [
  ['old', 400],
  ['aged', 60],
  ['late', 5],
  ['new', 1],
] as const;

async function windowed(t: Test, a: FakeServer, shown: HistoryWindow | null, b = server([])) {
  const movable = new Movable();
  movable.shown = shown;
  const world = await openWorld(t, { a, b }, { selection: { a: movable } });
  await world.settle();
  return { world, movable };
}

for (const [kind, features] of [
  ['QRESYNC', FULL],
  ['CONDSTORE', { ...FULL, qresync: false }],
  ['no extension', PLAIN],
] as const) {
  t.test(`since shows what is not older, in any order of UIDs, with ${kind}`, async (t) => {
    const a = server([FOUR[3], FOUR[0], FOUR[2], FOUR[1]], features);
    const { world } = await windowed(t, a, { since: ago(30), max: null });
    t.same((await subjects(world)).sort(), ['late', 'new']);
    // What the window does not show changes, goes and comes at the server.
    a.folder('INBOX').flag([2], ['\\Seen']);
    a.folder('INBOX').remove([4]);
    a.folder('INBOX').add(mail('newest'), '', ago(0));
    a.folder('INBOX').flag([3], ['\\Flagged']);
    await world.settle();
    t.same((await subjects(world)).sort(), ['late', 'new', 'newest']);
    t.match((await world.entries('INBOX')).find(({ subject }) => subject === 'late')?.flags, '\\Flagged');
    t.same(world.mutations(), 0);
    a.folder('INBOX').remove([3]);
    await world.settle();
    t.same((await subjects(world)).sort(), ['new', 'newest']);
  });

  t.test(`maxMessages shows the newest, and each new mail takes the oldest out, with ${kind}`, async (t) => {
    const a = server(FOUR, features);
    const { world } = await windowed(t, a, { since: null, max: 2 });
    t.same(await subjects(world), ['late', 'new']);
    a.folder('INBOX').add(mail('newest'), '', ago(0));
    await world.settle();
    t.same(await subjects(world), ['new', 'newest']);
    t.equal(a.folder('INBOX').messages.length, 5);
    t.same(world.mutations(), 0);
  });
}

t.test(
  'a window that moves removes nothing anywhere, triggers no guard, and gives all back when it opens',
  async (t) => {
    const mails = Array.from({ length: 60 }, (_, n) => [`m${n}`, 100 - n] as const);
    const a = server(mails);
    const b = server(mails.slice(0, 5));
    for (const uid of [1, 2, 30, 60]) a.folder('INBOX').flag([uid], ['\\Seen', '$label1']);
    const { world, movable } = await windowed(t, a, null, b);
    const before = { a: a.contents(), b: b.contents() };
    const all = await subjects(world);
    const changes = world.mutations();
    movable.shown = { since: ago(50), max: null };
    await world.settle();
    t.equal((await subjects(world)).length, 15, '10 of a, 5 that b shows');
    t.same(
      world.sync.engines.map((engine) => engine.status().state),
      ['idle', 'idle'],
      'nothing is held',
    );
    t.match((await world.entries('INBOX')).find(({ subject }) => subject === 'm0')?.flags, '$account_b');
    movable.shown = { since: ago(45), max: 2 };
    await world.settle();
    t.equal((await subjects(world)).length, 7);
    t.same({ a: a.contents(), b: b.contents() }, before, 'the servers have what they had');
    movable.shown = null;
    await world.settle();
    t.same((await subjects(world)).sort(), [...all].sort());
    const flagged = (await world.entries('INBOX')).filter(({ flags }) => flags.includes('$label1'));
    t.same(flagged.map(({ subject }) => subject).sort(), ['m0', 'm1', 'm29', 'm59']);
    t.same({ a: a.contents(), b: b.contents() }, before);
    t.equal(world.mutations(), changes, 'nothing was done at any server');
  },
);

t.test('what is owed to a server is done before its mail leaves the window', async (t) => {
  const a = server(FOUR);
  const { world, movable } = await windowed(t, a, null);
  const upstream = world.upstreams['a']!;
  upstream.step = (call) => {
    if (/^(store|move|expunge)/.test(call)) throw new MergeboxError('connection', 'test: away');
  };
  const [aged, old] = [await world.uid('INBOX', 'aged'), await world.uid('INBOX', 'old')];
  await world.in('INBOX', (inbox) => inbox.store([aged], 'add', ['\\Flagged']));
  await world.in('INBOX', (inbox) => inbox.move([old], 'Archive'));
  movable.shown = { since: ago(30), max: null };
  await world.sync.engines[0]!.round();
  await world.sync.engines[0]!.round();
  t.same((await subjects(world)).sort(), ['aged', 'late', 'new'], 'the flag is not at the server yet');
  t.same(await subjects(world, 'Archive'), ['old'], 'nor is the mail moved');
  upstream.step = () => undefined;
  await world.settle();
  t.same((await subjects(world)).sort(), ['late', 'new']);
  t.match(a.contents(), ['Archive: old []', 'INBOX: aged [\\Flagged]', 'INBOX: late []', 'INBOX: new []']);
});

t.test('a mail with flags that are only here stays in the window', async (t) => {
  const a = server(FOUR);
  a.folder('INBOX').offered = ['\\Seen', '\\Deleted'];
  const { world, movable } = await windowed(t, a, null);
  const aged = await world.uid('INBOX', 'aged');
  await world.in('INBOX', (inbox) => inbox.store([aged], 'add', ['$later']));
  await world.settle();
  movable.shown = { since: ago(30), max: null };
  await world.settle();
  t.same((await subjects(world)).sort(), ['aged', 'late', 'new']);
});

t.test('what another client moves out of sight is no deletion at the other accounts', async (t) => {
  const mails = Array.from({ length: 6 }, (_, n) => [`m${n}`, 10 - n] as const);
  const [a, b] = [server(mails), server(mails)];
  const { world } = await windowed(t, a, { since: ago(30), max: 6 }, b);
  for (let n = 0; n < 8; n += 1) a.folder('Archive').add(mail(`filed ${n}`), '', ago(3));
  await world.settle();
  a.moveElsewhere('INBOX', [1, 2, 3, 4, 5, 6], 'Archive');
  await world.settle();
  t.equal(b.folder('INBOX').messages.length, 6);
  t.equal(b.folder('Trash').messages.length, 0);
  t.equal((await subjects(world, 'Accounts/a/Archive')).length, 6);
  t.same(world.mutations(), 0);
});

t.test('an old mail that a client puts here stays, and is uploaded once even when the answer is lost', async (t) => {
  const a = server(FOUR);
  const { world } = await windowed(t, a, { since: ago(30), max: null });
  let lost = false;
  world.upstreams['a']!.step = (call, moment) => {
    if (lost || moment !== 'after' || !call.startsWith('append')) return;
    lost = true;
    throw new MergeboxError('connection', 'test: the answer is lost');
  };
  const bytes = mail('from the archives');
  await world.mail.append('Accounts/a/Archive', [{ bytes, flags: ['\\Seen'], internalDate: ago(3_000) }]);
  await world.settle();
  t.ok(lost);
  t.same(
    a.contents().filter((line) => line.startsWith('Archive')),
    ['Archive: from the archives [\\Seen]'],
  );
  t.same(await subjects(world, 'Accounts/a/Archive'), ['from the archives']);
});

t.test('a new UIDVALIDITY under a window loses no UID and is no deletion', async (t) => {
  const [a, b] = [server(FOUR), server(FOUR)];
  const { world, movable } = await windowed(t, a, null, b);
  movable.shown = { since: ago(30), max: null };
  await world.settle();
  const before = await world.entries('Accounts/a/INBOX');
  t.equal(before.length, 2);
  a.folder('INBOX').reset();
  await world.settle();
  t.same(await world.entries('Accounts/a/INBOX'), before);
  t.equal((await subjects(world)).length, 4);
  t.same(world.mutations(), 0);
});

t.test('a window outlives a restart', async (t) => {
  const dir = await scratch(t);
  const a = server(FOUR);
  const movable = new Movable();
  movable.shown = { since: ago(30), max: null };
  const options = { selection: { a: movable } };
  const first = await MailWorld.open(dir, { a }, options);
  await first.start();
  await first.settle();
  await first.crash();
  a.folder('INBOX').remove([1]);
  const again = await MailWorld.open(dir, { a }, options);
  const calls: string[] = [];
  again.upstreams['a']!.step = (call, moment) => void (moment === 'before' && calls.push(call));
  await again.start();
  await again.settle();
  t.same((await subjects(again)).sort(), ['late', 'new']);
  t.notOk(
    calls.some((call) => call.startsWith('messages')),
    'nothing is fetched again',
  );
  await again.close();
});

t.test('excluded folders are not looked at, and mail that goes there is not taken for deleted', async (t) => {
  const [a, b] = [server(FOUR), server(FOUR)];
  a.folder('Lists').add(mail('list mail'));
  a.folder('Lists/Cooking').add(mail('recipe'));
  const world = await MailWorld.open(
    await scratch(t),
    { a, b },
    { selection: { a: { choice: { include: ['*'], exclude: ['Lists', 'Archive'] } } } },
  );
  t.teardown(() => world.close());
  const calls: string[] = [];
  world.upstreams['a']!.step = (call) => void calls.push(call);
  await world.start();
  await world.settle();
  const names = (await world.mail.list()).map(({ name }) => name).filter((name) => name.startsWith('Accounts/a/'));
  t.same(names.sort(), ['Accounts/a/INBOX', 'Accounts/a/Trash']);
  a.moveElsewhere('INBOX', [3], 'Lists');
  await world.settle();
  t.notOk(
    calls.some((call) => /Lists|Archive/.test(call)),
    calls.join(),
  );
  t.equal(b.folder('INBOX').messages.length, 4, 'the other account keeps it');
  t.equal(b.folder('Trash').messages.length, 0);
  a.moveElsewhere('INBOX', [4], 'Trash');
  await world.settle();
  t.same(b.folder('Trash').messages.length, 1, 'what was seen to go to Trash does');
  const uid = await world.uid('INBOX', 'old');
  await t.rejects(
    world.in('INBOX', (inbox) => inbox.move([uid], 'Archive')),
    { code: 'cannot', message: /exclude/ },
  );
});

t.test(
  'a folder that is excluded later leaves when all owed to it is done, and the server keeps its mail',
  async (t) => {
    const a = server([]);
    a.folder('Lists').add(mail('one'));
    a.folder('Lists').add(mail('two'));
    const exclude: string[] = [];
    const world = await openWorld(t, { a }, { selection: { a: { choice: { include: ['*'], exclude } } } });
    await world.settle();
    const upstream = world.upstreams['a']!;
    upstream.step = (call) => {
      if (call.startsWith('store')) throw new MergeboxError('connection', 'test: away');
    };
    const uid = await world.uid('Accounts/a/Lists', 'one');
    await world.in('Accounts/a/Lists', (lists) => lists.store([uid], 'add', ['\\Flagged']));
    exclude.push('Lists');
    await world.sync.engines[0]!.round();
    await world.sync.engines[0]!.round();
    t.equal((await subjects(world, 'Accounts/a/Lists')).length, 2);
    upstream.step = () => undefined;
    await world.settle();
    const names = (await world.mail.list()).map(({ name }) => name);
    t.notOk(names.includes('Accounts/a/Lists'));
    t.same(a.contents(), ['Lists: one [\\Flagged]', 'Lists: two []']);
    exclude.pop();
    await world.settle();
    t.equal((await subjects(world, 'Accounts/a/Lists')).length, 2);
  },
);

t.test('isChosen goes by patterns for a folder and all below it', async (t) => {
  const folder = (path: string, delimiter: string | null = '/', role: 'sent' | 'junk' | null = null) => ({
    path,
    delimiter,
    role,
  });
  const all = { include: ['*'], exclude: [] };
  t.ok(isChosen(folder('Lists'), '', all));
  for (const [pattern, path, expected] of [
    ['Lists', 'Lists', false],
    ['Lists', 'Lists/Cooking', false],
    ['Lists', 'ListsOld', true],
    ['Lists*', 'ListsOld', false],
    ['Lists/%', 'Lists', true],
    ['Lists/%', 'Lists/a/b', false],
    ['%/Old', 'a/Old', false],
    ['%/Old', 'a/b/Old', true],
    ['*Old', 'a/b/Old', false],
    ['[Gmail]/All Mail', '[Gmail]/All Mail', false],
    ['INBOX', 'INBOX/x', true],
    ['*a*a*a*a*a*a*a*a*b', 'a'.repeat(200), true],
  ] as const) {
    t.equal(isChosen(folder(path), '', { include: ['*'], exclude: [pattern] }), expected, `${pattern} ${path}`);
  }
  t.notOk(isChosen(folder('INBOX.Lists.Cooking', '.'), 'INBOX.', { include: ['*'], exclude: ['Lists'] }));
  t.notOk(isChosen(folder('INBOX.Lists', '.'), 'INBOX.', { include: ['*'], exclude: ['INBOX/Lists'] }));
  t.notOk(isChosen(folder('Other'), '', { include: ['Projects'], exclude: [] }));
  t.ok(isChosen(folder('Projects/x'), '', { include: ['Projects'], exclude: [] }));
  t.ok(isChosen(folder('Sent', '/', 'sent'), '', { include: ['Projects'], exclude: ['*'] }), 'what is needed is there');
  t.notOk(isChosen(folder('Junk', '/', 'junk'), '', { include: ['*'], exclude: ['Junk'] }));
});

t.test('windows count in days of UTC, and know when they show more than before', async (t) => {
  t.equal(sinceSeconds('1970-01-02', 0), DAY);
  t.equal(sinceSeconds('2d', 10 * DAY + 5), 8 * DAY);
  t.equal(sinceSeconds('99999d', DAY), 0);
  t.equal(windowAt(undefined, undefined, 0), null);
  t.same(windowAt('1d', 7, DAY), { since: 0, max: 7 });
  const w = (since: number | null, max: number | null): HistoryWindow => ({ since, max });
  for (const [now, before, wider] of [
    [null, null, false],
    [null, w(1, null), true],
    [w(1, null), null, false],
    [w(2, null), w(1, null), false],
    [w(1, null), w(2, null), true],
    [w(1, 5), w(1, 4), true],
    [w(1, 4), w(1, 5), false],
    [w(null, 4), w(1, 4), true],
    [w(1, null), w(null, 4), true],
  ] as const)
    t.equal(isWider(now, before), wider, JSON.stringify([now, before]));
  t.equal(packNumbers([1, 2, 3, 7, 9, 10]), '1:3,7,9:10');
  t.same([...unpackNumbers('1:3,7,9:10')], [1, 2, 3, 7, 9, 10]);
  t.equal(packNumbers([]), '');
  t.equal(unpackNumbers('').size, 0);
});
