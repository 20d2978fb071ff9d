import { createHash } from 'node:crypto';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import t, { type Test } from 'tap';
import { PinnedFiles } from '../../src/cache/pinned-files.js';
import type { AccountConfig } from '../../src/config/config.js';
import type { Shelf } from '../../src/upstream/local-parts.js';
import type { KnownMail, MailBook } from '../../src/upstream/pop3/book.js';
import { Pop3Upstream } from '../../src/upstream/pop3/upstream.js';
import { silentLog } from '../../src/util/log.js';
import { Secret } from '../../src/util/secret.js';
import { type Pop3Behaviour, Pop3Fake } from '../harness/pop3-fake.js';
import { mail } from './support/fake-server.js';
import { scratch } from './support/mail-world.js';
import { Pop3World } from './support/pop3-world.js';

async function fakeWith(
  t: Test,
  subjects: readonly string[],
  behaviour: Partial<Pop3Behaviour> = {},
): Promise<Pop3Fake> {
  const fake = await Pop3Fake.start(behaviour);
  t.teardown(() => fake.stop());
  for (const subject of subjects) fake.add(mail(subject));
  return fake;
}

async function worldOf(t: Test, fake: Pop3Fake, account: object = {}): Promise<Pop3World> {
  const world = await Pop3World.open(t, await scratch(t), { isp: fake }, { isp: account });
  await world.settle();
  return world;
}

const left = (fake: Pop3Fake): string[] =>
  fake.mails.map(({ bytes }) => /^Subject: (.*)$/m.exec(bytes.toString())![1]!.trim());

const SERVERS: [string, Partial<Pop3Behaviour>][] = [
  ['all extensions', {}],
  ['no pipelining', { capabilities: ['TOP', 'UIDL'] }],
  ['no CAPA', { capabilities: null }],
  ['no UIDL', { capabilities: null, uidl: false }],
  ['no UIDL and no TOP', { capabilities: null, uidl: false, top: false }],
  ['no TOP', { capabilities: ['UIDL'], top: false }],
];

for (const [name, behaviour] of SERVERS) {
  t.test(`POP3 with ${name}: the whole job`, async (t) => {
    const fake = await fakeWith(t, ['a', 'b', 'c', 'd'], behaviour);
    const world = await worldOf(t, fake);
    t.same(await world.subjects(), ['a', 'b', 'c', 'd']);
    t.same(
      (await world.list()).map(({ bytes }) => bytes),
      fake.mails.map(({ bytes }) => bytes),
    );
    fake.add(mail('e'));
    fake.mails.splice(0, 1);
    await world.expunge('c');
    await world.move('d', 'INBOX', 'Trash');
    await world.settle();
    t.same(await world.subjects(), ['b', 'e'], 'what is new is here, what is gone is not');
    t.same(left(fake), ['b', 'e'], 'and what was deleted here is deleted there, though numbers have changed');
    t.same((await world.subjects('Trash')).sort(), ['a', 'd']);
    const sessions = fake.sessions.length;
    await world.settle();
    t.ok(
      fake.sessions.slice(sessions).every((lines) => !lines.some((line) => /^DELE|^LIST/.test(line))),
      'then nothing',
    );
  });
}

t.test('POP3: a session that reads never deletes, and one that deletes never reads a mail', async (t) => {
  const fake = await fakeWith(t, ['a', 'b', 'c']);
  const world = await worldOf(t, fake);
  await world.expunge('a');
  await world.expunge('b');
  await world.settle();
  t.same(left(fake), ['c']);
  for (const lines of fake.sessions) {
    const deletes = lines.some((line) => line.startsWith('DELE'));
    t.notOk(deletes && lines.some((line) => line.startsWith('RETR')), lines.join(' '));
    if (deletes) t.equal(lines.at(-1), 'QUIT');
  }
});

