import fc from 'fast-check';
import t from 'tap';
import { ListPattern } from '../../src/imap/list-pattern.js';
import { setup } from './imap-support.js';

t.test('LIST', async (t) => {
  const { login, alice } = await setup(t);
  alice.create('Work/2024/März', null);
  alice.create('a "b\\c', null);
  const client = await login();
  t.same(await client.lines('LIST "" ""'), ['* LIST (\\Noselect) "/" ""', '. OK LIST completed']);
  t.same(await client.lines('LIST "" %'), [
    '* LIST (\\HasNoChildren) "/" "INBOX"',
    '* LIST (\\HasNoChildren \\Archive) "/" "Archive"',
    '* LIST (\\HasNoChildren \\Drafts) "/" "Drafts"',
    '* LIST (\\HasNoChildren \\Junk) "/" "Junk"',
    '* LIST (\\HasNoChildren \\Sent) "/" "Sent"',
    '* LIST (\\HasNoChildren \\Trash) "/" "Trash"',
    '* LIST (\\Noselect \\HasChildren) "/" "Work"',
    '* LIST (\\HasNoChildren) "/" "a \\"b\\\\c"',
    '. OK LIST completed',
  ]);
  t.same(await client.lines('LIST Work/ *'), [
    '* LIST (\\Noselect \\HasChildren) "/" "Work/2024"',
    '* LIST (\\HasNoChildren) "/" "Work/2024/M&AOQ-rz"',
    '. OK LIST completed',
  ]);
  t.same(
    (await client.lines('LIST "" "Work/2024/M&AOQ-rz"')).slice(0, 1),
    ['* LIST (\\HasNoChildren) "/" "Work/2024/M&AOQ-rz"'],
    'a name may be asked for in modified UTF-7',
  );
  t.equal((await client.lines('LIST "" inbox')).length, 2, 'INBOX matches without case');
  t.equal((await client.lines('LIST "" i%')).length, 2);
  t.equal((await client.lines('LIST "" work')).length, 1, 'other names do not');
  t.equal((await client.lines('LIST "" nothing')).length, 1);
});

t.test('LIST-EXTENDED, LIST-STATUS, SPECIAL-USE', async (t) => {
  const { login, alice } = await setup(t, {
    users: [{ name: 'alice', password: 'secret', mailboxes: { Sent: 'sent', A: null, 'A/b': null, 'A/b/c': null } }],
  });
  for (const name of ['Sent', 'A', 'A/b']) alice.subscribe(name, false);
  alice.deliver(Buffer.from('Subject: x\r\n\r\n'), 'Sent');
  const client = await login();
  t.same(await client.lines('LIST (SUBSCRIBED) "" *'), [
    '* LIST (\\HasNoChildren \\Subscribed) "/" "INBOX"',
    '* LIST (\\HasNoChildren \\Subscribed) "/" "A/b/c"',
    '. OK LIST completed',
  ]);
  t.same(await client.lines('LIST (SUBSCRIBED RECURSIVEMATCH) "" %'), [
    '* LIST (\\HasNoChildren \\Subscribed) "/" "INBOX"',
    '* LIST (\\HasChildren) "/" "A" ("CHILDINFO" ("SUBSCRIBED"))',
    '. OK LIST completed',
  ]);
  t.same(await client.lines('LIST (SPECIAL-USE) "" *'), [
    '* LIST (\\HasNoChildren \\Sent) "/" "Sent"',
    '. OK LIST completed',
  ]);
  t.same(await client.lines('LIST "" (INBOX "A/%") RETURN (SUBSCRIBED CHILDREN SPECIAL-USE)'), [
    '* LIST (\\HasNoChildren \\Subscribed) "/" "INBOX"',
    '* LIST (\\HasChildren) "/" "A/b"',
    '. OK LIST completed',
  ]);
  t.same(await client.lines('LIST "" % RETURN (STATUS (MESSAGES UNSEEN))'), [
    '* LIST (\\HasNoChildren) "/" "INBOX"',
    '* STATUS "INBOX" (MESSAGES 0 UNSEEN 0)',
    '* LIST (\\HasChildren) "/" "A"',
    '* STATUS "A" (MESSAGES 0 UNSEEN 0)',
    '* LIST (\\HasNoChildren \\Sent) "/" "Sent"',
    '* STATUS "Sent" (MESSAGES 1 UNSEEN 1)',
    '. OK LIST completed',
  ]);
  for (const bad of ['LIST (RECURSIVEMATCH) "" *', 'LIST (FOO) "" *', 'LIST "" * RETURN (FOO)']) {
    t.match((await client.lines(bad))[0], /^\. BAD LIST: /, bad);
  }
});

