import t from 'tap';
import { mail, setup } from './imap-support.js';

t.test('SELECT and EXAMINE tell all there is to know of a mailbox', async (t) => {
  const { login, alice } = await setup(t);
  alice.deliver(mail('one'), 'INBOX', ['\\Seen', '$account_work', 'Label']);
  alice.deliver(mail('two'));
  const client = await login();
  const { uidValidity } = alice.mailbox('INBOX');
  t.same(await client.lines('SELECT inbox'), [
    '* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft Label)',
    '* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft Label \\*)] Flags permitted',
    '* 2 EXISTS',
    '* 2 RECENT',
    '* OK [UNSEEN 2] First unseen',
    `* OK [UIDVALIDITY ${uidValidity}] UIDs valid`,
    '* OK [UIDNEXT 3] Predicted next UID',
    '* OK [HIGHESTMODSEQ 3] Highest',
    `* OK [MAILBOXID (F${uidValidity})] Mailbox id`,
    '. OK [READ-WRITE] SELECT completed',
  ]);
  t.same(await client.lines('EXAMINE INBOX'), [
    '* OK [CLOSED] Previous mailbox closed',
    '* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft Label)',
    '* OK [PERMANENTFLAGS ()] Flags permitted',
    '* 2 EXISTS',
    '* 0 RECENT',
    '* OK [UNSEEN 2] First unseen',
    `* OK [UIDVALIDITY ${uidValidity}] UIDs valid`,
    '* OK [UIDNEXT 3] Predicted next UID',
    '* OK [HIGHESTMODSEQ 3] Highest',
    `* OK [MAILBOXID (F${uidValidity})] Mailbox id`,
    '. OK [READ-ONLY] EXAMINE completed',
  ]);
  t.match((await client.lines('SELECT nothing')).at(-1), /^\. NO \[NONEXISTENT\] /);
  t.match(
    (await client.lines('FETCH 1 FLAGS'))[0],
    /^\. BAD FETCH is not allowed/,
    'a failed SELECT leaves none selected',
  );
  t.match((await client.lines('SELECT INBOX (QRESYNC (1 1))'))[0], /^\. BAD /, 'not enabled');
});

t.test('account keywords are shown and searched, but not settable', async (t) => {
  const { login, alice } = await setup(t);
  const user = alice.mailbox('INBOX');
  alice.deliver(mail('one'));
  user.listing.setFlags(0, '$account_work', 5);
  const client = await login();
  const [flags, permanent] = await client.lines('SELECT INBOX');
  t.match(flags, '$account_work');
  t.notMatch(permanent, '$account_work');
  t.same(await client.lines('STORE 1 +FLAGS ($account_isp \\Seen)'), [
    '* 1 FETCH (FLAGS (\\Seen $account_work \\Recent))',
    '. OK STORE completed',
  ]);
  t.match((await client.lines('STORE 1 FLAGS (kw)'))[0], '* 1 FETCH (FLAGS ($account_work kw \\Recent))');
});

t.test('EXAMINE allows no change', async (t) => {
  const { login, alice } = await setup(t);
  alice.deliver(mail('one'), 'INBOX', ['\\Deleted']);
  const client = await login();
  await client.ok('EXAMINE INBOX');
  for (const command of ['STORE 1 +FLAGS \\Seen', 'EXPUNGE', 'UID EXPUNGE 1', 'MOVE 1 Trash']) {
    t.match((await client.lines(command))[0], /^\. NO \[READ-ONLY\] /, command);
  }
  await client.ok('FETCH 1 BODY[]');
  t.same((await client.lines('FETCH 1 FLAGS'))[0], '* 1 FETCH (FLAGS (\\Deleted \\Recent))', 'not even \\Seen');
  await client.ok('COPY 1 Sent');
  await client.ok('CLOSE');
  t.match((await client.lines('STATUS INBOX (MESSAGES)'))[0], '(MESSAGES 1)', 'CLOSE removed nothing');
});

