import t, { type Test } from 'tap';
import { DEFAULT_LIMITS } from '../../src/imap/limits.js';
import { ImapServer } from '../../src/imap/server.js';
import { assignThreads } from '../../src/store/objects.js';
import { MergeboxError } from '../../src/util/errors.js';
import { silentLog } from '../../src/util/log.js';
import { RawClient } from './imap-support.js';
import { FakeServer, mail } from './support/fake-server.js';
import { MailWorld, openWorld, scratch } from './support/mail-world.js';

/** The front end over the store; what comes from a server in the tests comes through the sync half. */
async function serve(t: Test, world: MailWorld): Promise<(mailbox?: string) => Promise<RawClient>> {
  const server = new ImapServer({
    backend: { login: async () => world.mail },
    limits: { ...DEFAULT_LIMITS, closeMs: 500 },
    log: silentLog(),
    version: '1',
    now: Date.now,
    certificate: () => ({ cert: '', key: '' }),
  });
  const { port } = await server.listen({ host: '127.0.0.1', port: 0, tls: 'none' });
  const clients: RawClient[] = [];
  t.teardown(async () => {
    for (const client of clients) client.destroy();
    await server.close();
  });
  return async (mailbox) => {
    const client = await RawClient.connect(port);
    clients.push(client);
    await client.ok('LOGIN alice x');
    if (mailbox !== undefined) await client.ok(`SELECT ${mailbox}`);
    return client;
  };
}

function servers(): { a: FakeServer; b: FakeServer } {
  const both = { a: new FakeServer(), b: new FakeServer() };
  for (const server of Object.values(both)) {
    server.create('INBOX', 'inbox');
    server.create('Archive', 'archive');
    server.create('Drafts', 'drafts');
    server.create('Sent', 'sent');
    server.create('Trash', 'trash');
    server.create('Projects');
  }
  return both;
}

/** As it arrives at one account, behind that account's own trace fields. */
function delivered(account: string, bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`Received: by mx.${account}.example; Mon, 2 Sep 2024 10:00:00 +0000\r\n`), bytes]);
}

const reply = (to: string): Buffer =>
  Buffer.from(mail(`re ${to}`).toString().replace('Subject:', `References: <${to}@test.example>\r\nSubject:`));

async function ids(client: RawClient, mailbox: string, name: string): Promise<string[]> {
  await client.ok(`EXAMINE "${mailbox}"`);
  const lines = await client.ok(`UID FETCH 1:* (${name})`);
  return lines.flatMap((line) => new RegExp(`${name} \\(([^)]+)\\)`).exec(line)?.[1] ?? []);
}

