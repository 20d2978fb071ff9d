import t from 'tap';
import { mail, setup } from './imap-support.js';

t.test('CONDSTORE is enabled by every command that RFC 7162 §3.1 names, and by no other', async (t) => {
  const { login, alice } = await setup(t);
  alice.deliver(mail('a'));
  const enabling = [
    'ENABLE CONDSTORE',
    'SELECT INBOX (CONDSTORE)',
    'STATUS INBOX (HIGHESTMODSEQ)',
    'FETCH 1 (MODSEQ)',
    'FETCH 1 (FLAGS) (CHANGEDSINCE 1)',
    'STORE 1 (UNCHANGEDSINCE 99) +FLAGS (x)',
    'SEARCH MODSEQ 1',
  ];
  for (const [index, command] of ['NOOP', 'FETCH 1 (FLAGS)', 'SEARCH ALL', ...enabling].entries()) {
    const client = await login('INBOX');
    await client.ok(command);
    const store = (await client.lines(`STORE 1 FLAGS (k${index})`)).find((line) => line.includes('FETCH'));
    t.equal(/MODSEQ \(\d+\)/.test(store!), enabling.includes(command), command);
    await client.ok('LOGOUT');
  }
});

t.test('MODSEQ rises with every change and is told to those who know of it', async (t) => {
  const { login, alice } = await setup(t);
  for (const subject of ['a', 'b', 'c']) alice.deliver(mail(subject));
  const one = await login();
  const two = await login();
  t.ok((await one.ok('SELECT INBOX (CONDSTORE)')).includes('* OK [HIGHESTMODSEQ 4] Highest'));
  await two.ok('SELECT INBOX');
  t.same(await one.lines('FETCH 1:* (MODSEQ)'), [
    '* 1 FETCH (MODSEQ (2))',
    '* 2 FETCH (MODSEQ (3))',
    '* 3 FETCH (MODSEQ (4))',
    '. OK FETCH completed',
  ]);
  t.same(await one.lines('STORE 1:2 +FLAGS (\\Seen)'), [
    '* 1 FETCH (FLAGS (\\Seen \\Recent) MODSEQ (5))',
    '* 2 FETCH (FLAGS (\\Seen \\Recent) MODSEQ (5))',
    '. OK STORE completed',
  ]);
  t.same(await one.lines('UID STORE 3 +FLAGS.SILENT (\\Seen)'), [
    '* 3 FETCH (UID 3 MODSEQ (6))',
    '. OK STORE completed',
  ]);
  t.same(
    await one.lines('STORE 1 +FLAGS (\\Seen)'),
    ['* 1 FETCH (FLAGS (\\Seen \\Recent) MODSEQ (5))', '. OK STORE completed'],
    'no change, no new MODSEQ',
  );
  t.same(
    await two.lines('NOOP'),
    [
      '* 1 FETCH (UID 1 FLAGS (\\Seen))',
      '* 2 FETCH (UID 2 FLAGS (\\Seen))',
      '* 3 FETCH (UID 3 FLAGS (\\Seen))',
      '. OK NOOP completed',
    ],
    'a client that does not know MODSEQ is not told',
  );
  await two.ok('STORE 2 -FLAGS.SILENT (\\Seen)');
  t.same(await one.lines('NOOP'), ['* 2 FETCH (UID 2 FLAGS (\\Recent) MODSEQ (7))', '. OK NOOP completed']);
  await one.ok('STORE 1 +FLAGS.SILENT (\\Deleted)');
  await one.ok('EXPUNGE');
  t.match((await two.lines('STATUS INBOX (HIGHESTMODSEQ)'))[0], '(HIGHESTMODSEQ 9)', 'an expunge counts');
});

t.test('FETCH CHANGEDSINCE', async (t) => {
  const { login, alice } = await setup(t);
  for (const subject of ['a', 'b', 'c']) alice.deliver(mail(subject));
  const client = await login();
  await client.ok('SELECT INBOX (CONDSTORE)');
  t.same(await client.lines('FETCH 1:* (FLAGS) (CHANGEDSINCE 3)'), [
    '* 3 FETCH (MODSEQ (4) FLAGS (\\Recent))',
    '. OK FETCH completed',
  ]);
  t.same(await client.lines('UID FETCH 1:* (FLAGS) (CHANGEDSINCE 2)'), [
    '* 2 FETCH (UID 2 MODSEQ (3) FLAGS (\\Recent))',
    '* 3 FETCH (UID 3 MODSEQ (4) FLAGS (\\Recent))',
    '. OK FETCH completed',
  ]);
  t.same(await client.lines('FETCH 1:* (FLAGS) (CHANGEDSINCE 9223372036854775807)'), ['. OK FETCH completed']);
  t.match((await client.lines('FETCH 1:* (FLAGS) (CHANGEDSINCE 9223372036854775808)'))[0], /^\. BAD /);
});