t.test('\\Recent goes to the first session alone, and to arrivals it saw', async (t) => {
  const { login, alice } = await setup(t);
  alice.deliver(mail('one'));
  const peek = await login();
  t.ok((await peek.ok('EXAMINE INBOX')).includes('* 1 RECENT'));
  const first = await login();
  t.ok((await first.ok('SELECT INBOX')).includes('* 1 RECENT'));
  const second = await login();
  t.ok((await second.ok('SELECT INBOX')).includes('* 0 RECENT'));
  alice.deliver(mail('two'));
  t.same(await first.lines('NOOP'), ['* 2 EXISTS', '* 2 RECENT', '. OK NOOP completed']);
  t.same(await first.lines('SEARCH RECENT'), ['* SEARCH 1 2', '. OK SEARCH completed']);
  t.same(await first.lines('SEARCH OLD'), ['* SEARCH', '. OK SEARCH completed']);
  t.same(await first.lines('SEARCH NEW'), ['* SEARCH 1 2', '. OK SEARCH completed']);
  t.ok((await (await login()).ok('SELECT INBOX')).includes('* 0 RECENT'));
});

t.test('UNSELECT removes nothing, CLOSE removes in silence', async (t) => {
  const { login, alice } = await setup(t);
  alice.deliver(mail('one'), 'INBOX', ['\\Deleted']);
  const client = await login('INBOX');
  t.same(await client.lines('UNSELECT'), ['. OK UNSELECT completed']);
  t.match((await client.lines('STATUS INBOX (MESSAGES)'))[0], '(MESSAGES 1)');
  await client.ok('SELECT INBOX');
  t.same(await client.lines('CHECK'), ['. OK CHECK completed']);
  t.same(await client.lines('CLOSE'), ['. OK CLOSE completed']);
  t.match((await client.lines('STATUS INBOX (MESSAGES)'))[0], '(MESSAGES 0)');
  t.match((await client.lines('CLOSE'))[0], /^\. BAD /);
});

t.test('EXPUNGE by one client reaches another only where RFC 9051 §7.5.1 allows', async (t) => {
  const { login, alice } = await setup(t);
  for (const subject of ['a', 'b', 'c', 'd', 'e']) alice.deliver(mail(subject));
  const one = await login('INBOX');
  const two = await login('INBOX');
  await one.ok('STORE 2,4 +FLAGS (\\Deleted)');
  t.same(await one.lines('EXPUNGE'), ['* 4 EXPUNGE', '* 2 EXPUNGE', '. OK EXPUNGE completed']);
  alice.deliver(mail('f'));
  t.same(
    await two.lines('FETCH 5 UID'),
    ['* 5 FETCH (UID 5)', '* 6 EXISTS', '* 1 RECENT', '. OK FETCH completed'],
    'numbers stay while FETCH runs; arrivals are told',
  );
  t.same(
    await two.lines('FETCH 1:* UID'),
    [
      '* 1 FETCH (UID 1)',
      '* 3 FETCH (UID 3)',
      '* 5 FETCH (UID 5)',
      '* 6 FETCH (UID 6)',
      '. NO [EXPUNGEISSUED] Some of the messages are expunged',
    ],
    'what is gone is left out',
  );
  t.same(await two.lines('STORE 1,2 +FLAGS (\\Seen)'), [
    '* 1 FETCH (FLAGS (\\Seen))',
    '. NO [EXPUNGEISSUED] Some of the messages are expunged',
  ]);
  t.same(await two.lines('SEARCH ALL'), ['* SEARCH 1 3 5 6', '. OK SEARCH completed']);
  t.same(await two.lines('UID SEARCH 3:5'), ['* SEARCH 3 5', '* 4 EXPUNGE', '* 2 EXPUNGE', '. OK SEARCH completed']);
  t.same(await two.lines('FETCH 1:* UID'), [
    '* 1 FETCH (UID 1)',
    '* 2 FETCH (UID 3)',
    '* 3 FETCH (UID 5)',
    '* 4 FETCH (UID 6)',
    '. OK FETCH completed',
  ]);
  t.same(
    await one.lines('UID FETCH 6 (FLAGS)'),
    ['* 4 EXISTS', '* 4 RECENT', '* 1 FETCH (UID 1 FLAGS (\\Seen \\Recent))', '. OK FETCH completed'],
    'UIDs the session was not told of name nothing',
  );
});