t.test('POP3: the answer to QUIT is lost, before or after the server has deleted', async (t) => {
  for (const does of [true, false]) {
    const fake = await fakeWith(t, ['a', 'b']);
    const world = await worldOf(t, fake);
    let lost = 0;
    fake.behaviour.script = (line, session) => {
      if (line !== 'QUIT' || lost > 0 || !session.commands.some((each) => each.startsWith('DELE'))) return null;
      lost += 1;
      if (does) fake.mails = fake.mails.filter(({ bytes }) => !bytes.includes('Subject: a'));
      return 'cut';
    };
    await world.expunge('a');
    await world.settle();
    t.equal(lost, 1);
    t.same(left(fake), ['b'], does ? 'it was done: nothing else is deleted' : 'it was not: it is done then');
    t.same(await world.subjects(), ['b']);
  }
});

t.test('POP3: a UIDL that comes to mean another mail', async (t) => {
  const fake = await fakeWith(t, ['a', 'b']);
  const world = await worldOf(t, fake);
  const before = await world.list();
  fake.mails[0] = { uidl: fake.mails[0]!.uidl, bytes: mail('other', 'of another size altogether\r\n') };
  await world.settle();
  t.same((await world.subjects()).sort(), ['b', 'other'], 'the old one is gone, the new one is here');
  t.notOk(before.some(({ uid }) => uid === 0));
  t.ok((await world.uid('other')) > before[1]!.uid, 'under a UID of its own');
  t.same(await world.subjects('Trash'), ['a']);
  // Of the same size it goes unnoticed, until something is to be deleted.
  fake.mails[0] = { uidl: fake.mails[0]!.uidl, bytes: mail('OTHER', 'of another size altogether\r\n') };
  await world.expunge('other');
  await world.settle();
  t.ok(left(fake).includes('OTHER'), 'a mail that we never saw is not deleted');
});

t.test('POP3: all UIDLs change; flags, UIDs and what was deleted here stay', async (t) => {
  const fake = await fakeWith(t, ['a', 'b', 'c', 'd']);
  const world = await worldOf(t, fake, { leaveOnServer: 'forever' });
  await world.expunge('d');
  const mailbox = await world.mail.open('INBOX');
  await mailbox.store([await world.uid('b')], 'add', ['\\Flagged']);
  mailbox.close();
  await world.move('c', 'INBOX', 'Archive');
  await world.settle();
  const before = await world.list();
  fake.mails = fake.mails.map(({ bytes }, index) => ({ uidl: `changed-${index}`, bytes }));
  fake.add(mail('e'), 'changed-9');
  await world.settle();
  t.same((await world.list()).slice(0, 2), before);
  t.same(await world.subjects(), ['a', 'b', 'e'], 'neither what was deleted nor what was filed comes back');
  t.same(await world.subjects('Archive'), ['c']);
  const again = await world.mail.open('INBOX');
  t.equal(again.listing.flags(1), '\\Flagged $account_isp');
  again.close();
  const reads = fake.sent('RETR');
  await world.settle();
  t.equal(fake.sent('RETR'), reads, 'and nothing is read twice');
});

t.test('POP3: a maildrop that is suddenly empty is held, and released by a person', async (t) => {
  const subjects = Array.from({ length: 30 }, (_, n) => `m${n}`);
  const fake = await fakeWith(t, subjects);
  const world = await worldOf(t, fake);
  const kept = fake.mails;
  fake.mails = [];
  await t.rejects(world.settle(), { message: /30 of 30 mails vanished/ });
  t.equal((await world.subjects()).length, 30, 'all are shown as before');
  fake.mails = kept;
  await world.settle();
  t.equal((await world.subjects()).length, 30, 'and forgiven when they come back');
  fake.mails = [];
  await t.rejects(world.settle(), { code: 'refused' });
  await world.service.release(world.service.sync.engines[0]!);
  await world.settle();
  t.same(await world.subjects(), []);
  t.equal((await world.subjects('Trash')).length, 30, 'their bytes are here: they go to Trash');
});

