import iconv from 'iconv-lite';
import t from 'tap';
import { mail, type RawClient, setup } from './imap-support.js';

const day = (text: string): number => Date.parse(text) / 1000;

/** Sequence numbers that a search finds, as text. */
async function found(client: RawClient, keys: string): Promise<string> {
  const lines = await client.ok(`SEARCH ${keys}`);
  return lines[0]!.replace(/^\* SEARCH ?/, '');
}

async function withMail(t: Parameters<typeof setup>[0]) {
  const context = await setup(t, { now: () => Date.parse('2024-06-01T12:00:00Z') });
  const { alice } = context;
  alice.deliver(mail('Alpha report', 'The first body'), 'INBOX', ['\\Seen', '\\Answered'], day('2024-01-10T23:59:59Z'));
  alice.deliver(
    mail('=?utf-8?q?Gr=C3=BC=C3=9Fe_aus_?= =?iso-8859-1?q?K=F6ln?=', 'Gr=C3=BC=C3=9Fe im Text, ganz gro=\r\n=C3=9F', [
      'Cc: =?utf-8?b?SsO8cmdlbg==?= <j@example.net>',
      'Content-Type: text/plain; charset=utf-8',
      'Content-Transfer-Encoding: quoted-printable',
      'X-Empty:',
    ]),
    'INBOX',
    ['\\Flagged', 'Work', '\\Draft'],
    day('2024-01-11T00:00:00Z'),
  );
  const old = mail('Beta', 'Needle\r\nwrapped', ['Bcc: Secret <hidden@example.com>']).toString();
  alice.deliver(
    Buffer.from(old.replace('Mon, 1 Jan 2024', 'Sun, 31 Dec 2023')),
    'INBOX',
    ['\\Deleted'],
    day('2024-06-01T11:59:00Z'),
  );
  alice.deliver(Buffer.from('Subject: no date\r\n\r\nneedle'), 'INBOX', [], day('2024-06-01T11:00:00Z'));
  alice.mailbox('INBOX').listing.setFlags(3, '$account_work', 6);
  return context;
}

t.test('keys of flags, dates, sizes and sets', async (t) => {
  const { login } = await withMail(t);
  const client = await login('INBOX');
  const cases: readonly [string, string][] = [
    ['ALL', '1 2 3 4'],
    ['SEEN', '1'],
    ['UNSEEN', '2 3 4'],
    ['ANSWERED', '1'],
    ['UNANSWERED', '2 3 4'],
    ['FLAGGED', '2'],
    ['UNFLAGGED', '1 3 4'],
    ['DELETED', '3'],
    ['UNDELETED', '1 2 4'],
    ['DRAFT', '2'],
    ['UNDRAFT', '1 3 4'],
    ['KEYWORD work', '2'],
    ['UNKEYWORD Work', '1 3 4'],
    ['KEYWORD $account_work', '4'],
    ['KEYWORD never', ''],
    ['RECENT', '1 2 3 4'],
    ['NEW', '2 3 4'],
    ['OLD', ''],
    ['2:3', '2 3'],
    ['*', '4'],
    ['9', ''],
    ['UID 3:*', '3 4'],
    ['UID 9:*', '4'],
    ['NOT 1:3', '4'],
    ['LARGER 100', '1 2 3'],
    ['SMALLER 100', '4'],
    ['BEFORE 11-Jan-2024', '1'],
    ['ON 10-Jan-2024', '1'],
    ['ON "11-Jan-2024"', '2'],
    ['SINCE 11-jan-2024', '2 3 4'],
    ['SENTON 1-Jan-2024', '1 2'],
    ['SENTBEFORE 1-Jan-2024', '3'],
    ['SENTSINCE 1-Jan-2024', '1 2 4'],
    ['YOUNGER 60', '3'],
    ['YOUNGER 59', ''],
    ['OLDER 3600', '1 2 4'],
    ['OR SEEN FLAGGED', '1 2'],
    ['OR SEEN OR FLAGGED DELETED', '1 2 3'],
    ['(OR SEEN FLAGGED) UNSEEN', '2'],
    ['NOT (SEEN)', '2 3 4'],
    ['NOT NOT SEEN', '1'],
  ];
  for (const [keys, numbers] of cases) t.equal(await found(client, keys), numbers, keys);
});

