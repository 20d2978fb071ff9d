import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import type { Dovecot } from '../harness/dovecot.js';
import { startDovecot } from '../harness/dovecot.js';
import { Mbsync } from '../harness/mbsync.js';
import { type Mergebox, startMergebox } from '../harness/mergebox.js';
import { bodyFingerprints, uidOf } from '../harness/world.js';

interface Scene {
  readonly isp: Dovecot;
  readonly work: Dovecot;
  readonly box: Mergebox;
}

function mail(name: string, body = `body of ${name}\r\n.\r\n..a line of dots\r\n`): string {
  const head = `From: ada@sender.example\r\nTo: alice@isp.example\r\nDate: Mon, 02 Sep 2024 10:00:00 +0000\r\nSubject: ${name}`;
  return `${head}\r\nMessage-ID: <${name}@test.example>\r\n\r\n${body}`;
}

/** A POP3 account `isp` and an IMAP account `work`, with these mails in each. */
async function scene(
  test: { teardown(stop: () => unknown): void },
  mails: { readonly isp: readonly string[]; readonly work?: readonly string[] },
  account: object = {},
): Promise<Scene> {
  const isp = await startDovecot({ pop3: true, tls: 'starttls' });
  test.teardown(() => isp.stop());
  const work = await startDovecot();
  test.teardown(() => work.stop());
  for (const name of mails.isp) await isp.deliver('alice', 'INBOX', mail(name));
  for (const name of mails.work ?? []) await work.deliver('alice', 'INBOX', mail(name));
  const pop3 = { id: 'isp', server: isp, protocol: 'pop3', port: isp.pop3Port, pollSeconds: 3_600, ...account };
  const box = await startMergebox({
    users: [{ name: 'alice', password: 'correct horse', accounts: [{ id: 'work', server: work }, pop3] }],
  });
  test.teardown(() => box.stop());
  await box.sync();
  return { isp, work, box };
}

async function names(box: Mergebox, mailbox = 'INBOX'): Promise<string[]> {
  return (await box.list(mailbox)).map(({ subject }) => subject ?? '').sort();
}

async function atServer(server: Dovecot): Promise<string[]> {
  return (await server.list('alice', 'INBOX')).map(({ subject }) => subject ?? '').sort();
}

const id = (name: string): string => `<${name}@test.example>`;

t.test('a POP3 account behaves like an IMAP one', async (t) => {
  const { isp, work, box } = await scene(t, {
    isp: ['one', 'two', 'both', 'four', 'five', 'six'],
    work: ['both', 'w'],
  });
  const client = await box.imap();
  t.teardown(() => client.close());
  t.same(
    await names(box),
    ['both', 'five', 'four', 'one', 'six', 'two', 'w'],
    'merged, and what both have is once there',
  );
  t.same(await names(box, 'Accounts/isp/INBOX'), ['both', 'five', 'four', 'one', 'six', 'two']);
  await client.ok('SELECT INBOX');
  const tagged = await client.ok('UID SEARCH KEYWORD $account_isp');
  t.equal(
    tagged.untagged.find((line) => line.startsWith('SEARCH'))?.split(' ').length,
    7,
    'six entries carry its keyword',
  );

  await client.ok('SELECT Accounts/isp/INBOX');
  const expected = ['one', 'two', 'both', 'four', 'five', 'six'].map((name) => sha(mail(name)));
  t.same([...(await bodyFingerprints(client)).values()].sort(), expected.sort(), 'byte for byte, dots and all');

  await client.ok('SELECT INBOX');
  await client.ok(`UID STORE ${await uidOf(client, id('both'))} +FLAGS (\\Seen $label1)`);
  await client.ok(`UID STORE ${await uidOf(client, id('one'))} +FLAGS (\\Flagged)`);
  await box.sync();
  const flags = (await work.list('alice', 'INBOX')).find(({ subject }) => subject === 'both')?.flags;
  t.same([...(flags ?? [])].sort(), ['$label1', '\\Seen'], 'flags reach the IMAP copy');
  t.same(
    (await box.list('Accounts/isp/INBOX')).find(({ subject }) => subject === 'one')?.flags.includes('\\Flagged'),
    true,
  );

  await client.ok(`UID MOVE ${await uidOf(client, id('one'))} Trash`);
  await client.ok(`UID STORE ${await uidOf(client, id('two'))} +FLAGS (\\Deleted)`);
  await client.ok(`UID EXPUNGE ${await uidOf(client, id('two'))}`);
  await client.ok(`UID MOVE ${await uidOf(client, id('four'))} Archive`);
  await client.ok(`UID MOVE ${await uidOf(client, id('both'))} Trash`);
  await box.sync();
  t.same(await atServer(isp), ['five', 'four', 'six'], 'what was deleted is deleted there, what was filed is not');
  t.same(await atServer(work), ['w']);
  t.same(await names(box), ['five', 'six', 'w']);
  t.same(await names(box, 'Trash'), ['both', 'one']);
  t.same(await names(box, 'Archive'), ['four']);
  t.ok(
    (await box.list('Trash')).find(({ subject }) => subject === 'one')?.flags.includes('\\Flagged'),
    'flags go along',
  );

  await client.ok('SELECT Archive');
  await client.ok(`UID STORE ${await uidOf(client, id('four'))} +FLAGS (\\Deleted)`);
  await client.ok('EXPUNGE');
  await box.sync();
  t.same(await atServer(isp), ['five', 'six'], 'filed mail is deleted at the server when it is deleted');

  await client.ok('SELECT Trash');
  await client.ok(`UID MOVE ${await uidOf(client, id('one'))} INBOX`);
  await box.sync();
  t.same(await names(box), ['five', 'one', 'six', 'w'], 'what was thrown away comes back');
  t.equal(await box.append('Accounts/isp/INBOX', mail('appended')), 8);
  await client.ok('CREATE Accounts/isp/Projects');
  await client.ok('SELECT INBOX');
  await client.ok(`UID COPY ${await uidOf(client, id('w'))} Accounts/isp/Projects`);
  await box.sync();
  t.same(await names(box, 'Accounts/isp/Projects'), ['w'], 'a folder that lives here takes mail of another account');
  t.same(await atServer(isp), ['five', 'six']);

  await work.kill();
  await box.restart();
  const again = await box.imap();
  t.teardown(() => again.close());
  await again.ok('SELECT Accounts/isp/Projects');
  t.same([...(await bodyFingerprints(again)).values()], [sha(mail('w'))], 'its bytes are here');
  t.same((await again.ok('LIST "" "Accounts/isp/*"')).untagged.length, 4, 'INBOX, Trash, Archive, Projects');
});

