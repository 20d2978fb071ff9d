import t from 'tap';
import { mail, setup } from './imap-support.js';

const id = (lines: readonly string[], name: string): string =>
  lines
    .map((line) => new RegExp(`${name} \\(([A-Za-z0-9_-]+)\\)`).exec(line)?.[1])
    .find((each) => each !== undefined) ?? '';

t.test('OBJECTID: MAILBOXID in CREATE, SELECT and STATUS, kept over RENAME', async (t) => {
  const { login } = await setup(t);
  const client = await login();
  const created = id(await client.ok('CREATE Projects'), 'MAILBOXID');
  t.match(created, /^[A-Za-z0-9_-]{1,255}$/);
  await client.ok('RENAME Projects Old');
  t.equal(id(await client.ok('SELECT Old'), 'MAILBOXID'), created);
  t.same((await client.ok('STATUS Old (MAILBOXID)'))[0], `* STATUS "Old" (MAILBOXID (${created}))`);
  t.not(id(await client.ok('STATUS INBOX (MAILBOXID)'), 'MAILBOXID'), created);
});

t.test(
  'OBJECTID: EMAILID is the same after COPY and MOVE, THREADID follows References; both are searched',
  async (t) => {
    const { login, alice } = await setup(t);
    alice.deliver(mail('root'));
    alice.deliver(mail('Re: root', 'Hello', ['References: <root@example.org>']));
    alice.deliver(mail('other'));
    const client = await login('INBOX');
    const fetched = await client.ok('FETCH 1:3 (EMAILID THREADID)');
    const emails = fetched.slice(0, 3).map((line) => id([line], 'EMAILID'));
    const threads = fetched.slice(0, 3).map((line) => id([line], 'THREADID'));
    t.equal(new Set(emails).size, 3);
    t.equal(threads[0], threads[1]);
    t.not(threads[0], threads[2]);
    t.same((await client.ok(`SEARCH THREADID ${threads[0]}`))[0], '* SEARCH 1 2');
    t.same((await client.ok(`SEARCH NOT EMAILID ${emails[1]}`))[0], '* SEARCH 1 3');
    t.same((await client.ok(`SEARCH OR EMAILID ${emails[2]} EMAILID none`))[0], '* SEARCH 3');
    await client.ok('COPY 1 Archive');
    await client.ok('MOVE 3 Archive');
    await client.ok('SELECT Archive');
    const moved = await client.ok('UID FETCH 1:* EMAILID');
    t.same(
      moved.slice(0, 2).map((line) => id([line], 'EMAILID')),
      [emails[0], emails[2]],
    );
  },
);

t.test('OBJECTID: mail that names no other and has no name has no THREADID', async (t) => {
  const { login, alice } = await setup(t);
  alice.deliver(Buffer.from('Subject: x\r\n\r\n'));
  const client = await login('INBOX');
  t.match((await client.ok('FETCH 1 THREADID'))[0], '* 1 FETCH (THREADID NIL)');
});

t.test('SAVEDATE is when the message came into the mailbox; SAVED keys look at it', async (t) => {
  let now = Date.UTC(2024, 0, 10, 12);
  const { login, alice } = await setup(t, { now: () => now });
  alice.deliver(mail('old'), 'INBOX', [], 1_000_000);
  now = Date.UTC(2024, 0, 11, 12);
  alice.deliver(mail('new'));
  const client = await login('INBOX');
  t.match((await client.ok('FETCH 1 SAVEDATE'))[0], '* 1 FETCH (SAVEDATE "10-Jan-2024 12:00:00 +0000")');
  t.same((await client.ok('SEARCH SAVEDON 10-Jan-2024'))[0], '* SEARCH 1');
  t.same((await client.ok('SEARCH SAVEDBEFORE 11-Jan-2024'))[0], '* SEARCH 1');
  t.same((await client.ok('SEARCH SAVEDSINCE 11-Jan-2024'))[0], '* SEARCH 2');
  t.same((await client.ok('SEARCH NOT SAVEDSINCE 1-Jan-2030 SAVEDATESUPPORTED'))[0], '* SEARCH 1 2');
});

