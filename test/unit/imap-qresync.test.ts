import t from 'tap';
import { mail, setup } from './imap-support.js';

t.test('QRESYNC is refused before ENABLE, and takes CONDSTORE with it', async (t) => {
  const { login, alice } = await setup(t);
  alice.deliver(mail('a'));
  const client = await login();
  t.match((await client.lines('SELECT INBOX (QRESYNC (1 1))')).at(-1), /^\. BAD /);
  await client.ok('SELECT INBOX');
  t.match((await client.lines('UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)')).at(-1), /^\. BAD /);
  await client.ok('UNSELECT');
  t.same(await client.lines('ENABLE QRESYNC X-OTHER'), ['* ENABLED QRESYNC', '. OK ENABLE completed']);
  await client.ok('SELECT INBOX');
  t.same(await client.lines('STORE 1 +FLAGS (\\Seen)'), [
    '* 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (3))',
    '. OK STORE completed',
  ]);
  t.match((await client.lines('FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)')).at(-1), /^\. BAD /, 'not for FETCH');
  t.match((await client.lines('UID FETCH 1:* (FLAGS) (VANISHED)')).at(-1), /^\. BAD /, 'not without CHANGEDSINCE');
});

t.test('removals are told as VANISHED to who enabled QRESYNC and as EXPUNGE to others', async (t) => {
  const { login, alice } = await setup(t);
  for (const subject of ['a', 'b', 'c', 'd', 'e', 'f']) alice.deliver(mail(subject));
  const quick = await login();
  await quick.ok('ENABLE QRESYNC');
  await quick.ok('SELECT INBOX');
  const plain = await login('INBOX');
  await plain.ok('STORE 1:2,4 +FLAGS.SILENT (\\Deleted)');
  await plain.ok('EXPUNGE');
  t.same(
    (await quick.lines('FETCH 1 (UID)')).filter((line) => line.includes('VANISHED')),
    [],
    'as EXPUNGE, it waits while sequence numbers are answered',
  );
  t.same(
    (await quick.lines('NOOP')).filter((line) => !line.includes('FETCH')),
    ['* VANISHED 1:2,4', '. OK NOOP completed'],
  );
  t.same(await quick.lines('FETCH 1 (UID)'), ['* 1 FETCH (UID 3)', '. OK FETCH completed']);
  await quick.ok('UID STORE 5 +FLAGS.SILENT (\\Deleted)');
  t.same(await quick.lines('EXPUNGE'), ['* VANISHED 5', '. OK [HIGHESTMODSEQ 11] EXPUNGE completed']);
  t.same(await quick.lines('EXPUNGE'), ['. OK EXPUNGE completed'], 'nothing removed, no MODSEQ');
  const moved = await quick.lines('UID MOVE 3 Trash');
  t.match(moved, [/^\* OK \[COPYUID \d+ 3 1\]/, '* VANISHED 3', /^\. OK \[HIGHESTMODSEQ 12\] /]);
  await quick.ok('STORE 1 +FLAGS.SILENT (\\Deleted)');
  t.same(await quick.lines('CLOSE'), ['. OK CLOSE completed'], 'CLOSE tells neither (RFC 7162 §3.2.8)');
  t.match(await plain.lines('NOOP'), [/EXPUNGE/, /EXPUNGE/, /EXPUNGE/, '. OK NOOP completed']);
});