t.test('LSUB', async (t) => {
  const { login, alice } = await setup(t, {
    users: [{ name: 'alice', password: 'secret', mailboxes: { 'A/b': null, 'A/c': null } }],
  });
  alice.subscribe('A/c', false);
  const client = await login();
  t.same(await client.lines('LSUB "" *'), ['* LSUB () "/" "INBOX"', '* LSUB () "/" "A/b"', '. OK LSUB completed']);
  t.same(
    await client.lines('LSUB "" %'),
    ['* LSUB () "/" "INBOX"', '* LSUB (\\Noselect) "/" "A"', '. OK LSUB completed'],
    'a parent stands for subscribed names that % hides',
  );
  await client.ok('SUBSCRIBE A');
  t.match((await client.lines('LSUB "" %')).at(1), /^\* LSUB \(\) "\/" "A"$/);
});

t.test('LSUB and LIST (SUBSCRIBED) show names that only a subscription remembers', async (t) => {
  const { login } = await setup(t, {
    wrap: (memory) => ({
      login: async (name, password) => {
        const session = await memory.login(name, password);
        if (session === null) return null;
        const list = session.list.bind(session);
        const gone = { name: 'Gone', role: null, selectable: false, subscribed: true, nonexistent: true };
        session.list = async () => [...(await list()), gone];
        return session;
      },
    }),
  });
  const client = await login();
  t.equal((await client.lines('LIST "" Gone')).length, 1);
  t.equal((await client.lines('LSUB "" Gone'))[0], '* LSUB () "/" "Gone"');
  t.equal(
    (await client.lines('LIST (SUBSCRIBED) "" Gone'))[0],
    '* LIST (\\NonExistent \\HasNoChildren \\Subscribed) "/" "Gone"',
  );
});

t.test('CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE, seen by another connection', async (t) => {
  const { login, alice } = await setup(t);
  const client = await login();
  const other = await login();
  const names = async (): Promise<string[]> =>
    (await other.lines('LIST "" X*')).slice(0, -1).map((line) => line.slice(line.indexOf('"/"') + 4));
  t.same(await client.lines('CREATE X/y/'), [`. OK [MAILBOXID (${alice.mailbox('X/y').mailboxId})] CREATE completed`]);
  t.same(await names(), ['"X"', '"X/y"']);
  t.match((await client.lines('CREATE X/y'))[0], /^\. NO \[ALREADYEXISTS\] /);
  t.match((await client.lines('CREATE inbox'))[0], /^\. NO \[ALREADYEXISTS\] /);
  t.match((await client.lines('DELETE X'))[0], /^\. NO \[CANNOT\] /);
  t.match((await client.lines('DELETE Y'))[0], /^\. NO \[NONEXISTENT\] /);
  t.match((await client.lines('DELETE INBOX'))[0], /^\. NO \[CANNOT\] /);
  await client.ok('RENAME X Xenon');
  t.same(await names(), ['"Xenon"', '"Xenon/y"'], 'what is below moves along');
  t.match((await client.lines('RENAME nothing X'))[0], /^\. NO \[NONEXISTENT\] /);
  t.match((await client.lines('RENAME Sent Drafts'))[0], /^\. NO \[ALREADYEXISTS\] /);
  await client.ok('DELETE Xenon/y');
  t.same(await names(), []);
  alice.deliver(Buffer.from('Subject: x\r\n\r\n'));
  await client.ok('RENAME INBOX X-old');
  t.match(await other.lines('STATUS INBOX (MESSAGES)'), ['* STATUS "INBOX" (MESSAGES 0)']);
  t.match(await other.lines('STATUS X-old (MESSAGES)'), ['* STATUS "X-old" (MESSAGES 1)']);
  await client.ok('SUBSCRIBE not-there');
  await client.ok('UNSUBSCRIBE Sent');
  t.equal((await other.lines('LSUB "" Sent')).length, 1);
});