t.test(
  'OBJECTID over the store: one mail, one EMAILID in every mailbox, over moves and a restart; THREADID across accounts',
  async (t) => {
    const { a, b } = servers();
    a.folder('INBOX').add(delivered('a', mail('common')));
    b.folder('INBOX').add(delivered('b', mail('common')));
    a.folder('INBOX').add(mail('alone'));
    b.folder('INBOX').add(reply('common'));
    const dir = await scratch(t);
    const world = await MailWorld.open(dir, { a, b });
    await world.start();
    await world.settle();
    const connect = await serve(t, world);
    const client = await connect();
    const inbox = await ids(client, 'INBOX', 'EMAILID');
    t.equal(inbox.length, 3);
    t.equal(new Set(inbox).size, 3);
    const [common] = inbox;
    t.equal((await ids(client, 'Accounts/a/INBOX', 'EMAILID'))[0], common);
    t.equal((await ids(client, 'Accounts/b/INBOX', 'EMAILID'))[0], common);
    const threads = await ids(client, 'INBOX', 'THREADID');
    await client.ok('EXAMINE INBOX');
    const thread = (await client.ok('UID FETCH 1:* (THREADID)')).filter((line) => line.includes(threads[0]!));
    t.equal(thread.length, 2, 'the reply at the other account');
    const uids = thread.map((line) => /UID (\d+)/.exec(line)![1]).join(' ');
    t.match((await client.ok(`UID SEARCH THREADID ${threads[0]}`))[0], `* SEARCH ${uids}`);
    t.match((await client.ok(`UID SEARCH EMAILID ${common}`))[0], '* SEARCH 1');
    t.match((await client.ok('UID SEARCH EMAILID Mffffffff-1 THREADID T1'))[0], /^\* SEARCH$/);

    await client.ok('SELECT INBOX');
    await client.ok('UID MOVE 1 Archive');
    await world.settle();
    t.same(await ids(client, 'Archive', 'EMAILID'), [common], 'moved here');
    t.same(await ids(client, 'Accounts/b/Archive', 'EMAILID'), [common]);
    const alone = a.folder('INBOX').messages.find(({ bytes }) => bytes.includes('alone'))!;
    a.moveElsewhere('INBOX', [alone.uid], 'Projects');
    await world.settle();
    const [moved] = await ids(client, 'Accounts/a/Projects', 'EMAILID');
    t.ok(inbox.includes(moved!), 'moved by another client of the server');
    const mailboxId = /MAILBOXID \(([^)]+)\)/.exec((await client.ok('STATUS Archive (MAILBOXID)'))[0]!)![1];
    client.destroy();
    await world.close();

    const again = await MailWorld.open(dir, { a, b });
    t.teardown(() => again.close());
    await again.start();
    await again.settle();
    const later = await (await serve(t, again))();
    t.same(await ids(later, 'Archive', 'EMAILID'), [common], 'after a restart');
    t.same(await ids(later, 'Archive', 'THREADID'), [threads[0]]);
    t.match((await later.ok('STATUS Archive (MAILBOXID)'))[0], `(MAILBOXID (${mailboxId}))`);
  },
);

t.test('mail of a database that is older than threads gets them', async (t) => {
  const { a, b } = servers();
  for (const subject of ['root', 'alone']) a.folder('INBOX').add(mail(subject));
  b.folder('INBOX').add(reply('root'));
  const world = await openWorld(t, { a, b });
  await world.settle();
  const client = await (await serve(t, world))();
  const before = await ids(client, 'INBOX', 'THREADID');
  t.equal(new Set(before).size, 2);
  await world.store.write(async (tx) => {
    await tx.run('UPDATE message SET thread_id = NULL');
    await tx.run('DELETE FROM thread');
  });
  t.same(await ids(client, 'INBOX', 'THREADID'), [], 'NIL');
  await assignThreads(world.store);
  t.same(await ids(client, 'INBOX', 'THREADID'), before);
});

t.test('SAVEDATE and PREVIEW over the store', async (t) => {
  const { a, b } = servers();
  a.folder('INBOX').add(mail('old', 'What it says.\r\n'), '', 1_000_000);
  const world = await openWorld(t, { a, b });
  await world.settle();
  const client = await (await serve(t, world))('INBOX');
  const today = new Date().toUTCString().slice(5, 16).replaceAll(' ', '-');
  const day = today.replace(/^0/, '');
  t.match((await client.ok('FETCH 1 SAVEDATE'))[0], new RegExp(`SAVEDATE " ?${day} `));
  t.match((await client.ok(`SEARCH SAVEDON ${day}`))[0], '* SEARCH 1');
  t.match((await client.ok('SEARCH SAVEDBEFORE 1-Jan-2001'))[0], /^\* SEARCH$/);
  t.equal((await client.ok('FETCH 1 PREVIEW (LAZY)'))[0], '* 1 FETCH (PREVIEW NIL)', 'only the server has it');
  t.equal((await client.ok('FETCH 1 PREVIEW'))[0], '* 1 FETCH (PREVIEW "What it says.")');
  let asked = 0;
  world.upstreams['a']!.step = (call, moment) => {
    if (!call.startsWith('fetch') || moment === 'after') return;
    asked += 1;
    throw new MergeboxError('connection', 'test: the server is down');
  };
  t.equal((await client.ok('FETCH 1 PREVIEW (LAZY)'))[0], '* 1 FETCH (PREVIEW "What it says.")', 'it is kept');
  for (let n = 0; n < 20; n += 1) a.folder('INBOX').add(mail(`more ${n}`));
  await world.settle();
  await client.ok('NOOP');
  const previews = await client.ok('FETCH 1:* PREVIEW');
  t.equal(previews.filter((line) => line.endsWith('(PREVIEW NIL)')).length, 20, 'what cannot be had is NIL');
  t.ok(asked >= 3 && asked < 60, `a server that is down is not asked for each of them: ${asked}`);
});