t.test('a UID that is gone is no error in UID commands', async (t) => {
  const { login, alice } = await setup(t);
  for (const subject of ['a', 'b']) alice.deliver(mail(subject));
  const one = await login('INBOX');
  const two = await login('INBOX');
  await one.ok('UID STORE 1 +FLAGS.SILENT (\\Deleted)');
  await one.ok('UID EXPUNGE 1');
  t.same(await two.lines('UID FETCH 1:2 (FLAGS)'), [
    '* 2 FETCH (UID 2 FLAGS ())',
    '* 1 EXPUNGE',
    '. OK FETCH completed',
  ]);
  t.same(await two.lines('UID STORE 1,77 +FLAGS (\\Seen)'), ['. OK STORE completed']);
  t.same(await two.lines('UID COPY 1 Sent'), ['. OK Nothing to copy']);
  t.same(await two.lines('UID FETCH 4294967295 (FLAGS)'), ['. OK FETCH completed']);
  t.same(
    await two.lines('UID FETCH 4294967295:* (UID)'),
    ['* 1 FETCH (UID 2)', '. OK FETCH completed'],
    '* is the last one',
  );
});

t.test('sequence numbers above EXISTS are BAD, 1:* on an empty mailbox is not', async (t) => {
  const { login, alice } = await setup(t);
  const client = await login('INBOX');
  t.same(await client.lines('FETCH 1:* (FLAGS)'), ['. OK FETCH completed']);
  t.same(await client.lines('UID FETCH 1:* (FLAGS)'), ['. OK FETCH completed']);
  t.same(await client.lines('UID SEARCH *:*'), ['* SEARCH', '. OK SEARCH completed'], 'as K-9 asks');
  t.match((await client.lines('FETCH 1 (FLAGS)'))[0], /^\. BAD /);
  alice.deliver(mail('a'));
  await client.ok('NOOP');
  t.match((await client.lines('FETCH 1:2 (FLAGS)'))[0], /^\. BAD FETCH: There are 1 messages/);
  t.match((await client.lines('FETCH 2:* (UID)'))[0], /^\. BAD /);
  t.match((await client.lines('FETCH * (UID)'))[0], '* 1 FETCH (UID 1)');
  t.match((await client.lines('FETCH 0 (UID)'))[0], /^\. BAD /);
  t.same(await client.lines('UID SEARCH *:*'), ['* SEARCH 1', '. OK SEARCH completed']);
  t.same(await client.lines('SEARCH 5:9'), ['* SEARCH', '. OK SEARCH completed']);
});

t.test('STORE is answered by its FETCH, .SILENT is not, and the other client sees both', async (t) => {
  const { login, alice } = await setup(t);
  for (const subject of ['a', 'b', 'c']) alice.deliver(mail(subject), 'INBOX', ['\\Seen']);
  const one = await login('INBOX');
  const two = await login('INBOX');
  t.same(await one.lines('STORE 1:2 +FLAGS (\\Seen \\flagged)'), [
    '* 1 FETCH (FLAGS (\\Flagged \\Seen \\Recent))',
    '* 2 FETCH (FLAGS (\\Flagged \\Seen \\Recent))',
    '. OK STORE completed',
  ]);
  t.same(
    await one.lines('STORE 1 +FLAGS \\Flagged'),
    ['* 1 FETCH (FLAGS (\\Flagged \\Seen \\Recent))', '. OK STORE completed'],
    'also when nothing changes',
  );
  t.same(await one.lines('UID STORE 3 -FLAGS (\\Seen)'), [
    '* 3 FETCH (UID 3 FLAGS (\\Recent))',
    '. OK STORE completed',
  ]);
  t.same(await one.lines('STORE 1 FLAGS.SILENT (New)'), [
    '* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft New)',
    '* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft New \\*)] Flags permitted',
    '. OK STORE completed',
  ]);
  t.same(await one.lines('NOOP'), ['. OK NOOP completed'], 'and nothing is told twice');
  t.same(await two.lines('NOOP'), [
    '* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft New)',
    '* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft New \\*)] Flags permitted',
    '* 1 FETCH (UID 1 FLAGS (New))',
    '* 2 FETCH (UID 2 FLAGS (\\Flagged \\Seen))',
    '* 3 FETCH (UID 3 FLAGS ())',
    '. OK NOOP completed',
  ]);
  t.match((await one.lines('STORE 1 +FLAGS (\\Unknown)'))[0], /^\. BAD STORE: Unknown system flag/);
  t.match(
    (await one.lines('STORE 1 +FLAGS (\\Recent)'))[0],
    '* 1 FETCH (FLAGS (New \\Recent))',
    '\\Recent cannot be set',
  );
});

