import t from 'tap';
import { MAX_CONTEXTS } from '../../src/imap/update-context.js';
import { mail, type RawClient, setup } from './imap-support.js';

/** Sends a command and answers its lines with tags of ESEARCH left out. */
async function told(client: RawClient, command: string): Promise<string[]> {
  return (await client.ok(command)).slice(0, -1).map((line) => line.replace(/\(TAG "[^"]*"\) /, ''));
}

t.test('SEARCH RETURN (UPDATE) tells what its result gains and loses', async (t) => {
  const { login, alice } = await setup(t);
  for (let n = 1; n <= 4; n += 1) alice.deliver(mail(`report ${n}`));
  const inbox = alice.mailbox('INBOX');
  inbox.store([2], 'add', ['\\Seen']);
  const client = await login('INBOX');
  await client.ok('ENABLE IMAP4rev2');
  await client.ok('SELECT INBOX');
  t.same(await told(client, 'UID SEARCH RETURN (COUNT UPDATE) UNSEEN SUBJECT report'), ['* ESEARCH UID COUNT 3']);
  inbox.store([1, 3], 'add', ['\\Seen']);
  inbox.store([2], 'remove', ['\\Seen']);
  t.same((await told(client, 'NOOP')).at(-1), '* ESEARCH UID ADDTO (0 2) REMOVEFROM (0 1,3)', 'behind the FETCHes');
  inbox.store([1], 'add', ['\\Flagged']);
  t.notMatch((await told(client, 'NOOP')).join(), 'ESEARCH', 'a change that makes no difference');
  alice.deliver(mail('report 5'));
  alice.deliver(mail('other'));
  t.same(await told(client, 'NOOP'), ['* 6 EXISTS', '* ESEARCH UID ADDTO (0 5)'], 'behind EXISTS');
  inbox.remove([4]);
  t.same(await told(client, 'NOOP'), ['* ESEARCH UID REMOVEFROM (0 4)', '* 4 EXPUNGE'], 'before EXPUNGE');
  client.send('i IDLE\r\n');
  await client.expect(/\+ [^\r]*\r\n/);
  alice.deliver(mail('report 6'));
  t.match(await client.expect(/ADDTO \(0 7\)\r\n/), /^\* 6 EXISTS\r\n\* ESEARCH/);
  client.send('DONE\r\n');
  await client.tagged('i');
});

t.test('UPDATE in sequence numbers, with FETCH items, and cancelled', async (t) => {
  const { login, alice } = await setup(t);
  alice.deliver(mail('one'));
  alice.deliver(mail('two'));
  const client = await login();
  await client.ok('ENABLE IMAP4rev2');
  await client.ok('SELECT INBOX');
  client.send('ctx SEARCH RETURN (ALL UPDATE (UID FLAGS)) FLAGGED\r\n');
  t.match(await client.tagged('ctx'), /^\* ESEARCH \(TAG "ctx"\)\r\n/);
  client.send('ctx SEARCH RETURN (UPDATE) ALL\r\n');
  t.match(await client.tagged('ctx'), /^\. BAD /, 'one context a tag');
  alice.mailbox('INBOX').store([2], 'add', ['\\Flagged']);
  t.same(await client.ok('NOOP'), [
    '* 2 FETCH (UID 2 FLAGS (\\Flagged))',
    '* 2 FETCH (UID 2 FLAGS (\\Flagged))',
    '* ESEARCH (TAG "ctx") ADDTO (0 2)',
    '. OK NOOP completed',
  ]);
  t.match((await client.lines('CANCELUPDATE "none"'))[0], /^\. BAD /);
  t.match((await client.lines('CANCELUPDATE ctx'))[0], /^\. BAD /);
  await client.ok('CANCELUPDATE "ctx"');
  alice.mailbox('INBOX').store([2], 'remove', ['\\Flagged']);
  t.notMatch((await client.ok('NOOP')).join(), 'ESEARCH');
});

t.test(`a client may have ${MAX_CONTEXTS} results updated, one more is searched and not updated`, async (t) => {
  const { login, alice } = await setup(t);
  alice.deliver(mail('one'));
  const client = await login('INBOX');
  for (let n = 0; n < MAX_CONTEXTS; n += 1) {
    t.notMatch((await client.ok('SEARCH RETURN (COUNT UPDATE) UNSEEN')).join(), 'NOUPDATE');
  }
  const refused = await client.ok('SEARCH RETURN (COUNT UPDATE) UNSEEN');
  t.match(refused.join('\n'), /COUNT 1\n\* NO \[NOUPDATE "t\d+"\]/);
  t.match((await client.ok('SORT RETURN (COUNT UPDATE) (SIZE) UTF-8 ALL')).join('\n'), /COUNT 1\n\* NO \[NOUPDATE/);
  alice.mailbox('INBOX').store([1], 'add', ['\\Seen']);
  const updates = (await client.ok('NOOP')).filter((line) => line.includes('REMOVEFROM (0 1)'));
  t.equal(updates.length, MAX_CONTEXTS);
  await client.ok('SELECT INBOX');
  t.notMatch((await client.ok('NOOP')).join(), 'ESEARCH', 'they end with the mailbox');
});