t.test('keys of headers and text', async (t) => {
  const { login } = await withMail(t);
  const client = await login('INBOX');
  const utf8 = (text: string): string => `{${Buffer.byteLength(text)}+}\r\n${Buffer.from(text).toString('latin1')}`;
  const cases: readonly [string, string][] = [
    ['SUBJECT alpha', '1'],
    ['SUBJECT ""', '1 2 3 4'],
    ['SUBJECT "a report"', '1'],
    ['FROM BOB@', '1 2 3'],
    ['FROM "bob brown"', '1 2 3'],
    ['TO alice', '1 2 3'],
    ['CC j@example', '2'],
    ['BCC hidden', '3'],
    ['HEADER Message-ID <Beta@example.org>', '3'],
    ['HEADER X-Empty ""', '2'],
    ['HEADER X-Missing ""', ''],
    ['BODY needle', '3 4'],
    ['BODY beta', ''],
    ['TEXT beta', '3'],
    ['TEXT "subject: b"', '3'],
    ['BODY first SEEN', '1'],
    ['OR SUBJECT alpha BODY needle', '1 3 4'],
    ['NOT BODY needle', '1 2'],
    ['NOT SUBJECT alpha', '2 3 4'],
    ['UNSEEN NOT (OR SUBJECT alpha FROM bob)', '4'],
    [`CHARSET UTF-8 SUBJECT ${utf8('grüße aus köln')}`, '2'],
    [`SUBJECT ${utf8('KÖLN')}`, '2'],
    [`CHARSET UTF-8 CC ${utf8('Jürgen')}`, '2'],
    [`CHARSET UTF-8 BODY ${utf8('GRÜßE IM TEXT')}`, '2'],
    [`CHARSET UTF-8 BODY ${utf8('groß')}`, '2'],
    [`CHARSET ISO-8859-1 SUBJECT {4+}\r\n${iconv.encode('köln', 'latin1').toString('latin1')}`, '2'],
    ['CHARSET us-ascii SUBJECT beta', '3'],
  ];
  for (const [keys, numbers] of cases) t.equal(await found(client, keys), numbers, keys);
  t.equal(
    (await client.lines('SEARCH CHARSET X-NO-SUCH SUBJECT x'))[0],
    '. NO [BADCHARSET (US-ASCII UTF-8)] That charset is not known',
  );
  t.match((await client.lines(`SEARCH SUBJECT ${'x'.repeat(4_097)}`))[0], /^\. NO \[LIMIT\] /);
  for (const bad of [
    '',
    ' ',
    ' FOO',
    ' OR SEEN',
    ' NOT',
    ' ()',
    ' (SEEN',
    ' BEFORE yesterday',
    ' SAVEDON yesterday',
    ' EMAILID x.y',
  ]) {
    t.match((await client.lines(`SEARCH${bad}`))[0], /^\. BAD /, bad);
  }
});