t.test('POP3: what the server keeps back, or lists without giving, stops nothing', async (t) => {
  const fake = await fakeWith(t, ['a', 'b', 'c']);
  fake.behaviour.script = (line) => (line === 'RETR 2' ? '-ERR [SYS/PERM] damaged\r\n' : null);
  const world = await worldOf(t, fake);
  t.same(await world.subjects(), ['a', 'c']);
  fake.behaviour.script = null;
  fake.add(mail('d'));
  await world.settle();
  t.same(await world.subjects(), ['a', 'c', 'b', 'd'], 'it comes when it can be read');
});

t.test('POP3: a wrong password is told as one, a busy maildrop is not', async (t) => {
  for (const [answer, state] of [
    ['-ERR [AUTH] no', 'failed: authentication'],
    ['-ERR [IN-USE] locked', 'offline'],
  ] as const) {
    const fake = await fakeWith(t, ['a']);
    fake.behaviour.script = (line) => (line.startsWith('AUTH') ? `${answer}\r\n` : null);
    const world = await Pop3World.open(t, await scratch(t), { isp: fake });
    await t.rejects(world.settle());
    t.equal(world.service.sync.engines[0]!.status().state, state);
    fake.behaviour.script = null;
    await world.settle();
    t.same(await world.subjects(), ['a']);
  }
});

t.test('POP3: octets that are no mail at all are kept as they are', async (t) => {
  const fake = await fakeWith(t, []);
  const odd = ['\r\n', '\0\xff\xfe\r\n', '.\r\n..\r\n', ': : :\r\n\r\n', `${'x'.repeat(100_000)}\r\n`].map((text) =>
    Buffer.from(text, 'latin1'),
  );
  for (const bytes of odd) fake.add(bytes);
  const world = await worldOf(t, fake);
  t.same(
    (await world.list()).map(({ bytes }) => bytes),
    odd,
  );
});

t.test('POP3: files go with the last mail that refers to them, and are read again when damaged', async (t) => {
  const fake = await fakeWith(t, ['a', 'b']);
  fake.add(mail('a'));
  const world = await worldOf(t, fake);
  t.equal((await world.files()).length, 2, 'equal mails have one file');
  await world.expunge('a');
  await world.settle();
  await world.service.close();
  await world.start();
  t.equal((await world.files()).length, 2, 'one of them is left');
  const [name] = await world.files();
  const file = path.join(world.dir, 'users/alice/pinned', name!);
  const bytes = await readFile(file);
  bytes[bytes.length - 9]! ^= 255;
  await writeFile(file, bytes);
  await world.settle();
  t.same(
    (await world.list()).map((each) => each.bytes),
    [mail('b'), mail('a')],
    'the damaged one was read again from its server',
  );
  t.same(await readFile(file).then((again) => again.equals(bytes)), false, 'and the file is whole again');
  for (const subject of ['a', 'b']) await world.expunge(subject);
  await world.settle();
  await world.service.close();
  await world.start();
  t.same(await world.files(), []);
});

t.test('a local account: folders that live here take mail from everywhere', async (t) => {
  const fake = await fakeWith(t, ['a', 'b']);
  const dir = await scratch(t);
  const world = await Pop3World.open(t, dir, { isp: fake }, {}, [{ id: 'here', protocol: 'local' }]);
  await world.settle();
  await world.mail.create('Accounts/here/Keep/Deep');
  await world.settle();
  await world.mail.append('Accounts/here/Keep/Deep', [{ bytes: mail('own'), flags: ['\\Flagged'] }]);
  await world.move('a', 'INBOX', 'Accounts/here/Keep/Deep');
  await world.settle();
  t.same(await world.subjects('Accounts/here/Keep/Deep'), ['own', 'a']);
  t.same(left(fake), ['b'], 'moved to another account: gone at the server');
  await world.move('a', 'Accounts/here/Keep/Deep', 'Accounts/isp/INBOX');
  await world.settle();
  t.same((await world.subjects()).sort(), ['a', 'b']);
  await world.mail.rename('Accounts/here/Keep/Deep', 'Accounts/here/Kept');
  await world.settle();
  t.same(await world.subjects('Accounts/here/Kept'), ['own']);
  await world.service.close();
  await world.start();
  await world.settle();
  t.same(await world.subjects('Accounts/here/Kept'), ['own']);
  await world.mail.delete('Accounts/here/Kept');
  await world.settle();
  await world.service.close();
  await world.start();
  t.equal((await world.files()).length, 2, 'a, which is nowhere else, and b');
});