t.test('STORE .SILENT does not hide what another client changed meanwhile', async (t) => {
  const { login, alice } = await setup(t);
  for (const subject of ['a', 'b']) alice.deliver(mail(subject));
  const one = await login('INBOX');
  const two = await login('INBOX');
  await two.ok('STORE 1 +FLAGS (\\Flagged)');
  t.same(await one.lines('STORE 1:2 +FLAGS.SILENT (\\Seen)'), [
    '* 1 FETCH (UID 1 FLAGS (\\Flagged \\Seen \\Recent))',
    '. OK STORE completed',
  ]);
});

t.test('IDLE tells changes at once, EXPUNGE included', async (t) => {
  const { login, alice } = await setup(t);
  alice.deliver(mail('a'));
  const idle = await login('INBOX');
  const other = await login('INBOX');
  idle.send('i IDLE\r\n');
  t.equal(await idle.expect(/\r\n/), '+ idling\r\n');
  alice.deliver(mail('b'));
  t.equal(await idle.expect(/RECENT\r\n/), '* 2 EXISTS\r\n* 2 RECENT\r\n');
  await other.ok('NOOP');
  await other.ok('STORE 2 +FLAGS (\\Deleted)');
  t.equal(await idle.expect(/FETCH.*\r\n/), '* 2 FETCH (UID 2 FLAGS (\\Deleted \\Recent))\r\n');
  await other.ok('EXPUNGE');
  t.equal(await idle.expect(/EXPUNGE\r\n/), '* 2 EXPUNGE\r\n');
  idle.send('done\r\n');
  t.equal(await idle.tagged('i'), '. OK IDLE completed\r\n');
  idle.send('j IDLE\r\n');
  await idle.expect(/\+ idling\r\n/);
  idle.send('NOOP\r\n');
  t.equal(await idle.tagged('j'), '. BAD Expected DONE\r\n');
  idle.send('k IDLE\r\nDONE\r\nl NOOP\r\n');
  t.match(await idle.tagged('l'), /^\+ idling\r\nk OK .*\r\n\. OK NOOP/s, 'pipelined');
});

t.test('IDLE without a mailbox only waits for DONE', async (t) => {
  const { login } = await setup(t);
  const client = await login();
  client.send('i IDLE\r\n');
  t.equal(await client.expect(/\r\n/), '+ idling\r\n');
  client.send('DONE\r\n');
  t.equal(await client.tagged('i'), '. OK IDLE completed\r\n');
});

t.test('a mailbox deleted by another client is empty for those who have it open', async (t) => {
  const { login, alice } = await setup(t);
  alice.deliver(mail('a'), 'Archive');
  const one = await login('Archive');
  const two = await login();
  await two.ok('DELETE Archive');
  t.same(await one.lines('NOOP'), ['* 1 EXPUNGE', '. OK NOOP completed']);
  t.match((await one.lines('SELECT Archive')).at(-1), /^\. NO \[NONEXISTENT\]/);
});
