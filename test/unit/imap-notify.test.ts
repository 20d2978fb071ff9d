import t from 'tap';
import { mail, type RawClient, type Setup, setup } from './imap-support.js';

/** Logged in, without the \\Recent that depends on who came first. */
async function modern({ login }: Pick<Setup, 'login'>, mailbox: string): Promise<RawClient> {
  const client = await login();
  await client.ok('ENABLE IMAP4rev2');
  await client.ok(`SELECT ${mailbox}`);
  return client;
}

t.test('NOTIFY SET (SELECTED …) tells of the selected mailbox without a command', async (t) => {
  const { login, alice } = await setup(t);
  alice.deliver(mail('one'));
  const client = await modern({ login }, 'INBOX');
  const other = await login('INBOX');
  await client.ok(
    'NOTIFY SET (SELECTED (MessageNew (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)]) MessageExpunge FlagChange))',
  );
  alice.deliver(mail('two'));
  t.match(
    await client.expect(/FETCH \([\s\S]*?\r\n\r\n\)\r\n/),
    /^\* 2 EXISTS\r\n\* 2 FETCH \(UID 2 FLAGS \(\) BODY\[HEADER.FIELDS \(SUBJECT\)\] \{16\}\r\nSubject: two/,
  );
  await other.ok('STORE 1 +FLAGS (\\Flagged)');
  t.equal(await client.expect(/\)\r\n/), '* 1 FETCH (UID 1 FLAGS (\\Flagged))\r\n');
  await other.ok('UID STORE 1 +FLAGS.SILENT (\\Deleted)');
  await client.expect(/\\Deleted\)\)\r\n/);
  await other.ok('EXPUNGE');
  t.equal(await client.expect(/EXPUNGE\r\n/), '* 1 EXPUNGE\r\n', 'removals at once');
  await client.ok('ENABLE QRESYNC');
  await other.ok('UID STORE 2 +FLAGS (\\Deleted)');
  t.match(await client.expect(/\)\)\r\n/), /^\* 1 FETCH \(UID 2 FLAGS \(\\Deleted\) MODSEQ/);
  await other.ok('EXPUNGE');
  t.equal(await client.expect(/VANISHED[^\r]*\r\n/), '* VANISHED 2\r\n');
});

t.test('NOTIFY SELECTED-DELAYED keeps removals back until a command lets them be told', async (t) => {
  const { login, alice } = await setup(t);
  alice.deliver(mail('one'));
  alice.deliver(mail('two'));
  const client = await modern({ login }, 'INBOX');
  await client.ok('NOTIFY SET (SELECTED-DELAYED (MessageNew MessageExpunge))');
  alice.mailbox('INBOX').remove([1]);
  alice.deliver(mail('three'));
  t.equal(await client.expect(/\r\n/), '* 3 EXISTS\r\n');
  t.notMatch((await client.ok('FETCH 2 UID')).join(), 'EXPUNGE');
  t.same(await client.ok('NOOP'), ['* 1 EXPUNGE', '. OK NOOP completed']);
  alice.mailbox('INBOX').store([2], 'add', ['\\Flagged']);
  t.same(await client.ok('NOOP'), ['. OK NOOP completed'], 'FlagChange was not asked for');
});

t.test('NOTIFY without SELECTED, and NOTIFY NONE, leave the selected mailbox as it was told', async (t) => {
  const { login, alice } = await setup(t);
  alice.deliver(mail('one'));
  for (const command of ['NOTIFY NONE', 'NOTIFY SET (personal NONE)', 'NOTIFY SET (SELECTED NONE)']) {
    const client = await login('INBOX');
    await client.ok(command);
    const { length } = alice.mailbox('INBOX').listing;
    alice.deliver(mail('more'));
    t.same(await client.ok('NOOP'), ['. OK NOOP completed'], command);
    await client.ok('NOTIFY SET (SELECTED (MessageNew MessageExpunge))');
    t.equal(client.pending, '');
    t.match(await client.ok('NOOP'), ['. OK NOOP completed'], 'told with the answer to NOTIFY, which implies NOOP');
    t.match((await client.ok(`FETCH ${length + 1} UID`))[0], /FETCH/);
    client.destroy();
  }
});