t.test('a database that is lost: what no server has comes back by its notes', async (t) => {
  const fake = await fakeWith(t, ['a', 'b', 'c', 'old']);
  const dir = await scratch(t);
  const world = await Pop3World.open(t, dir, { isp: fake }, {}, [{ id: 'here', protocol: 'local' }]);
  await world.settle();
  await world.mail.create('Accounts/here/Keep');
  await world.settle();
  await world.mail.append('Accounts/here/Keep', [{ bytes: mail('own'), flags: ['\\Flagged'] }]);
  await world.move('a', 'INBOX', 'Trash');
  await world.move('c', 'INBOX', 'Accounts/here/Keep');
  await world.settle();
  t.same(left(fake), ['b', 'old']);
  await world.service.close();
  for (const name of await readdir(path.join(dir, 'users/alice'))) {
    if (name.startsWith('mergebox.db')) await rm(path.join(dir, 'users/alice', name));
  }
  await world.start();
  await world.settle();
  await world.service.putBack();
  await world.settle();
  const all = [...(await world.subjects()), ...(await world.subjects('Trash')), ...(await world.subjects('Archive'))];
  for (const { name } of (await world.mail.list()).filter((each) => each.name === 'Accounts/here/Keep')) {
    all.push(...(await world.subjects(name)));
  }
  t.same([...new Set(all)].sort(), ['a', 'b', 'c', 'old', 'own']);
  t.same(await world.subjects('Trash'), ['a']);
});

t.test('an account that is configured no more, or as IMAP now, keeps the mail that is only here', async (t) => {
  const fake = await fakeWith(t, ['a', 'b']);
  const dir = await scratch(t);
  const world = await Pop3World.open(t, dir, { isp: fake });
  await world.settle();
  await world.move('a', 'INBOX', 'Archive');
  await world.settle();
  await world.service.close();
  const other = await fakeWith(t, ['c']);
  const next = await Pop3World.open(t, dir, { new: other });
  await next.settle();
  t.same((await next.subjects()).sort(), ['b', 'c']);
  t.same(await next.subjects('Accounts/isp/Archive'), ['a']);
  await next.service.close();
  const gone = { id: 'isp', host: '127.0.0.1', port: 1, tls: 'none', auth: { username: 'a', password: 'b' } };
  const imap = await Pop3World.open(t, dir, { new: other }, {}, [gone]);
  t.same(await imap.subjects('Accounts/isp-kept/Archive'), ['a'], 'its name went to the IMAP account');
  t.same((await imap.subjects()).sort(), ['b', 'c']);
  const mailbox = await imap.mail.open('INBOX');
  t.same(mailbox.listing.flags(mailbox.listing.indexOf(await imap.uid('b'))), '$account_isp-kept');
  mailbox.close();
});

t.test('POP3: a line that breaks again and again loses nothing and doubles nothing', async (t) => {
  const fake = await fakeWith(t, ['a', 'b', 'c']);
  const world = await worldOf(t, fake);
  for (const cut of [30, 200, 260, 420, 600, 900]) {
    // A mail comes and one goes in each round, while the line breaks.
    fake.add(mail(`n${cut}`, 'x\r\n'));
    fake.behaviour.cutAfter = cut;
    await world.service.sync.engines[0]!.round().catch(() => undefined);
    fake.behaviour.cutAfter = -1;
    await world.settle();
    t.same(await world.subjects(), left(fake), `cut after ${cut}`);
    await world.expunge(`n${cut}`);
    fake.behaviour.cutAfter = cut;
    await world.service.sync.engines[0]!.round().catch(() => undefined);
    fake.behaviour.cutAfter = -1;
  }
  await world.settle(30_000);
  t.same(await world.subjects(), ['a', 'b', 'c']);
  t.same(left(fake), ['a', 'b', 'c']);
});