t.test('SELECT (QRESYNC) tells what vanished and what changed since', async (t) => {
  const { login, alice } = await setup(t);
  for (const subject of ['a', 'b', 'c', 'd', 'e']) alice.deliver(mail(subject));
  const { uidValidity, listing } = alice.mailbox('INBOX');
  const since = listing.highestModSeq;
  const other = await login('INBOX');
  await other.ok('STORE 3 +FLAGS (\\Flagged)');
  await other.ok('STORE 2,5 +FLAGS (\\Deleted)');
  await other.ok('EXPUNGE');
  alice.deliver(mail('f'));
  const client = await login();
  await client.ok('ENABLE QRESYNC');
  const resync = async (args: string): Promise<string[]> =>
    (await client.ok(`SELECT INBOX (QRESYNC (${args}))`)).filter((line) => /VANISHED|FETCH/.test(line));
  const changed = `* 2 FETCH (UID 3 FLAGS (\\Flagged) MODSEQ (${since + 1}))`;
  const arrived = `* 4 FETCH (UID 6 FLAGS (\\Recent) MODSEQ (${since + 4}))`;
  t.same(await resync(`${uidValidity} ${since}`), ['* VANISHED (EARLIER) 2,5', changed, arrived]);
  t.same(await resync(`${uidValidity} ${since} 1:4`), ['* VANISHED (EARLIER) 2', changed], 'only known UIDs');
  t.same(await resync(`${uidValidity} ${since + 3} 1:5`), [], 'nothing after the last change');
  t.same(await resync(`${uidValidity + 7} ${since} 1:5`), [], 'another UIDVALIDITY');
  t.same(await resync(`${uidValidity} ${since} 1:5 (1:2 1:2)`), ['* VANISHED (EARLIER) 2,5', changed]);
  const uneven = await client.lines(`SELECT INBOX (QRESYNC (${uidValidity} ${since} 1:5 (1:3 1:2)))`);
  t.match(uneven.at(-1), /^\. BAD /, 'match data of two lengths');
  const star = await client.lines(`SELECT INBOX (QRESYNC (${uidValidity} ${since} 1:*))`);
  t.match(star.at(-1), /^\. BAD /, 'no * in known UIDs');
});

t.test(
  'UID FETCH (CHANGEDSINCE VANISHED) tells removals first, and only those the client was not to be told later',
  async (t) => {
    const { login, alice } = await setup(t);
    for (const subject of ['a', 'b', 'c', 'd']) alice.deliver(mail(subject));
    const since = alice.mailbox('INBOX').listing.highestModSeq;
    alice.mailbox('INBOX').remove([2]);
    const client = await login();
    await client.ok('ENABLE QRESYNC');
    await client.ok('SELECT INBOX');
    alice.mailbox('INBOX').remove([4]);
    alice.mailbox('INBOX').store([3], 'add', ['\\Seen']);
    t.same(await client.lines(`UID FETCH 1:* (FLAGS) (CHANGEDSINCE ${since} VANISHED)`), [
      '* VANISHED (EARLIER) 2',
      `* 2 FETCH (UID 3 MODSEQ (${since + 3}) FLAGS (\\Seen \\Recent))`,
      '* VANISHED 4',
      `. OK FETCH completed`,
    ]);
    t.same(await client.lines(`UID FETCH 3:4 (FLAGS) (CHANGEDSINCE ${since} VANISHED)`), [
      '* VANISHED (EARLIER) 4',
      `* 2 FETCH (UID 3 MODSEQ (${since + 3}) FLAGS (\\Seen \\Recent))`,
      '. OK FETCH completed',
    ]);
  },
);

t.test('VANISHED is cut into lines a client can hold', async (t) => {
  const { login, alice } = await setup(t);
  const uids: number[] = [];
  for (let i = 0; i < 4_000; i += 1) uids.push(alice.deliver(mail(`m${i}`)));
  const client = await login();
  await client.ok('ENABLE QRESYNC');
  await client.ok('SELECT INBOX');
  const gone = uids.filter((uid) => uid % 2 === 0);
  alice.mailbox('INBOX').remove(gone);
  const lines = (await client.lines('NOOP')).filter((line) => line.startsWith('* VANISHED '));
  t.ok(lines.length > 1);
  t.ok(lines.every((line) => line.length < 8_192));
  t.same(
    lines.flatMap((line) => line.slice('* VANISHED '.length).split(',').map(Number)),
    gone,
  );
  t.equal((await client.lines('STATUS INBOX (MESSAGES)'))[0], '* STATUS "INBOX" (MESSAGES 2000)');
});