t.test('mbsync keeps a POP3 account in step, both ways, and fetches nothing twice', async (t) => {
  const { isp, box } = await scene(t, { isp: ['a', 'b', 'c'] });
  const { port } = box.endpoint('implicit');
  const account = { port, ca: box.ca, user: 'alice', password: 'correct horse' };
  const mbsync = await Mbsync.create(account, 'Accounts/isp/INBOX Trash');
  t.teardown(() => mbsync.stop());
  const mailbox = 'Accounts/isp/INBOX';
  t.equal((await mbsync.run()).code, 0);
  t.equal((await mbsync.list(mailbox)).length, 3);
  await mbsync.setFlags(await mbsync.find(mailbox, '<a@test.example>'), 'S');
  await mbsync.setFlags(await mbsync.find(mailbox, '<b@test.example>'), 'T');
  await mbsync.add(mailbox, mail('new').replaceAll('\r\n', '\n'));
  await isp.deliver('alice', 'INBOX', mail('d'));
  await box.sync();
  t.equal((await mbsync.run()).code, 0);
  await box.sync();
  t.same(await atServer(isp), ['a', 'c', 'd'], 'the client expunged one: deleted at the server');
  t.same(await names(box, mailbox), ['a', 'c', 'd', 'new']);
  const before = await mbsync.names();
  const [seen] = await box.list(mailbox);
  t.same(seen?.flags, ['\\Seen', '$account_isp']);
  await box.restart();
  await mbsync.reconfigure({ ...account, port: box.endpoint('implicit').port }, 'Accounts/isp/INBOX Trash');
  t.equal((await mbsync.run()).code, 0);
  t.same(await mbsync.names(), before, 'a further run changes nothing, after a restart either');
});

t.test('forward and reverse synchronisation, and UIDLs that change', async (t) => {
  const { isp, box } = await scene(t, { isp: Array.from({ length: 8 }, (_, n) => `m${n}`) });
  const direct = await isp.imap();
  t.teardown(() => direct.close());
  await direct.ok('SELECT INBOX');
  await direct.ok(`UID STORE ${await uidOf(direct, id('m0'))} +FLAGS (\\Deleted)`);
  await direct.ok('EXPUNGE');
  await isp.deliver('alice', 'INBOX', mail('new'));
  await box.sync();
  t.notOk((await names(box)).includes('m0'), 'deleted at the server: out of INBOX');
  t.same(await names(box, 'Trash'), ['m0'], 'but its bytes are here, so it is in Trash');
  t.ok((await names(box)).includes('new'));

  const before = await box.list();
  const status = await mailboxState(box);
  const conf = join(isp.dir, 'dovecot.conf');
  await writeFile(conf, `${await readFile(conf, 'utf8')}\npop3_uidl_format = v%08Xv-%08Xu\n`);
  await isp.restart();
  await isp.deliver('alice', 'INBOX', mail('newest'));
  await box.sync();
  const after = await box.list();
  t.same(
    after.filter(({ subject }) => subject !== 'newest'),
    before,
    'every mail is recognised under its new name: clients notice nothing',
  );
  t.equal(after.length, before.length + 1);
  t.equal((await mailboxState(box)).uidValidity, status.uidValidity);

  const client = await box.imap();
  t.teardown(() => client.close());
  await client.ok('SELECT INBOX');
  await client.ok(`UID MOVE ${await uidOf(client, id('m5'))} Trash`);
  await box.sync();
  t.notOk((await atServer(isp)).includes('m5'), 'and is deleted under its new name');
  t.equal((await atServer(isp)).length, 8);
});