t.test('STORE UNCHANGEDSINCE', async (t) => {
  const { login, alice } = await setup(t);
  for (const subject of ['a', 'b', 'c']) alice.deliver(mail(subject));
  const one = await login();
  await one.ok('SELECT INBOX (CONDSTORE)');
  const two = await login('INBOX');
  await two.ok('STORE 2 +FLAGS (\\Flagged)');
  t.same(
    await one.lines('STORE 1:3 (UNCHANGEDSINCE 4) +FLAGS (\\Seen)'),
    [
      '* 1 FETCH (FLAGS (\\Seen \\Recent) MODSEQ (6))',
      '* 3 FETCH (FLAGS (\\Seen \\Recent) MODSEQ (6))',
      '* 2 FETCH (UID 2 FLAGS (\\Flagged \\Recent) MODSEQ (5))',
      '. OK [MODIFIED 2] Conditional STORE failed for some',
    ],
    'the failed one is told with what it has now',
  );
  await two.ok('STORE 1 +FLAGS (\\Deleted)');
  await two.ok('EXPUNGE');
  await one.ok('NOOP');
  t.match(
    (await one.lines('UID STORE 2:3 (UNCHANGEDSINCE 1) +FLAGS.SILENT (\\Draft)')).at(-1),
    '. OK [MODIFIED 2:3] Conditional STORE failed for some',
    'UIDs for UID STORE',
  );
  t.match(
    (await one.lines('STORE 1:2 (UNCHANGEDSINCE 1) +FLAGS (\\Draft)')).at(-1),
    '. OK [MODIFIED 1:2]',
    'numbers for STORE',
  );
  t.match((await one.lines('STORE 1 (UNCHANGEDSINCE 0) +FLAGS (\\Draft)')).at(-1), '. OK [MODIFIED 1]');
  t.match((await two.lines('FETCH 1:2 (FLAGS)')).slice(0, 2), [
    '* 1 FETCH (FLAGS (\\Flagged))',
    '* 2 FETCH (FLAGS (\\Seen))',
  ]);
  t.match((await one.lines('STORE 1 (UNCHANGEDSINCE) +FLAGS (x)'))[0], /^\. BAD /);
});

t.test('SEARCH MODSEQ', async (t) => {
  const { login, alice } = await setup(t);
  for (const subject of ['a', 'b', 'c']) alice.deliver(mail(subject));
  const client = await login();
  await client.ok('SELECT INBOX (CONDSTORE)');
  t.equal((await client.lines('SEARCH MODSEQ 3'))[0], '* SEARCH 2 3 (MODSEQ 4)');
  t.equal((await client.lines('UID SEARCH MODSEQ "/flags/\\\\draft" all 3 UID 1:2'))[0], '* SEARCH 2 (MODSEQ 3)');
  t.equal((await client.lines('SEARCH MODSEQ 99'))[0], '* SEARCH');
  const esearch = async (options: string): Promise<string> =>
    (await client.lines(`SEARCH RETURN (${options}) MODSEQ 1`))[0]!.replace(/^\* ESEARCH \(TAG "t\d+"\) ?/, '');
  t.equal(await esearch('MIN'), 'MIN 1 MODSEQ 2', 'the MODSEQ of what is told');
  t.equal(await esearch('MAX'), 'MAX 3 MODSEQ 4');
  t.equal(await esearch('MIN MAX'), 'MIN 1 MAX 3 MODSEQ 4');
  t.equal(await esearch('COUNT'), 'COUNT 3 MODSEQ 4');
});

t.test('a body fetched without PEEK tells the MODSEQ that \\Seen got', async (t) => {
  const { login, alice } = await setup(t);
  alice.deliver(mail('a'));
  const client = await login();
  await client.ok('SELECT INBOX (CONDSTORE)');
  t.match(
    await client.raw('UID FETCH 1 (BODY[1])'),
    /^\* 1 FETCH \(FLAGS \(\\Seen \\Recent\) MODSEQ \(3\) UID 1 BODY\[1\] /,
  );
  t.same(await client.lines('NOOP'), ['. OK NOOP completed']);
});