t.test('CREATE with a special use (RFC 6154)', async (t) => {
  const { login } = await setup(t, { users: [{ name: 'alice', password: 'secret', mailboxes: {} }] });
  const client = await login();
  await client.ok('CREATE Gesendet (USE (\\sent))');
  t.equal((await client.lines('LIST "" Gesendet'))[0], '* LIST (\\HasNoChildren \\Sent) "/" "Gesendet"');
  t.match((await client.lines('CREATE All (USE (\\All))'))[0], /^\. NO \[USEATTR\] /);
  t.match((await client.lines('CREATE Two (USE (\\Sent \\Trash))'))[0], /^\. NO \[USEATTR\] /);
  t.match((await client.lines('CREATE Bad (FOO (\\Sent))'))[0], /^\. BAD /);
});

t.test('STATUS has every item, of any mailbox and of the selected one', async (t) => {
  const { login, alice } = await setup(t);
  alice.deliver(Buffer.alloc(100), 'INBOX', ['\\Seen', '\\Deleted']);
  alice.deliver(Buffer.alloc(50), 'INBOX');
  const client = await login('Sent');
  const items = 'MESSAGES UIDNEXT UNSEEN RECENT DELETED SIZE HIGHESTMODSEQ APPENDLIMIT';
  const [status, tagged] = await client.lines(`STATUS inbox (${items})`);
  t.equal(tagged, '* OK [HIGHESTMODSEQ 1] Highest', 'HIGHESTMODSEQ enables CONDSTORE (RFC 7162 §3.1)');
  t.equal(
    status,
    '* STATUS "INBOX" (MESSAGES 2 UIDNEXT 3 UNSEEN 1 RECENT 2 DELETED 1 SIZE 150 HIGHESTMODSEQ 3 APPENDLIMIT 67108864)',
  );
  await client.ok('SELECT INBOX');
  t.match((await client.lines('STATUS INBOX (MESSAGES RECENT)'))[0], '(MESSAGES 2 RECENT 0)');
  t.match((await client.lines('STATUS INBOX (UIDVALIDITY)'))[0], /\(UIDVALIDITY [1-9]\d*\)/);
  t.match((await client.lines('STATUS nothing (MESSAGES)'))[0], /^\. NO \[NONEXISTENT\] /);
  t.match((await client.lines('STATUS INBOX ()'))[0], /^\. BAD /);
});

t.test('ListPattern agrees with a regular expression, and takes no longer for hostile patterns', async (t) => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', '/', '*', '%'), maxLength: 8 });
  const names = fc.string({ unit: fc.constantFrom('a', 'b', '/'), maxLength: 10 });
  fc.assert(
    fc.property(letters, names, (pattern, name) => {
      const expression = new RegExp(`^${pattern.replaceAll('*', '.*').replaceAll('%', '[^/]*')}$`);
      return new ListPattern(pattern).matches(name) === expression.test(name);
    }),
    { numRuns: 2_000 },
  );
  t.ok(new ListPattern('%').matches('INBOX'));
  t.ok(new ListPattern('inbox/*').matches('INBOX/sub'));
  t.notOk(new ListPattern('inboxes').matches('INBOX'));
  const started = performance.now();
  t.notOk(new ListPattern(`${'a*'.repeat(50)}c`).matches('a'.repeat(1_000)));
  t.ok(performance.now() - started < 1_000);
});
