import { spawn } from 'node:child_process';
import { once } from 'node:events';
import t from 'tap';
import type { Backend } from '../../src/imap/backend.js';
import { MAX_KEYWORDS } from '../../src/imap/selected.js';
import { Listing } from '../../src/mail/listing.js';
import { MAX_MAILBOXES, MAX_SUBSCRIPTIONS } from '../../src/mailbox/limits.js';
import { mail, setup } from './imap-support.js';
import { FakeServer } from './support/fake-server.js';
import { openWorld } from './support/mail-world.js';

t.test(`a mailbox takes ${MAX_KEYWORDS} keywords, not one more; known ones can still be set`, async (t) => {
  const { login, alice } = await setup(t);
  for (let n = 0; n < 3; n += 1) alice.deliver(mail(`mail ${n}`));
  const inbox = alice.mailbox('INBOX');
  const names = Array.from({ length: MAX_KEYWORDS - 1 }, (_, n) => `k${n}`);
  inbox.store([1], 'add', names);
  const client = await login('INBOX');
  t.match((await client.ok('UID STORE 2 +FLAGS (last)')).join(), 'last');
  t.match((await client.lines('UID STORE 2 +FLAGS (more)')).at(-1), /^\. NO \[LIMIT\]/);
  t.match((await client.lines('UID STORE 2 FLAGS (\\Seen more)')).at(-1), /^\. NO \[LIMIT\]/);
  await client.ok('UID STORE 2 FLAGS (\\Seen K7 $account_x)');
  await client.ok('UID STORE 2 -FLAGS (more K7)');
  const permanent = (await client.ok('SELECT INBOX')).find((line) => line.includes('PERMANENTFLAGS'));
  t.notMatch(permanent, '\\*', 'no new ones are offered');
});

t.test('Listing drops the flag texts that no entry has any more', async (t) => {
  const listing = new Listing();
  for (let n = 1; n <= 3; n += 1) {
    listing.append({ uid: n, row: n, message: n, flags: `k${n}`, modSeq: n, size: 1, internalDate: 1 });
  }
  for (let n = 0; n < 100_000; n += 1) listing.setFlags(n % 3, `new${n}`, 10 + n);
  t.ok(listing.flagTexts.length <= 1_024, String(listing.flagTexts.length));
  t.same(
    [0, 1, 2].map((at) => listing.flags(at)),
    ['new99999', 'new99997', 'new99998'],
  );
  listing.append({ uid: 9, row: 9, message: 9, flags: 'new99998', modSeq: 1, size: 1, internalDate: 1 });
  t.equal(listing.flags(3), 'new99998');
  const [ids, texts] = [listing.flagIds, listing.flagTexts];
  for (let n = 0; n < 2_000; n += 1) listing.setFlags(1, `again${n}`, 1);
  t.equal(texts[ids[0]!], 'new99999', 'who kept both arrays still reads them');
  for (let n = 4; n <= 3_000; n += 1) {
    listing.append({ uid: n + 9, row: n, message: n, flags: `own${n}`, modSeq: n, size: 1, internalDate: 1 });
  }
  t.equal(listing.flags(2_000), `own${2_000}`, 'as many as are in use are kept');
});

t.test('SEARCH KEYWORD goes on with the right flags when the texts are renewed meanwhile', async (t) => {
  const { login, alice } = await setup(t);
  for (let n = 0; n < 200; n += 1) alice.deliver(mail(`mail ${n}`), 'INBOX', n % 2 === 0 ? ['even'] : ['odd']);
  const inbox = alice.mailbox('INBOX');
  const client = await login('INBOX');
  client.send('s UID SEARCH KEYWORD even TEXT mail\r\n');
  for (let n = 0; n < 3_000; n += 1) inbox.store([200], 'replace', [`n${n}`]);
  const found = (await client.tagged('s')).split('\r\n')[0]!.split(' ').slice(2);
  t.same(
    found,
    Array.from({ length: 100 }, (_, n) => String(2 * n + 1)),
  );
});

t.test('CREATE and SUBSCRIBE stop at their limits', async (t) => {
  const server = new FakeServer();
  server.create('INBOX', 'inbox');
  const world = await openWorld(t, { a: server });
  await world.settle();
  const count = async (table: string): Promise<number> =>
    (await world.store.read((tx) => tx.get<{ n: number }>(`SELECT COUNT(*) AS n FROM ${table}`)))!.n;
  const fill = async (table: string, columns: string, values: (n: number) => string, most: number): Promise<void> => {
    const missing = most - 1 - (await count(table));
    const rows = Array.from({ length: missing }, (_, n) => `(${values(n)})`).join(',');
    await world.store.write((tx) => tx.run(`INSERT INTO ${table} (${columns}) VALUES ${rows}`));
  };
  await fill('subscription', 'name', (n) => `'s${n}'`, MAX_SUBSCRIPTIONS);
  await world.mail.subscribe('the last', true);
  await t.rejects(world.mail.subscribe('one more', true), { code: 'limit' });
  await world.mail.subscribe('the last', true);
  await world.mail.subscribe('s0', false);
  await world.mail.subscribe('one more', true);
  await fill(
    'mailbox',
    'name, uid_validity, uid_next, mod_seq, recent_uid',
    (n) => `'m${n}', ${n + 1}, 1, 1, 1`,
    MAX_MAILBOXES,
  );
  await world.mail.create('Last');
  await t.rejects(world.mail.create('More'), { code: 'limit' });
  await world.store.write((tx) =>
    tx.run("DELETE FROM mailbox WHERE name LIKE 'm%' AND folder_id IS NULL AND role IS NULL"),
  );
});