t.test(
  'REPLACE over the store: the server gets the new draft and loses the old one, also of the same content',
  async (t) => {
    const { a, b } = servers();
    const world = await openWorld(t, { a, b });
    await world.settle();
    const client = await (await serve(t, world))('Drafts');
    const appended = await client.literal('APPEND Drafts (\\Draft)', mail('draft', 'one\r\n').toString());
    t.ok(appended.includes('* 1 EXISTS'), 'told before the OK');
    const lines = await client.literal('REPLACE 1 Drafts (\\Draft)', mail('draft', 'two\r\n').toString());
    t.match(lines.at(-1), /^\. OK/);
    await world.settle();
    t.same(
      a.contents().filter((line) => line.startsWith('Drafts')),
      ['Drafts: draft [\\Draft]'],
    );
    t.match(a.folder('Drafts').messages[0]!.bytes.toString(), 'two');
    await client.ok('SELECT Sent');
    await client.literal('APPEND Sent', mail('sent').toString());
    await client.ok('NOOP');
    await world.settle();
    t.match((await client.literal('REPLACE 1 Sent', mail('sent').toString())).at(-1), /^\. OK/);
    await world.settle();
    t.same(
      (await world.entries('Sent')).map(({ subject }) => subject),
      ['sent'],
      'a mail that replaces its like is not lost',
    );
    t.equal(a.folder('Sent').messages.length, 1);
  },
);

t.test('QUOTA over the store: what the servers told last, by account', async (t) => {
  const { a, b } = servers();
  const world = await openWorld(t, { a, b });
  world.upstreams['a']!.quotas = [{ root: '', resource: 'STORAGE', used: 3, limit: 100 }];
  world.upstreams['b']!.quotas = [
    { root: 'User quota', resource: 'STORAGE', used: 5, limit: 200 },
    { root: 'User quota', resource: 'MESSAGE', used: 1, limit: 10 },
  ];
  await world.settle();
  const client = await (await serve(t, world))();
  t.same((await client.ok('GETQUOTAROOT INBOX')).slice(0, -1), [
    '* QUOTAROOT "INBOX" a "b/User quota"',
    '* QUOTA a (STORAGE 3 100)',
    '* QUOTA "b/User quota" (MESSAGE 1 10 STORAGE 5 200)',
  ]);
  t.same((await client.ok('GETQUOTAROOT Accounts/a/Projects')).slice(0, -1), [
    '* QUOTAROOT "Accounts/a/Projects" a',
    '* QUOTA a (STORAGE 3 100)',
  ]);
  world.upstreams['a']!.quotas = [];
  await world.settle();
  t.same((await client.ok('GETQUOTAROOT Accounts/a/INBOX'))[0], '* QUOTAROOT "Accounts/a/INBOX"');
});

t.test('ACL over the store follows what can be done with a mailbox', async (t) => {
  const { a, b } = servers();
  const world = await openWorld(t, { a, b }, { policies: { b: { authority: 'upstream' } } });
  await world.settle();
  const client = await (await serve(t, world))();
  const rights = async (name: string): Promise<string> => (await client.ok(`MYRIGHTS ${name}`))[0]!.split(' ').at(-1)!;
  t.equal(await rights('INBOX'), 'lrswiktea');
  t.equal(await rights('Accounts/a/INBOX'), 'lrswiktea');
  t.equal(await rights('Accounts/a/Projects'), 'lrswikxtea');
  t.equal(await rights('Accounts/b/Projects'), 'lrswa');
  t.equal(await rights('Accounts'), 'lka', 'a name that only has mailboxes below it');
  await client.ok('CREATE New (USE (\\Junk))');
  t.match((await client.lines('CREATE Other (USE (\\Sent))'))[0], /^\. NO \[USEATTR\]/, 'the account has one');
  for (const { name } of await world.mail.list()) {
    for (const command of ['MYRIGHTS', 'GETACL', 'GETQUOTAROOT']) await client.ok(`${command} "${name}"`);
  }
});