t.test('UID SEARCH and ESEARCH', async (t) => {
  const { login } = await withMail(t);
  const client = await login('INBOX');
  await client.ok('UID EXPUNGE 3');
  const esearch = async (command: string): Promise<string> => {
    const lines = await client.lines(command);
    return lines.length === 1 ? '' : lines[0]!.replace(/TAG "t\d+"/, 'TAG');
  };
  t.same(await client.lines('UID SEARCH UNSEEN'), ['* SEARCH 2 4', '. OK SEARCH completed']);
  t.equal(await esearch('SEARCH RETURN (MIN MAX COUNT ALL) ALL'), '* ESEARCH (TAG) MIN 1 MAX 3 ALL 1:3 COUNT 3');
  t.equal(await esearch('UID SEARCH RETURN (ALL) ALL'), '* ESEARCH (TAG) UID ALL 1:2,4');
  t.equal(await esearch('UID SEARCH RETURN () ALL'), '* ESEARCH (TAG) UID ALL 1:2,4');
  t.equal(await esearch('UID SEARCH RETURN (COUNT MIN) KEYWORD never'), '* ESEARCH (TAG) UID COUNT 0');
  t.equal(await esearch('UID SEARCH RETURN (ALL) KEYWORD never'), '* ESEARCH (TAG) UID');
  t.equal(await esearch('UID SEARCH RETURN (MIN) SUBJECT e'), '* ESEARCH (TAG) UID MIN 1');
  t.match(await esearch('UID SEARCH RETURN (FOO) ALL'), '');
});

t.test('SEARCHRES: $ stands for the last saved result', async (t) => {
  const { login } = await withMail(t);
  const client = await login('INBOX');
  t.same(await client.lines('SEARCH RETURN (SAVE) UNSEEN'), ['. OK SEARCH completed'], 'nothing is told');
  t.match(await client.lines('FETCH $ UID'), ['* 2 FETCH (UID 2)', '* 3 FETCH (UID 3)', '* 4 FETCH (UID 4)', '. OK']);
  t.equal(await found(client, 'NOT $'), '1');
  t.equal(await found(client, 'UID $ FLAGGED'), '2');
  await client.ok('UID EXPUNGE $');
  t.match(
    await client.lines('FETCH $ UID'),
    ['* 2 FETCH (UID 2)', '* 3 FETCH (UID 4)', '. OK'],
    'what is gone leaves it',
  );
  await client.ok('SEARCH RETURN (SAVE MIN) ALL');
  t.match(await client.lines('UID FETCH $ UID'), ['* 1 FETCH (UID 1)', '. OK']);
  await client.ok('SEARCH RETURN (SAVE MIN MAX) ALL');
  t.match(await client.lines('UID FETCH $ UID'), ['* 1 FETCH (UID 1)', '* 3 FETCH (UID 4)', '. OK']);
  await client.lines('SEARCH RETURN (SAVE) CHARSET X-NO-SUCH SUBJECT x');
  t.same(await client.lines('FETCH $ UID'), ['. OK FETCH completed'], 'a failed search saves nothing');
  await client.ok('SEARCH RETURN (SAVE COUNT) ALL');
  t.equal((await client.lines('UID STORE $ +FLAGS (x)')).filter((line) => line.includes('FETCH (')).length, 3);
  await client.ok('SELECT INBOX');
  t.same(await client.lines('FETCH $ UID'), ['. OK FETCH completed'], 'SELECT empties it');
});

t.test('SEARCH only reads bodies that nothing cheaper decides', async (t) => {
  const read: number[] = [];
  const { login, alice } = await setup(t, {
    wrap: (memory) => ({
      login: async (name, password) => {
        const session = await memory.login(name, password);
        if (session === null) return null;
        const open = session.open.bind(session);
        session.open = async (mailbox) => {
          const opened = await open(mailbox);
          const body = opened.body.bind(opened);
          opened.body = async (uid) => {
            read.push(uid);
            return body(uid);
          };
          return opened;
        };
        return session;
      },
    }),
  });
  for (const [subject, flags] of [
    ['a', ['\\Seen']],
    ['b', []],
    ['c', []],
  ] as const)
    alice.deliver(mail(subject), 'INBOX', flags);
  const client = await login('INBOX');
  t.equal(await found(client, 'BODY hello SUBJECT b UNSEEN'), '2');
  t.same(read, [2]);
  t.equal(await found(client, 'OR SEEN BODY hello'), '1 2 3');
  t.same(read.slice(1), [2, 3]);
  t.equal(await found(client, 'TEXT "subject: c" UNSEEN'), '3');
  t.same(read.slice(3), [2], 'the header decides for the third');
});