t.test('what is sent ahead of a running command is left with the client beyond readAheadBytes', async (t) => {
  let open = (): void => undefined;
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const wrap = (backend: Backend): Backend => ({
    login: async (user, password, peer) => {
      if (user === 'bob') await gate;
      return backend.login(user, password, peer);
    },
  });
  const { connect } = await setup(t, { wrap, limits: { loginMs: 60_000 } });
  const client = await connect();
  client.send('a LOGIN bob hidden\r\n');
  const noops = 'n NOOP\r\n'.repeat(4_000_000);
  client.send(noops);
  let last = -1;
  while (client.socket.bytesWritten - client.socket.writableLength !== last) {
    last = client.socket.bytesWritten - client.socket.writableLength;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  t.ok(client.socket.writableLength > 0, 'the server does not read all of it into memory');
  client.destroy();
  open();
});

t.test('a log that nobody reads stops nothing, and what was logged is written at the end', async (t) => {
  const log = new URL('../../src/util/log.js', import.meta.url).href;
  const script = `import { createLog } from '${log}';
    const log = createLog('info');
    log.info('ready');
    for (let n = 0; n < 40; n += 1) { log.info('x'.repeat(100_000)); await new Promise((r) => setImmediate(r)); }
    log.info('last');
    process.stderr.write('alive');`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'pipe'] });
  let err = '';
  child.stderr.on('data', (chunk) => {
    err += chunk;
  });
  await once(child.stderr, 'data');
  t.equal(err, 'alive', 'four megabytes later, with nothing read');
  let out = '';
  for await (const chunk of child.stdout) out += chunk;
  const lines = out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { msg: string });
  t.equal(lines[0]!.msg, 'ready');
  t.equal(lines.length, 42);
  t.equal(lines.at(-1)!.msg, 'last');
});

t.test('MESSAGELIMIT: a command works on so many of the newest messages, or on none', async (t) => {
  const { login, alice } = await setup(t, { limits: { commandMessages: 3 } });
  for (let n = 1; n <= 5; n += 1) alice.deliver(mail(`mail ${n}`));
  const client = await login('INBOX');
  t.match((await client.ok('CAPABILITY'))[0], ' MESSAGELIMIT=3 ');
  const uids = async (command: string): Promise<string> =>
    (await client.ok(command))
      .slice(0, -1)
      .map((line) => /UID (\d+)/.exec(line)?.[1] ?? line)
      .join();
  const end = async (command: string): Promise<string> => (await client.lines(command)).at(-1)!;
  t.equal(await uids('UID FETCH 1:3 (FLAGS)'), '1,2,3', 'at the limit');
  t.equal(await uids('UID FETCH 1:4 (FLAGS)'), '2,3,4', 'one over');
  t.match(await end('FETCH 1:* (FLAGS)'), '. OK [MESSAGELIMIT 3 3] ');
  t.match(await end('FETCH 1,3:4 (FLAGS)'), /^\. OK FETCH/);
  t.match(await end('UID STORE 1:* +FLAGS (\\Flagged)'), '. OK [MESSAGELIMIT 3 3] ');
  t.same(await client.ok('SEARCH FLAGGED'), ['* SEARCH 3 4 5', '. OK [MESSAGELIMIT 3 3] SEARCH completed']);
  t.same(await client.ok('SEARCH ALL'), ['* SEARCH 3 4 5', '. OK [MESSAGELIMIT 3 3] SEARCH completed']);
  t.same(await client.ok('UID SEARCH UIDBEFORE 3 SUBJECT mail'), ['* SEARCH 1 2', '. OK SEARCH completed']);
  t.same(await client.ok('UID SEARCH 1:2 NOT FLAGGED'), ['* SEARCH 1 2', '. OK SEARCH completed']);
  t.same(await client.ok('UID SEARCH UIDAFTER 4'), ['* SEARCH 5', '. OK SEARCH completed']);
  t.same((await client.ok('UID SEARCH UIDAFTER 4294967295'))[0], '* SEARCH');
  t.same((await client.ok('UID SEARCH UIDBEFORE 1'))[0], '* SEARCH');
  t.match(await end('COPY 1:4 Archive'), /^\. NO \[MESSAGELIMIT 3\]/);
  t.equal(alice.mailbox('Archive').listing.length, 0);
  t.match(await end('SORT (SIZE) UTF-8 ALL'), /^\. NO \[MESSAGELIMIT 3\]/);
  t.match(await end('THREAD REFERENCES UTF-8 ALL'), /^\. NO \[MESSAGELIMIT 3\]/);
  t.match(await end('SORT (SIZE) UTF-8 1:3'), /^\. OK/);
  t.match(await end('ESEARCH IN (mailboxes INBOX) ALL'), '. OK [MESSAGELIMIT 3 3] ');
  await client.ok('UID STORE 1:3 +FLAGS (\\Deleted)');
  await client.ok('UID STORE 4:5 +FLAGS (\\Deleted)');
  t.match((await client.ok('UID EXPUNGE 1:5')).join(), 'MESSAGELIMIT 3 3');
  t.equal(alice.mailbox('INBOX').listing.length, 2);
  for (let n = 1; n <= 2; n += 1) alice.deliver(mail(`more ${n}`));
  await client.ok('NOOP');
  const moved = await client.ok('MOVE 1:4 Archive');
  t.match(moved.join('\n'), /MESSAGELIMIT 3 2/);
  t.equal(alice.mailbox('Archive').listing.length, 3);
});