t.test('METADATA over the store outlives RENAME and is gone with DELETE', async (t) => {
  const { a, b } = servers();
  const world = await openWorld(t, { a, b });
  await world.settle();
  const connect = await serve(t, world);
  const client = await connect();
  const other = await connect();
  await other.ok('NOTIFY SET (personal (MailboxMetadataChange))');
  await client.ok('SETMETADATA Accounts/a/Projects (/private/color "red")');
  t.equal(await other.expect(/\r\n/), '* METADATA "Accounts/a/Projects" /private/color\r\n');
  await client.ok('RENAME Accounts/a/Projects Accounts/a/Plans');
  t.match((await client.ok('GETMETADATA Accounts/a/Plans /private/color'))[0], 'red');
  await world.settle();
  await client.ok('DELETE Accounts/a/Plans');
  await client.ok('CREATE Accounts/a/Plans');
  t.match((await client.ok('GETMETADATA Accounts/a/Plans /private/color'))[0], 'NIL');
  await client.ok('SETMETADATA INBOX (/private/empty "")');
  t.match((await client.ok('GETMETADATA INBOX /private/empty'))[0], '(/private/empty "")');
  t.match((await client.lines(`SETMETADATA "" (/private/x {65536+}\r\n${'x'.repeat(65_536)})`))[0], /^\. OK/);
  t.match(
    (await client.lines(`SETMETADATA "" (/private/x {65537+}\r\n${'x'.repeat(65_537)})`))[0],
    /^\. BAD /,
    'a literal may have 64 KiB',
  );
  for (let n = 1; n < 100; n += 1) await client.ok(`SETMETADATA INBOX (/private/n${n} "x")`);
  t.match((await client.lines('SETMETADATA INBOX (/private/more "x")'))[0], /^\. NO \[METADATA TOOMANY\]/);
  await client.ok('SETMETADATA INBOX (/private/n1 NIL /private/more "x")');
});

t.test('NOTIFY over the store tells what a server brings, in every mailbox that shows it', async (t) => {
  const { a, b } = servers();
  const world = await openWorld(t, { a, b });
  await world.settle();
  const connect = await serve(t, world);
  const client = await connect('INBOX');
  await client.ok(
    'NOTIFY SET (selected (MessageNew (UID) MessageExpunge FlagChange)) (personal (MessageNew MessageExpunge FlagChange MailboxName))',
  );
  a.folder('INBOX').add(mail('new'));
  await world.settle();
  const told = (await client.expect(/[\s\S]*FETCH \(UID 1\)\r\n/)) + (await client.raw('NOOP'));
  t.match(told, '* 1 EXISTS');
  t.match(told, /\* STATUS "Accounts\/a\/INBOX" \(MESSAGES 1 UIDNEXT 2 /);
  a.folder('INBOX').flag([1], ['\\Flagged']);
  await world.settle();
  t.match(await client.expect(/\\Flagged[^\r]*\r\n/), '* 1 FETCH (UID 1 FLAGS (\\Flagged $account_a');
  a.create('New');
  await world.settle();
  await client.expect(/\* LIST \(\\Subscribed\) "\/" "Accounts\/a\/New"\r\n/);
});

t.test('MULTISEARCH over the store looks through merged mailboxes and mirrors', async (t) => {
  const { a, b } = servers();
  a.folder('INBOX').add(mail('needle one'));
  b.folder('Projects').add(mail('needle two'));
  b.folder('Projects').add(mail('hay'));
  const world = await openWorld(t, { a, b });
  await world.settle();
  const client = await (await serve(t, world))();
  const lines = await client.ok('ESEARCH IN (personal) RETURN (ALL COUNT) SUBJECT needle');
  t.same(
    lines
      .slice(0, -1)
      .map((line) => line.replace(/^\* ESEARCH \(TAG "[^"]*" MAILBOX /, '').replace(/ UIDVALIDITY \d+\)/, '')),
    ['"INBOX" UID ALL 1 COUNT 1', '"Accounts/a/INBOX" UID ALL 1 COUNT 1', '"Accounts/b/Projects" UID ALL 1 COUNT 1'],
  );
});
