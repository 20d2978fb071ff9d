import t from 'tap';
import { mail, type RawClient, setup } from './imap-support.js';

t.test('APPEND', async (t) => {
  const { login, alice } = await setup(t);
  const client = await login('INBOX');
  const { uidValidity } = alice.mailbox('INBOX');
  const bytes = mail('appended').toString('latin1');
  t.same(await client.literal('APPEND INBOX (\\Seen Kw \\Recent) " 2-Jan-2024 03:04:05 -0100"', bytes), [
    '* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft Kw)',
    '* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft Kw \\*)] Flags permitted',
    '* 1 EXISTS',
    '* 1 RECENT',
    `. OK [APPENDUID ${uidValidity} 1] APPEND completed`,
  ]);
  t.same(await client.lines('FETCH 1 (FLAGS INTERNALDATE RFC822.SIZE)'), [
    `* 1 FETCH (FLAGS (\\Seen Kw \\Recent) INTERNALDATE " 2-Jan-2024 04:04:05 +0000" RFC822.SIZE ${bytes.length})`,
    '. OK FETCH completed',
  ]);
  t.ok((await client.raw('FETCH 1 BODY.PEEK[]')).includes(`{${bytes.length}}\r\n${bytes})`));
  t.match(await client.literal('APPEND Nowhere', bytes), [/^\. NO \[TRYCREATE\] /]);
  t.match(await client.literal('APPEND INBOX', 'a\0b'), [/^\. NO \[CANNOT\] A message holds NUL/]);
  t.match(await client.literal('APPEND INBOX (\\Foo)', bytes), [/^\. BAD APPEND: Unknown system flag/]);
  t.match(await client.literal('APPEND INBOX "yesterday"', bytes), [/^\. BAD /]);
  t.match(await client.lines('APPEND INBOX "x"'), [/^\. BAD /]);
  t.match(await client.lines('APPEND INBOX {0+}\r\n'), [/^\. NO /]);
  t.match(await client.lines(`APPEND Sent {${bytes.length}+}\r\n${bytes}`), [/^\. OK \[APPENDUID \d+ 1\]/], 'LITERAL+');
  t.match((await client.lines('STATUS INBOX (MESSAGES)'))[0], '(MESSAGES 1)');
});

t.test('APPEND at the cap is taken, one octet more is TOOBIG before it is sent', async (t) => {
  const { login } = await setup(t, { limits: { messageBytes: 200_000 } });
  const client = await login();
  t.match((await client.lines('CAPABILITY'))[0], /APPENDLIMIT=200000/);
  t.match(await client.literal('APPEND INBOX', 'x'.repeat(200_000)), [/^\. OK /]);
  t.match(await client.lines('APPEND INBOX {200001}'), [/^\. NO \[TOOBIG\] /], 'no continuation');
  t.match(await client.lines(`APPEND INBOX {200001+}\r\n${'x'.repeat(200_001)}`), [/^\. NO \[TOOBIG\] /], 'swallowed');
  t.match((await client.lines('STATUS INBOX (MESSAGES)'))[0], '(MESSAGES 1)', 'the session goes on');
  client.send('z APPEND INBOX {400001+}\r\n');
  t.match(await client.closed(), /^z NO \[TOOBIG\] [^\r\n]*\r\n\* BYE Literal too large\r\n$/);
});

t.test('MULTIAPPEND is all or none', async (t) => {
  const { login, alice } = await setup(t);
  const client = await login('Drafts');
  const { uidValidity } = alice.mailbox('Drafts');
  const one = mail('one').toString('latin1');
  const two = mail('two').toString('latin1');
  const both = `APPEND Drafts (\\Draft) {${one.length}+}\r\n${one} (\\Seen) {${two.length}+}\r\n${two}`;
  t.same(await client.lines(both), [
    '* 2 EXISTS',
    '* 2 RECENT',
    `. OK [APPENDUID ${uidValidity} 1:2] APPEND completed`,
  ]);
  t.match(await client.lines('FETCH 1:2 FLAGS'), ['* 1 FETCH (FLAGS (\\Draft', '* 2 FETCH (FLAGS (\\Seen']);
  t.match(await client.lines(`APPEND Drafts {${one.length}+}\r\n${one} {3+}\r\na\0b`), [/^\. NO /]);
  t.match((await client.lines('STATUS Drafts (MESSAGES)'))[0], '(MESSAGES 2)');
});

