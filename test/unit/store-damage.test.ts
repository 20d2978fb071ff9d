import { createHash, randomBytes } from 'node:crypto';
import { readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import t, { type Test } from 'tap';
import { Rescued, setPinnedAside } from '../../src/mailbox/rescued.js';
import { Handle } from '../../src/store/driver.js';
import { type Rebuild, rebuildDatabase } from '../../src/store/rebuild.js';
import { beginRebuild, completeRebuild, finishRebuild } from '../../src/store/set-aside.js';
import { Store } from '../../src/store/store.js';
import { silentLog } from '../../src/util/log.js';
import { FakeServer, FULL, mail } from './support/fake-server.js';
import { copyDir, MailWorld, scratch, type Servers } from './support/mail-world.js';

t.setTimeout(300_000);

const MAILS = 180;

function makeServers(): Servers {
  const make = (own: string): FakeServer => {
    const server = new FakeServer(FULL);
    for (const [name, role] of [
      ['INBOX', 'inbox'],
      ['Trash', 'trash'],
      ['Archive', 'archive'],
    ] as const) {
      server.create(name, role);
    }
    for (let n = 0; n < MAILS; n += 1) server.folder('INBOX').add(mail(n % 3 === 0 ? `both ${n}` : `${own} ${n}`));
    return server;
  };
  return { work: make('work'), home: make('home') };
}

/** A user's directory as a crash leaves it: in sync, but for an APPEND, a flag and an EXPUNGE that no server knows of. */
interface Left {
  readonly dir: string;
  readonly servers: Servers;
  /** What a client has seen: mailbox, UIDVALIDITY and UID, and the bytes under them. */
  readonly seen: ReadonlyMap<string, string>;
}

async function leave(t: Test): Promise<Left> {
  const servers = makeServers();
  const world = await MailWorld.open(await scratch(t), servers);
  await world.start();
  await world.settle();
  const seen = await fingerprints(world);
  const flagged = await world.uids('INBOX', 'both 0');
  const gone = await world.uids('INBOX', 'both 3');
  const marked = await world.uids('INBOX', 'both 6');
  for (const upstream of Object.values(world.upstreams)) upstream.step = () => new Promise(() => undefined);
  const bytes = mail('appended');
  const message = { bytes, flags: ['\\Seen'], internalDate: 1_700_000_000 };
  const { uidValidity, uids } = await world.mail.append('INBOX', [message]);
  seen.set(`INBOX ${uidValidity} ${uids[0]}`, `appended ${createHash('sha256').update(bytes).digest('hex')}`);
  seen.set(`INBOX ${uidValidity} next`, String(uids[0]! + 1));
  await world.in('INBOX', async (mailbox) => {
    await mailbox.store(flagged, 'add', ['\\Flagged']);
    await mailbox.store([...gone, ...marked], 'add', ['\\Deleted']);
    await mailbox.expunge(gone);
  });
  for (const [place, what] of seen) if (what.startsWith('both 3 ')) seen.delete(place);
  const dir = await scratch(t);
  await copyDir(world.dir, dir);
  await world.crash();
  return { dir, servers, seen };
}

/** A copy of its own for each test. */
async function copyOf(t: Test, made: Left): Promise<Left> {
  const dir = await scratch(t);
  await copyDir(made.dir, dir);
  const servers = Object.fromEntries(Object.entries(made.servers).map(([name, server]) => [name, server.clone()]));
  return { dir, servers, seen: made.seen };
}

async function fingerprints(world: MailWorld): Promise<Map<string, string>> {
  const seen = new Map<string, string>();
  for (const { name, selectable } of await world.mail.list()) {
    if (!selectable) continue;
    const uidValidity = await world.in(name, async (mailbox) => mailbox.uidValidity);
    const { uidNext } = await world.mail.status(name);
    seen.set(`${name} ${uidValidity} next`, String(uidNext));
    for (const { uid, subject, hash } of await world.entries(name)) {
      seen.set(`${name} ${uidValidity} ${uid}`, `${subject} ${hash}`);
    }
  }
  return seen;
}

type Damage = (file: string) => Promise<void>;

/** Overwrites octets in place. */
async function overwrite(file: string, at: number, bytes: Buffer): Promise<void> {
  const whole = await readFile(file);
  bytes.copy(whole, at);
  await writeFile(file, whole);
}

/** As a daemon does that ends in good order: all that was committed goes into the file. */
async function checkpoint(file: string): Promise<void> {
  const handle = await Handle.open(file, 'write');
  await handle.all('PRAGMA wal_checkpoint(TRUNCATE)');
  await handle.close();
  await rm(path.join(path.dirname(file), 'mergebox.state'), { force: true });
}

interface Place {
  readonly at: number;
  readonly size: number;
}

/** Where the root page of an index is, or a page of rows of a table that is neither its first nor its last. */
async function placeOf(file: string, name: string): Promise<Place> {
  const handle = await Handle.open(file, 'read');
  const [row] = await handle.all<{ rootpage: number; type: string }>(
    'SELECT rootpage, type FROM sqlite_master WHERE name = ?',
    [name],
  );
  const [pages] = await handle.all<{ page_size: number }>('PRAGMA page_size');
  await handle.close();
  const size = pages!.page_size;
  const bytes = await readFile(file);
  let at = (row!.rootpage - 1) * size;
  // Of the b-tree of a table 5 is an inner page, whose cells begin with the number of a page below.
  while (row!.type === 'table' && bytes[at] === 5) {
    const cell = bytes.readUInt16BE(at + 12 + 2 * Math.floor(bytes.readUInt16BE(at + 3) / 2));
    at = (bytes.readUInt32BE(at + cell) - 1) * size;
  }
  return { at, size };
}

/** Garbage in that page. */
function page(of: string): Damage {
  return async (file) => {
    await checkpoint(file);
    const { at, size } = await placeOf(file, of);
    await overwrite(file, at, randomBytes(size));
  };
}

interface Kind {
  readonly name: string;
  readonly damage: Damage;
  /** How many UIDs. */
  readonly keeps: 'all' | 'some' | 'nothing';
}

const KINDS: readonly Kind[] = [
  {
    name: 'garbage in the header page',
    keeps: 'nothing',
    damage: async (file) => {
      await checkpoint(file);
      await overwrite(file, 0, randomBytes(4_096));
    },
  },
  {
    name: 'a truncated file',
    keeps: 'nothing',
    damage: async (file) => {
      await checkpoint(file);
      await truncate(file, Math.floor((await stat(file)).size / 8));
    },
  },
  {
    name: 'a zero-length file',
    keeps: 'nothing',
    damage: async (file) => {
      await truncate(file, 0);
      await rm(`${file}-wal`);
    },
  },
  { name: 'a missing write-ahead log', keeps: 'nothing', damage: (file) => rm(`${file}-wal`) },
  { name: 'garbage in the mailboxes', keeps: 'nothing', damage: page('mailbox') },
  { name: 'garbage in an index', keeps: 'all', damage: page('entry_uid') },
  { name: 'garbage in the feed', keeps: 'all', damage: page('expunged') },
  { name: 'garbage in the action list', keeps: 'all', damage: page('action') },
  { name: 'garbage among the entries', keeps: 'some', damage: page('entry') },
  { name: 'garbage among the copies', keeps: 'some', damage: page('copy') },
  { name: 'garbage among the messages', keeps: 'some', damage: page('message') },
  { name: 'garbage among the metadata', keeps: 'some', damage: page('metadata') },
];

async function rebuild(dir: string): Promise<Rebuild> {
  const files = await readdir(path.join(dir, 'pinned'));
  return rebuildDatabase(dir, new Set(files.filter((file) => !file.includes('.'))));
}

/** What the daemon does with the directory: the user is served again. */
async function serve(left: Left): Promise<MailWorld> {
  const store = await Store.open(left.dir);
  await setPinnedAside(store, left.dir);
  await store.close();
  const world = await MailWorld.open(left.dir, left.servers);
  await world.start();
  await world.settle();
  const rescued = new Rescued(world.context, left.dir, silentLog());
  await rescued.putBack();
  await rescued.close();
  await world.settle();
  return world;
}

t.test(
  'a damaged database is refused with what to do, set aside, and built anew without touching the servers',
  async (t) => {
    const made = await leave(t);
    for (const kind of KINDS) {
      await t.test(kind.name, async (t) => damageAndRebuild(t, await copyOf(t, made), kind));
    }
  },
);

async function damageAndRebuild(t: Test, left: Left, { damage, keeps }: Kind): Promise<void> {
  const file = path.join(left.dir, 'mergebox.db');
  await damage(file);
  const broken = await readFile(file);
  await t.rejects(Store.open(left.dir), { code: 'corrupt', message: /damaged.*"mergebox rebuild".*not touched/ });
  t.same(await readFile(file), broken, 'nothing is written to it');

  const { aside, mending, losses } = await rebuild(left.dir);
  t.same(await readFile(path.join(aside!, 'mergebox.db')), broken, 'kept');
  t.equal(mending === null, keeps === 'nothing', `${losses.join('; ')}: ${JSON.stringify(mending)}`);

  const world = await serve(left);
  t.equal(left.servers['work']!.folder('INBOX').messages.length, MAILS + 1, 'the appended mail is uploaded, once');
  t.equal(left.servers['home']!.folder('INBOX').messages.length, MAILS, 'nothing is removed');
  t.equal((await world.uids('INBOX', 'appended')).length, 1);
  t.equal((await world.uids('INBOX', 'both 3')).length, 1, 'an EXPUNGE that was not sent is not believed');
  t.equal((await world.entries('INBOX')).length, 2 * MAILS - MAILS / 3 + 1);
  await world.check();

  const now = await fingerprints(world);
  const places = [...left.seen.keys()].filter((place) => !place.endsWith(' next'));
  const other = places.filter((place) => now.has(place) && now.get(place) !== left.seen.get(place));
  t.same(other, [], 'under no UID there is another mail');
  const same = places.filter((place) => now.has(place)).length;
  if (keeps === 'all') t.equal(same, places.length, 'every UID is kept');
  else if (keeps === 'nothing') t.equal(same, 0, 'every mailbox has a new UIDVALIDITY');
  else t.ok(same > places.length / 5 && same < places.length, `${same} of ${places.length} UIDs are kept`);
  const next = [...left.seen].filter(
    ([place, uid]) => place.endsWith(' next') && Number(now.get(place) ?? uid) < Number(uid),
  );
  t.same(next, [], 'no UID can come again');
  if (keeps === 'all') {
    const flags = (await world.entries('INBOX')).filter(({ subject }) => subject === 'both 0' || subject === 'both 6');
    const plain = flags.map((each) => each.flags.replace(/ ?\$account_\w+/g, ''));
    t.same(plain.sort(), ['', '\\Flagged'], 'a flag that was not sent is kept, a mark to destroy is not');
  }
  await world.close();
  await (await Store.open(left.dir)).close();
}

/** As if the file were as it was left. */
async function claimClosed(file: string): Promise<void> {
  const { size, mtimeMs } = await stat(file);
  await writeFile(path.join(path.dirname(file), 'mergebox.state'), JSON.stringify({ state: 'closed', size, mtimeMs }));
}

t.test('Store.open believes a database that was closed in good order, unless it was written to since', async (t) => {
  const dir = await scratch(t);
  const file = path.join(dir, 'mergebox.db');
  await (await Store.open(dir)).close();
  const { at, size } = await placeOf(file, 'entry_uid');
  await overwrite(file, at, randomBytes(size));
  await claimClosed(file);
  // Not read through: what is wrong shows when it is read.
  await (await Store.open(dir)).close();
  await overwrite(file, at, randomBytes(size));
  await t.rejects(Store.open(dir), { code: 'corrupt' });
});

t.test('Store: a damage that shows while it runs is remembered for the next start', async (t) => {
  const dir = await scratch(t);
  const file = path.join(dir, 'mergebox.db');
  await (await Store.open(dir)).close();
  const { at, size } = await placeOf(file, 'subscription');
  await overwrite(file, at, randomBytes(size));
  await claimClosed(file);
  const store = await Store.open(dir);
  await t.rejects(
    store.read((tx) => tx.all('SELECT * FROM subscription')),
    { code: 'corrupt' },
  );
  await store.close();
  await t.rejects(Store.open(dir), { code: 'corrupt', message: /could not be read/ });
});

t.test(
  'finishRebuild: a complete one is taken into use whenever it was interrupted, an incomplete one is forgotten',
  async (t) => {
    const dir = await scratch(t);
    await (await Store.open(dir)).close();
    const old = await readFile(path.join(dir, 'mergebox.db'));
    const folder = await beginRebuild(dir);
    await (await Store.open(folder)).close();
    t.equal(await finishRebuild(dir), null);
    t.same(await readFile(path.join(dir, 'mergebox.db')), old);
    t.notOk((await readdir(dir)).includes('rebuild'));

    await beginRebuild(dir);
    const { id } = await Store.open(folder).then(async (store) => {
      await store.close();
      return store;
    });
    await completeRebuild(dir);
    // As after a crash in the middle of setting the old one aside.
    await rm(path.join(dir, 'mergebox.state'));
    const aside = await finishRebuild(dir);
    t.same(await readFile(path.join(aside!, 'mergebox.db')), old);
    const store = await Store.open(dir);
    t.equal(store.id, id);
    await store.close();
    t.equal(await finishRebuild(dir), null, 'once');
  },
);

t.test(
  'Rescued: mail without a note goes to the INBOX of a local account, and waits where there is none',
  async (t) => {
    const left = await leave(t);
    const pinned = path.join(left.dir, 'pinned');
    for (const file of await readdir(pinned)) if (file.endsWith('.json')) await rm(path.join(pinned, file));
    await page('message')(path.join(left.dir, 'mergebox.db'));
    await rebuildDatabase(left.dir, new Set());
    const world = await serve(left);
    t.equal((await world.uids('INBOX', 'appended')).length, 0);
    await world.close();
    t.equal((await readdir(path.join(left.dir, 'rescued'))).length, 1, 'it waits');

    const attic = new FakeServer(FULL);
    attic.create('INBOX', 'inbox');
    const local = await MailWorld.open(left.dir, { ...left.servers, attic }, { policies: { attic: { local: true } } });
    await local.start();
    await local.settle();
    const rescued = new Rescued(local.context, left.dir, silentLog());
    t.equal(await rescued.putBack(), 1);
    t.equal(await rescued.putBack(), 0, 'once');
    await rescued.close();
    await local.settle();
    const [uid] = await local.uids('Accounts/attic/INBOX', 'appended');
    const body = await local.in('Accounts/attic/INBOX', (mailbox) => mailbox.body(uid!));
    t.same(await body.read(0, body.size), mail('appended'));
    t.same(await readdir(path.join(left.dir, 'rescued')), []);
    await local.close();
  },
);