t.test(
  'PREVIEW is the beginning of the text: plain before HTML, without quotes and markup, at most 256 characters',
  async (t) => {
    const { login, alice } = await setup(t);
    const preview = async (...lines: string[]): Promise<string> => {
      alice.deliver(Buffer.from(lines.join('\r\n')));
      const client = await login('INBOX');
      const answer = await client.raw('FETCH * PREVIEW');
      client.destroy();
      return Buffer.from(
        /PREVIEW (?:"(.*)"|\{\d+\}\r\n([\s\S]*))\)\r\n\./.exec(answer)!.slice(1).join(''),
        'latin1',
      ).toString();
    };
    t.equal(await preview('Subject: x', '', 'Hello  there,', '', 'bye', '-- ', 'me'), 'Hello there, bye');
    t.equal(await preview('Subject: x', '', '> quoted', 'own'), 'own');
    t.equal(await preview('Subject: x', '', '> only quoted'), '> only quoted');
    t.equal(await preview('Subject: x', ''), '');
    t.equal(
      await preview(
        'Content-Type: text/plain; charset=iso-8859-1',
        'Content-Transfer-Encoding: quoted-printable',
        '',
        'gr=FC=DFe',
      ),
      'grüße',
    );
    t.equal(
      await preview(
        'Content-Type: text/html',
        '',
        '<html><head><title>no</title><style>p { x }</style></head><!-- > no --><p>A&amp;B &lt;ok&gt; &#228;&#xe4;</p><script>no</script>',
      ),
      'A&B <ok> ää',
    );
    const both = [
      '--b',
      'Content-Type: text/html',
      '',
      '<p>html',
      '--b',
      'Content-Type: text/plain',
      '',
      'plain',
      '--b--',
    ];
    t.equal(await preview('Content-Type: multipart/alternative; boundary=b', '', ...both), 'plain');
    const long = await preview('Subject: x', '', '\u{1f4e7}word '.repeat(200));
    t.ok([...long].length <= 256 && [...long].length > 150 && long.endsWith('word'), long);
    const client = await login('INBOX');
    t.match((await client.ok('FETCH 1 (UID PREVIEW (LAZY) FLAGS)'))[0], /^\* 1 FETCH \(UID 1 PREVIEW "Hello/);
    t.match((await client.ok('FETCH 1 PREVIEW (LAZY)'))[0], /PREVIEW "Hello/);
    t.match((await client.lines('FETCH 1 (PREVIEW (EAGER))'))[0], /^\. BAD /);
  },
);

t.test('PARTIAL takes a page of a result, from either end', async (t) => {
  const { login, alice } = await setup(t);
  for (let n = 1; n <= 10; n += 1) alice.deliver(mail(`mail ${n}`));
  const client = await login('INBOX');
  await client.ok('UID STORE 4 +FLAGS (\\Deleted)');
  await client.ok('EXPUNGE');
  const esearch = async (command: string): Promise<string> =>
    (await client.ok(command))[0]!.replace(/^\* ESEARCH \(TAG "[^"]+"\) /, '');
  t.equal(await esearch('UID SEARCH RETURN (PARTIAL 1:3) ALL'), 'UID PARTIAL (1:3 1:3)');
  t.equal(await esearch('UID SEARCH RETURN (PARTIAL 6:3) ALL'), 'UID PARTIAL (3:6 3,5:7)');
  t.equal(await esearch('UID SEARCH RETURN (PARTIAL -1:-2 COUNT) ALL'), 'UID PARTIAL (-1:-2 9:10) COUNT 9');
  t.equal(await esearch('UID SEARCH RETURN (PARTIAL -9:-100) ALL'), 'UID PARTIAL (-9:-100 1)');
  t.equal(await esearch('UID SEARCH RETURN (PARTIAL 10:20) ALL'), 'UID PARTIAL (10:20 NIL)');
  t.equal(await esearch('UID SORT RETURN (PARTIAL 1:2) (REVERSE ARRIVAL) UTF-8 UID 9:10'), 'UID PARTIAL (1:2 9:10)');
  await client.ok('UID SEARCH RETURN (SAVE PARTIAL -1:-2) ALL');
  t.same(
    (await client.ok('UID FETCH $ UID')).slice(0, -1).map((line) => line.replace(/.*UID/, '')),
    [' 9)', ' 10)'],
  );
  t.same(
    (await client.ok('UID FETCH 1:* (UID) (PARTIAL -2:-3)')).slice(0, -1).map((line) => line.replace(/.*UID/, '')),
    [' 8)', ' 9)'],
  );
  for (const bad of [
    'PARTIAL',
    'PARTIAL 0:1',
    'PARTIAL 1:-1',
    'PARTIAL 1:*',
    'PARTIAL 1:2 ALL',
    'PARTIAL 1:2 PARTIAL 3:4',
  ]) {
    t.match((await client.lines(`SEARCH RETURN (${bad}) ALL`))[0], /^\. BAD /, bad);
  }
});

t.test('REPLACE stores the new message and removes the old one, seen by another connection', async (t) => {
  const { login, alice } = await setup(t);
  alice.deliver(mail('draft one'), 'Drafts', ['\\Draft']);
  alice.deliver(mail('other'), 'Drafts');
  const client = await login('Drafts');
  const other = await login('Drafts');
  const body = mail('draft two').toString();
  const lines = await client.literal('REPLACE 1 Drafts (\\Draft)', body);
  t.match(lines[0], /^\* OK \[APPENDUID \d+ 3\]/);
  t.same(lines.slice(1, 4), ['* 1 EXPUNGE', '* 2 EXISTS', '* 2 RECENT']);
  t.match(lines.at(-1), /^\. OK /);
  t.same((await other.ok('NOOP')).slice(0, 2), ['* 1 EXPUNGE', '* 2 EXISTS']);
  t.match((await other.ok('FETCH 2 (UID FLAGS)'))[0], /UID 3 FLAGS \(\\Draft/);
  t.match((await client.literal('UID REPLACE 3 Sent', body)).at(-1), /^\. OK/);
  t.equal(alice.mailbox('Sent').listing.length, 1, 'into another mailbox as well');
  t.match((await client.literal('UID REPLACE 3 Sent', body)).at(-1), /^\. NO \[EXPUNGEISSUED\]/);
  t.equal(alice.mailbox('Sent').listing.length, 1, 'nothing is stored when there is nothing to replace');
  t.match((await client.literal('REPLACE 9 Sent', body)).at(-1), /^\. BAD /);
  t.match((await client.literal('REPLACE 1 Nowhere', body)).at(-1), /^\. NO \[TRYCREATE\]/);
  t.match((await client.literal('REPLACE 1 Sent', 'a\0b')).at(-1), /^\. NO \[CANNOT\]/);
  await client.ok('EXAMINE Drafts');
  t.match((await client.literal('REPLACE 1 Drafts', body)).at(-1), /^\. NO \[READ-ONLY\]/);
  t.equal(alice.mailbox('Drafts').listing.length, 1, 'none of these removed anything');
});

t.test('UIDBATCHES cuts the mailbox into ranges of UIDs, the newest first', async (t) => {
  const { login, alice } = await setup(t);
  const client = await login('INBOX');
  const ranges = async (args: string): Promise<string> =>
    (await client.ok(`UIDBATCHES ${args}`))[0]!.replace(/^\* UIDBATCHES \(TAG "[^"]+"\)/, '');
  t.equal(await ranges('500'), '', 'an empty mailbox has none');
  alice.append(
    'INBOX',
    Array.from({ length: 1_200 }, () => ({ bytes: mail('x'), flags: [] })),
  );
  alice.mailbox('INBOX').remove([1, 2, 700]);
  await client.ok('NOOP');
  t.equal(await ranges('500'), ' 1200:701,699:200,199:1');
  t.equal(await ranges('500 2:2'), ' 699:200');
  t.equal(await ranges('500 3:9'), ' 199:1');
  t.equal(await ranges('500 4:9'), '');
  t.equal(await ranges('1197'), ' 1200:1', 'the last one goes down to 1');
  t.equal(await ranges('500 1:200'), ' 1200:701,699:200,199:1', '100,000 messages at once');
  t.match((await client.lines('UIDBATCHES 500 1:201'))[0], /^\. NO \[TOOMANY\]/);
  t.match((await client.lines('UIDBATCHES 499'))[0], /^\. NO \[TOOFEW\]/);
  for (const bad of ['', ' x', ' 0', ' 500 1', ' 500 2:1', ' 500 0:1']) {
    t.match((await client.lines(`UIDBATCHES${bad}`))[0], /^\. BAD /, bad);
  }
});