t.test('COPY', async (t) => {
  const { login, alice } = await setup(t);
  for (const subject of ['a', 'b', 'c']) alice.deliver(mail(subject), 'INBOX', ['\\Seen', 'Kw'], 1_700_000_000);
  const client = await login('INBOX');
  const sent = await login('Sent');
  const { uidValidity } = alice.mailbox('Sent');
  t.same(await client.lines('COPY 1,3 Sent'), [`. OK [COPYUID ${uidValidity} 1,3 1:2] COPY completed`]);
  t.same(await sent.lines('NOOP'), [
    '* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft Kw)',
    '* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft Kw \\*)] Flags permitted',
    '* 2 EXISTS',
    '* 2 RECENT',
    '. OK NOOP completed',
  ]);
  t.match(await sent.lines('FETCH 2 (FLAGS INTERNALDATE ENVELOPE)'), [
    /^\* 2 FETCH \(FLAGS \(\\Seen Kw \\Recent\) INTERNALDATE "14-Nov-2023 22:13:20 \+0000" ENVELOPE \("[^"]*" "c" /,
  ]);
  t.same(await client.lines('UID COPY 2 Sent'), [`. OK [COPYUID ${uidValidity} 2 3] COPY completed`]);
  t.match((await client.lines('COPY 1 Nowhere'))[0], /^\. NO \[TRYCREATE\] /);
  t.match((await client.lines('COPY 1:9 Sent'))[0], /^\. BAD /);
  t.match((await client.lines('COPY 1'))[0], /^\. BAD /);
});

t.test('MOVE', async (t) => {
  const { login, alice } = await setup(t);
  for (const subject of ['a', 'b', 'c', 'd']) alice.deliver(mail(subject));
  const client = await login('INBOX');
  const other = await login('INBOX');
  const { uidValidity } = alice.mailbox('Trash');
  t.same(await client.lines('MOVE 2:3 Trash'), [
    `* OK [COPYUID ${uidValidity} 2:3 1:2] Moved`,
    '* 3 EXPUNGE',
    '* 2 EXPUNGE',
    '. OK MOVE completed',
  ]);
  t.same(
    await other.lines('UID MOVE 2:4 Trash'),
    [`* OK [COPYUID ${uidValidity} 4 3] Moved`, '* 4 EXPUNGE', '* 3 EXPUNGE', '* 2 EXPUNGE', '. OK MOVE completed'],
    'what another client took is left out',
  );
  t.match((await client.lines('MOVE 1 Nowhere')).at(-1), /^\. NO \[TRYCREATE\] /);
  t.match((await client.lines('SEARCH ALL'))[0], '* SEARCH 1');
});

t.test('EXPUNGE and UID EXPUNGE', async (t) => {
  const { login, alice } = await setup(t);
  for (const subject of ['a', 'b', 'c']) alice.deliver(mail(subject), 'INBOX', ['\\Deleted']);
  alice.deliver(mail('d'));
  const client = await login('INBOX');
  t.same(await client.lines('UID EXPUNGE 2,4'), ['* 2 EXPUNGE', '. OK EXPUNGE completed'], 'only \\Deleted ones');
  t.same(await client.lines('EXPUNGE'), ['* 2 EXPUNGE', '* 1 EXPUNGE', '. OK EXPUNGE completed']);
  t.same(await client.lines('EXPUNGE'), ['. OK EXPUNGE completed']);
  t.match((await client.lines('EXPUNGE 1'))[0], /^\. BAD /);
  t.match((await client.lines('UID EXPUNGE'))[0], /^\. BAD /);
});

t.test('messages on their way in have room together, of which a user gets half', async (t) => {
  const { login, connect } = await setup(t, { limits: { messageBytes: 100, messagesInMemory: 4 } });
  const [first, second, third] = [await login(), await login(), await login()];
  const begin = async (client: RawClient): Promise<string> => {
    client.send('a APPEND INBOX {100}\r\n');
    return client.expect(/\r\n/);
  };
  t.match(await begin(first), /^\+ /);
  t.match(await begin(second), /^\+ /, 'at the cap');
  t.match(await begin(third), /^a NO \[LIMIT\] /, 'one over it');
  const bob = await connect();
  await bob.ok('LOGIN bob hidden');
  t.match(await begin(bob), /^\+ /, 'another user is not affected');
  first.send(`${'x'.repeat(100)}\r\n`);
  t.match(await first.expect(/\r\n/), /^a OK /);
  t.match(await begin(third), /^\+ /, 'when one is stored');
  second.destroy();
  let answer = await begin(first);
  // The server hears of it in its own time.
  while (answer.startsWith('a NO [LIMIT]')) answer = await begin(first);
  t.match(answer, /^\+ /, 'when one is given up');
});

t.test('CATENATE puts a message together from texts and parts of others', async (t) => {
  const { login, alice } = await setup(t, { limits: { messageBytes: 600 } });
  alice.deliver(mail('source', 'its text\r\nin two lines', ['Content-Type: text/plain']));
  const client = await login('INBOX');
  const { uidValidity } = alice.mailbox('INBOX');
  const put = async (parts: string, mailbox = 'Drafts'): Promise<string> =>
    (await client.lines(`APPEND ${mailbox} (\\Draft) CATENATE (${parts})`)).at(-1)!;
  const head = 'TEXT {16+}\r\nSubject: new\r\n\r\n';
  t.match(
    await put(`${head} URL "/INBOX;UIDVALIDITY=${uidValidity}/;UID=1/;SECTION=TEXT" TEXT {5+}\r\nend\r\n`),
    /^\. OK \[APPENDUID/,
  );
  t.match(await put(`${head} URL ";UID=1/;SECTION=1;PARTIAL=4.4"`), /^\. OK/, 'of the selected mailbox');
  t.match(await put('URL "/inbox/;UID=1"'), /^\. OK/, 'the whole');
  await client.ok('SELECT Drafts');
  t.match(
    await client.raw('FETCH 1 (FLAGS BODY.PEEK[])'),
    /\\Draft[\s\S]*Subject: new\r\n\r\nits text\r\nin two lines\r\nend\r\n\)/,
  );
  t.match(await client.raw('FETCH 2 BODY.PEEK[TEXT]'), /\{4\}\r\ntext\)/);
  t.equal(alice.mailbox('Drafts').message(3)!.bytes.toString(), alice.mailbox('INBOX').message(1)!.bytes.toString());
  for (const url of [
    '/INBOX;UIDVALIDITY=1/;UID=1',
    '/INBOX/;UID=9',
    '/INBOX/;UID=1/;SECTION=2',
    '/INBOX/;UID=1/;SECTION=X',
    '/Nowhere/;UID=1',
    'imap://other.example/INBOX/;UID=1',
    '/INBOX/;UID=1%',
    '/IN%E0/;UID=1',
    'x',
  ]) {
    t.match(await put(`${head} URL "${url}"`), `. NO [BADURL "${url}"]`, url);
  }
  const { length } = alice.mailbox('INBOX').message(1)!.bytes;
  t.match(
    await put(`URL "/INBOX/;UID=1" TEXT {${600 - length}+}\r\n${'x'.repeat(600 - length)}`),
    /^\. OK/,
    'at the cap',
  );
  t.match(
    await put(`TEXT {${601 - length}+}\r\n${'x'.repeat(601 - length)} URL "/INBOX/;UID=1"`),
    /^\. NO \[TOOBIG\]/,
    'one over',
  );
  t.match(await put('URL "/INBOX/;UID=1"', 'Nowhere'), /^\. NO \[TRYCREATE\]/);
  for (const bad of ['', 'TEXT x', 'URL', 'FILE x']) t.match(await put(bad), /^\. BAD/, bad);
});