t.test('NOTIFY of other mailboxes sends STATUS, with MODSEQs for those who know them', async (t) => {
  const { login, alice } = await setup(t);
  const client = await login('INBOX');
  const { uidValidity } = alice.mailbox('Sent');
  t.same(
    (
      await client.ok(
        'NOTIFY SET STATUS (SELECTED (MessageNew MessageExpunge)) (mailboxes (Sent INBOX Nowhere) (MessageNew MessageExpunge))',
      )
    ).slice(0, -1),
    [`* STATUS "Sent" (MESSAGES 0 UIDNEXT 1 UIDVALIDITY ${uidValidity})`],
    'STATUS of the others comes first',
  );
  alice.deliver(mail('one'), 'Sent');
  t.equal(await client.expect(/\r\n/), `* STATUS "Sent" (MESSAGES 1 UIDNEXT 2 UIDVALIDITY ${uidValidity})\r\n`);
  alice.mailbox('Sent').store([1], 'add', ['\\Seen']);
  alice.deliver(mail('elsewhere'), 'Drafts');
  t.same(await client.ok('NOOP'), ['. OK NOOP completed'], 'neither flags nor other mailboxes');
  await client.ok('ENABLE CONDSTORE');
  await client.ok('NOTIFY SET (subtree Sent (MessageNew MessageExpunge FlagChange))');
  alice.mailbox('Sent').remove([1]);
  t.match(await client.expect(/STATUS[^\r]*\r\n/), /MESSAGES 0 UIDNEXT 2 UIDVALIDITY \d+ UNSEEN 0 HIGHESTMODSEQ \d+/);
  await client.ok('SELECT Sent');
  await client.ok('NOTIFY SET (personal (MessageNew MessageExpunge FlagChange))');
  alice.deliver(mail('two'), 'Sent');
  t.same(await client.ok('NOOP'), ['. OK NOOP completed'], 'no STATUS of the selected mailbox');
});