async function mailboxState(box: Mergebox): Promise<{ uidValidity: string | undefined }> {
  const client = await box.imap();
  const { untagged } = await client.ok('STATUS INBOX (UIDVALIDITY)');
  client.close();
  return { uidValidity: /UIDVALIDITY (\d+)/.exec(untagged.join())?.[1] };
}

t.test('leaveOnServer and authority decide what DELE is sent', async (t) => {
  const forever = await scene(t, { isp: ['a', 'b'] }, { leaveOnServer: 'forever' });
  const client = await forever.box.imap();
  t.teardown(() => client.close());
  await client.ok('SELECT INBOX');
  await client.ok(`UID MOVE ${await uidOf(client, id('a'))} Trash`);
  await forever.box.sync();
  await forever.box.sync();
  t.same(await atServer(forever.isp), ['a', 'b'], 'forever: never');
  t.same(await names(forever.box), ['b'], 'and what was deleted here stays away');

  await forever.box.terminate();
  const config = await forever.box.readConfig();
  const users = config['users'] as { accounts: { leaveOnServer?: unknown; authority?: string }[] }[];
  users[0]!.accounts[1]!.leaveOnServer = 1;
  await forever.box.writeConfig(config);
  await ageBook(forever.box, 2 * 86_400);
  await forever.box.start();
  await forever.box.sync();
  t.same(await atServer(forever.isp), ['a'], 'a day is over: removed there');
  t.same(await names(forever.box), ['b'], 'and it stays here');
  await forever.box.terminate();
  users[0]!.accounts[1]!.authority = 'mergebox';
  await forever.box.writeConfig(config);
  await forever.isp.deliver('alice', 'INBOX', mail('c'));
  await forever.box.start();
  await forever.box.sync();
  const direct = await forever.isp.imap();
  t.teardown(() => direct.close());
  await direct.ok('SELECT INBOX');
  await direct.ok('STORE 1:* +FLAGS (\\Deleted)');
  await direct.ok('EXPUNGE');
  await forever.box.sync();
  t.same(await names(forever.box), ['b', 'c'], 'authority mergebox: what the server forgets stays');
});

/** Makes all mail of the POP3 account so much older, s. */
async function ageBook(box: Mergebox, seconds: number): Promise<void> {
  const { Handle } = await import('../../src/store/driver.js');
  const db = await Handle.open(join(box.dir, 'data', 'users', 'alice', 'mergebox.db'), 'write');
  await db.run('UPDATE pop3_mail SET seen = seen - ?', [seconds]);
  await db.close();
}

t.test('a mail of 50 MB passes through and is read in parts', async (t) => {
  const isp = await startDovecot({ pop3: true });
  t.teardown(() => isp.stop());
  const line = `${'QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0NTY3'.slice(0, 76)}\r\n`;
  const attachment = line.repeat(Math.floor(50_000_000 / line.length));
  const head =
    'From: a@b.example\r\nSubject: large\r\nMessage-ID: <large@test.example>\r\nDate: Mon, 02 Sep 2024 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n';
  const bytes = `${head}--x\r\n\r\nhello\r\n--x\r\nContent-Type: application/x-y\r\nContent-Transfer-Encoding: base64\r\n\r\n${attachment}--x--\r\n`;
  await isp.deliver('alice', 'INBOX', bytes);
  const box = await startMergebox({
    users: [
      {
        name: 'alice',
        password: 'correct horse',
        accounts: [{ id: 'isp', server: isp, protocol: 'pop3', port: isp.pop3Port }],
      },
    ],
  });
  t.teardown(() => box.stop());
  const before = await residentBytes(box.pid);
  await box.sync();
  const grown = (await residentBytes(box.pid)) - before;
  t.ok(grown < 60_000_000, `the daemon grew by ${Math.round(grown / 1e6)} MB while it took 50 MB`);
  const client = await box.imap();
  t.teardown(() => client.close());
  await client.ok('SELECT INBOX');
  const { untagged } = await client.ok('FETCH 1 (RFC822.SIZE BODYSTRUCTURE)');
  t.match(untagged.join(), new RegExp(`RFC822.SIZE ${bytes.length}\\b`));
  t.match(untagged.join(), new RegExp(`"base64" ${attachment.length - 2}\\b`));
  t.same([...(await bodyFingerprints(client)).values()], [sha(bytes)]);
});

async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) * 1_024;
}

function sha(text: string): string {
  return createHash('sha256').update(text, 'latin1').digest('hex');
}