/** A POP3 account without a store: INBOX is what `keep` was called for. */
class BareAccount {
  readonly recorded = new Map<number, string>();
  readonly rows = new Map<number, KnownMail>();
  readonly upstream: Pop3Upstream;
  #next = 1;

  constructor(fake: Pop3Fake, files: PinnedFiles) {
    const shelf: Shelf = {
      folders: async () => [{ path: 'INBOX', role: 'inbox', uidNext: this.#next, exists: this.recorded.size }],
      uids: async () => [...this.recorded.keys()].sort((a, b) => a - b),
      take: async (_path, count) => {
        this.#next += count;
        return this.#next - count;
      },
      contents: async (_path, uids) => new Map([...this.recorded].filter(([uid]) => uids.includes(uid))),
      filed: async () => new Set(),
      created: async () => undefined,
    };
    const book: MailBook = {
      all: async () => [...this.rows.values()].sort((a, b) => a.uid - b.uid),
      save: async (rows, removed = []) => {
        for (const uid of removed) this.rows.delete(uid);
        for (const row of rows) this.rows.set(row.uid, row);
      },
    };
    const endpoint = { host: '127.0.0.1', port: fake.port, tls: 'none', ca: null } as const;
    const auth = { username: 'alice', password: new Secret('secret') };
    const account = { endpoint, auth, authority: 'both', leaveOnServer: 'until-deleted' } as AccountConfig;
    this.upstream = new Pop3Upstream({ account, shelf, files, book, log: silentLog() });
  }

  /** What a pull does. */
  async pull(): Promise<void> {
    await this.upstream.read('INBOX', null, async (reader) => {
      const uids = (await reader.flags(null)).map(({ uid }) => uid).filter((uid) => !this.recorded.has(uid));
      await reader.messages(uids, async (page) => {
        for (const { uid, content } of page) this.recorded.set(uid, content!);
      });
    });
  }
}

t.test('POP3: a download and a deletion cut at every octet are complete after the next try', async (t) => {
  const files = await PinnedFiles.open(path.join(await scratch(t), 'pinned'));
  const fake = await fakeWith(t, []);
  const mails = ['S: a\r\n\r\n.\r\n', 'S: b\r\n\r\n..b\r\n'].map((text) => Buffer.from(text));
  const names = mails.map((bytes) => createHash('sha256').update(bytes).digest('hex'));
  let downloads = 0;
  let deletions = 0;
  for (let cut = 0; downloads === 0 || deletions === 0; cut += 1) {
    fake.mails = [];
    for (const bytes of mails) fake.add(bytes);
    const account = new BareAccount(fake, files);
    fake.behaviour.cutAfter = cut;
    const pulled = await account.pull().then(
      () => true,
      () => false,
    );
    if (pulled) downloads += 1;
    fake.behaviour.cutAfter = -1;
    await account.pull();
    const got = [...account.recorded].sort(([a], [b]) => a - b);
    if (JSON.stringify(got.map(([, name]) => name)) !== JSON.stringify(names)) t.same(got, names, `cut after ${cut}`);
    fake.behaviour.cutAfter = cut;
    const ref = { path: 'INBOX', uidValidity: 1 };
    const authorised = { actions: [1], reason: 'test', setAside: async () => undefined };
    const [uid] = got[0]!;
    const expunged = await account.upstream.expunge(ref, [uid], authorised).then(
      () => true,
      () => false,
    );
    if (expunged) deletions += 1;
    fake.behaviour.cutAfter = -1;
    await account.upstream.expunge(ref, [uid], authorised);
    if (fake.mails.length !== 1 || !fake.mails[0]!.bytes.equals(mails[1]!)) t.fail(`deletion cut after ${cut}`);
    await account.upstream.disconnect();
  }
  t.equal(downloads, 1, 'cut at every octet but the last');
});