t.test('NOTIFY of names: created, renamed, deleted, subscribed', async (t) => {
  const { login } = await setup(t);
  const client = await login();
  const other = await login();
  await client.ok('NOTIFY SET (subtree X (MailboxName SubscriptionChange)) (mailboxes Sent (SubscriptionChange))');
  await other.ok('CREATE X/y');
  t.equal(await client.expect(/y"\r\n/), '* LIST (\\Noselect) "/" "X"\r\n* LIST () "/" "X/y"\r\n');
  await other.ok('RENAME X/y X/z');
  t.equal(await client.expect(/\r\n/), '* LIST () "/" "X/z" ("OLDNAME" ("X/y"))\r\n');
  await other.ok('SUBSCRIBE X/z');
  t.equal(await client.expect(/\r\n/), '* LIST (\\Subscribed) "/" "X/z"\r\n');
  await other.ok('UNSUBSCRIBE Sent');
  t.equal(await client.expect(/\r\n/), '* LIST () "/" "Sent"\r\n');
  await other.ok('CREATE Y');
  await other.ok('DELETE X/z');
  t.equal(await client.expect(/z"\r\n/), '* LIST (\\NonExistent) "/" "X"\r\n* LIST (\\NonExistent) "/" "X/z"\r\n');
});

t.test('NOTIFY of annotations names the entries', async (t) => {
  const { login } = await setup(t);
  const client = await login();
  const other = await login();
  await client.ok('NOTIFY SET (mailboxes INBOX (MailboxMetadataChange ServerMetadataChange))');
  await other.ok('SETMETADATA Sent (/private/a "1")');
  await other.ok('SETMETADATA INBOX (/private/a "1" /shared/b NIL)');
  t.equal(await client.expect(/\r\n/), '* METADATA "INBOX" /private/a /shared/b\r\n');
  await other.ok('SETMETADATA "" (/private/c "1")');
  t.equal(await client.expect(/\r\n/), '* METADATA "" /private/c\r\n');
});

t.test('NOTIFY with QRESYNC and LIST-STATUS together, as Evolution does, also in IDLE', async (t) => {
  const { login, alice } = await setup(t);
  alice.deliver(mail('one'));
  const client = await login();
  await client.ok('ENABLE CONDSTORE QRESYNC UTF8=ACCEPT');
  const listed = await client.ok(
    'LIST "" "*" RETURN (SUBSCRIBED STATUS (MESSAGES UNSEEN UIDNEXT UIDVALIDITY HIGHESTMODSEQ))',
  );
  t.equal(listed.filter((line) => line.startsWith('* STATUS')).length, 6);
  await client.ok(
    'NOTIFY SET (selected (MessageNew (UID RFC822.SIZE RFC822.HEADER FLAGS) MessageExpunge FlagChange)) (subscribed (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange))',
  );
  await client.ok(`SELECT INBOX (QRESYNC (${alice.mailbox('INBOX').uidValidity} 1))`);
  client.send('i IDLE\r\n');
  await client.expect(/\+ [^\r]*\r\n/);
  alice.deliver(mail('two'));
  t.match(
    await client.expect(/FETCH \(UID 2 [\s\S]*?\r\n\r\n[^\r]*\)\r\n/),
    /^\* 2 EXISTS\r\n\* \d RECENT\r\n\* 2 FETCH \(UID 2 RFC822.SIZE/,
  );
  alice.deliver(mail('three'), 'Archive');
  t.match(
    await client.expect(/STATUS[^\r]*\r\n/),
    /^\* STATUS "Archive" \(MESSAGES 1 UIDNEXT 2 UIDVALIDITY \d+ UNSEEN 1 HIGHESTMODSEQ \d+\)/,
  );
  alice.mailbox('INBOX').remove([1]);
  t.equal(await client.expect(/VANISHED 1\r\n/), '* VANISHED 1\r\n');
  client.send('DONE\r\n');
  await client.tagged('i');
  t.match((await client.ok('FETCH 1 UID'))[0], /UID 2/);
});

t.test('NOTIFY refuses what does not go together with BAD, unknown events with NO [BADEVENT]', async (t) => {
  const { login } = await setup(t);
  const client = await login();
  for (const bad of [
    '',
    ' SET',
    ' SET ()',
    ' SET (personal)',
    ' SET (personal (MessageNew))',
    ' SET (personal (MessageExpunge))',
    ' SET (personal (FlagChange))',
    ' SET (personal (MessageNew (UID) MessageExpunge))',
    ' SET (selected (MessageNew MessageExpunge MailboxName))',
    ' SET (selected (MessageNew MessageExpunge)) (selected-delayed NONE)',
    ' SET (somewhere NONE)',
    ' NONE x',
    ' SOME',
  ]) {
    t.match((await client.lines(`NOTIFY${bad}`))[0], /^\. BAD /, bad);
  }
  const refused = await client.lines('NOTIFY SET (personal (MessageNew MessageExpunge AnnotationChange))');
  t.match(refused[0], /^\. NO \[BADEVENT \(MessageNew MessageExpunge FlagChange MailboxName .*\)\]/);
});

t.test('MULTISEARCH answers mailbox by mailbox, in UIDs', async (t) => {
  const { login, alice } = await setup(t);
  alice.deliver(mail('report one'));
  alice.deliver(mail('other'));
  alice.deliver(mail('report two'), 'Archive');
  alice.create('Archive/2024', null);
  alice.create('Archive/2024/q1', null);
  alice.deliver(mail('report three'), 'Archive/2024/q1');
  const client = await login();
  const search = async (args: string): Promise<string[]> =>
    (await client.ok(`ESEARCH ${args}`))
      .slice(0, -1)
      .map((line) => line.replace(/TAG "[^"]*" MAILBOX |UIDVALIDITY \d+/g, ''));
  t.same(await search('IN (personal) SUBJECT report'), [
    '* ESEARCH ("INBOX" ) UID ALL 1',
    '* ESEARCH ("Archive" ) UID ALL 1',
    '* ESEARCH ("Archive/2024/q1" ) UID ALL 1',
  ]);
  t.same(await search('IN (subtree Archive) RETURN (COUNT MAX) ALL'), [
    '* ESEARCH ("Archive" ) UID MAX 1 COUNT 1',
    '* ESEARCH ("Archive/2024/q1" ) UID MAX 1 COUNT 1',
  ]);
  t.same(await search('IN (subtree-one Archive) ALL'), ['* ESEARCH ("Archive" ) UID ALL 1']);
  t.same(await search('IN (mailboxes (INBOX Nowhere) subscribed) UNSEEN'), [
    '* ESEARCH ("INBOX" ) UID ALL 1:2',
    '* ESEARCH ("Archive" ) UID ALL 1',
  ]);
  t.match((await client.lines('ESEARCH IN (selected) ALL'))[0], /^\. BAD /);
  t.match((await client.lines('ESEARCH ALL'))[0], /^\. BAD /, 'nothing is selected');
  t.match((await client.lines('ESEARCH IN (personal) CHARSET x-none SUBJECT x'))[0], /^\. NO \[BADCHARSET/);
  t.match((await client.lines('ESEARCH IN (personal) RETURN (SAVE) ALL'))[0], /^\. BAD /);
  await client.ok('SELECT INBOX');
  t.same(await search('ALL'), ['* ESEARCH ("INBOX" ) UID ALL 1:2']);
  t.same(await search('IN (selected mailboxes (INBOX Archive)) SUBJECT report'), [
    '* ESEARCH ("INBOX" ) UID ALL 1',
    '* ESEARCH ("Archive" ) UID ALL 1',
  ]);
  await client.ok('ESEARCH IN (selected) RETURN (SAVE) SUBJECT report');
  t.match(await client.ok('FETCH $ UID'), ['* 1 FETCH (UID 1)', /OK/]);
  t.match(
    (await client.ok('ESEARCH IN (mailboxes Archive) MODSEQ 1')).at(-2),
    /^\* ESEARCH \(TAG "t\d+" MAILBOX "Archive" UIDVALIDITY \d+\) UID ALL 1 MODSEQ \d+$/,
  );
});
