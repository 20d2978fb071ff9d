import t from 'tap';
import { mail, type RawClient, setup } from './imap-support.js';

const utf8 = (text: string): string => Buffer.from(text).toString('latin1');

async function literal8(client: RawClient, start: string, octets: Buffer, end = ''): Promise<string> {
  const tag = client.tag();
  client.send(`${tag} ${start}~{${octets.length}+}\r\n`);
  client.send(octets);
  client.send(`${end}\r\n`);
  return client.tagged(tag);
}

t.test('ENABLE UTF8=ACCEPT: names go both ways in UTF-8', async (t) => {
  const { login } = await setup(t, { users: [{ name: 'alice', password: 'secret', mailboxes: {} }] });
  const client = await login();
  await client.ok('CREATE "Entw&APw-rfe"');
  t.same(await client.lines('ENABLE UTF8=ACCEPT'), ['* ENABLED UTF8=ACCEPT', '. OK ENABLE completed']);
  t.ok((await client.lines('LIST "" "*"')).includes(utf8('* LIST (\\HasNoChildren) "/" "Entwürfe"')));
  await client.ok(utf8('CREATE "日本/R&D"'));
  t.same(await client.lines(utf8('STATUS "日本/R&D" (MESSAGES)')), [
    utf8('* STATUS "日本/R&D" (MESSAGES 0)'),
    '. OK STATUS completed',
  ]);
  await client.ok(utf8('SUBSCRIBE "日本/R&D"'));
  t.ok((await client.lines('LSUB "" "*"')).includes(utf8('* LSUB () "/" "日本/R&D"')));
  t.same(await client.lines(utf8('LIST "" "日本/%" RETURN (STATUS (MESSAGES))')), [
    utf8('* LIST (\\HasNoChildren) "/" "日本/R&D"'),
    utf8('* STATUS "日本/R&D" (MESSAGES 0)'),
    '. OK LIST completed',
  ]);
  t.match((await client.lines('SELECT "\xff\xfe"')).at(-1), /^\. BAD /, 'not UTF-8');
  t.match((await client.lines(utf8('CREATE "a\u2028b"'))).at(-1), /^\. BAD /, 'a line separator');
  const other = await login();
  t.ok((await other.lines('LIST "" "*"')).includes('* LIST (\\HasNoChildren) "/" "&ZeVnLA-/R&-D"'), 'others as before');
});

t.test('UTF8=ACCEPT: SEARCH takes UTF-8 and no CHARSET', async (t) => {
  const { login, alice } = await setup(t);
  alice.deliver(mail('=?utf-8?q?Gr=C3=BC=C3=9Fe?='));
  const client = await login();
  await client.ok('ENABLE UTF8=ACCEPT');
  await client.ok('SELECT INBOX');
  t.equal((await client.lines(utf8('SEARCH SUBJECT "GRÜSSE"')))[0], '* SEARCH', 'ß and SS are two things');
  t.equal((await client.lines(utf8('SEARCH SUBJECT "grüße"')))[0], '* SEARCH 1');
  t.match((await client.lines('SEARCH CHARSET UTF-8 ALL')).at(-1), /^\. BAD /);
  t.match((await client.lines('SEARCH SUBJECT "\xff"')).at(-1), /^\. BAD /);
});

t.test('UTF8=ACCEPT: APPEND UTF8 (literal8) only after ENABLE', async (t) => {
  const { login, alice } = await setup(t);
  const client = await login();
  const bytes = mail('Grüße');
  t.match(await literal8(client, 'APPEND INBOX UTF8 (', bytes, ')'), /^\. NO /);
  await client.ok('ENABLE UTF8=ACCEPT');
  t.match(await literal8(client, 'APPEND INBOX UTF8 (', bytes, ')'), /^\. OK \[APPENDUID /);
  t.strictSame(alice.mailbox('INBOX').message(1)?.bytes, bytes);
});

t.test('IMAP4rev2: no RECENT, LIST in SELECT, ESEARCH always', async (t) => {
  const { login, alice, connect } = await setup(t);
  t.match((await connect()).greeting, /IMAP4rev1 IMAP4rev2 /);
  for (const subject of ['a', 'b', 'c']) alice.deliver(mail(subject));
  const client = await login();
  t.same(await client.lines('ENABLE IMAP4rev2'), ['* ENABLED IMAP4rev2', '. OK ENABLE completed']);
  const selected = await client.ok('SELECT inbox');
  t.notMatch(selected.join('\n'), /RECENT|UNSEEN/i);
  t.ok(selected.includes('* LIST () "/" "INBOX"'));
  t.same(await client.lines('FETCH 1 (FLAGS)'), ['* 1 FETCH (FLAGS ())', '. OK FETCH completed']);
  const tagged = async (command: string): Promise<string> =>
    (await client.ok(command))[0]!.replace(/TAG "[^"]*"/, 'TAG');
  t.equal(await tagged('SEARCH ALL'), '* ESEARCH (TAG) ALL 1:3');
  t.equal(await tagged('UID SEARCH SUBJECT nothing'), '* ESEARCH (TAG) UID');
  t.equal(await tagged('SEARCH RETURN (COUNT MAX) 2:3'), '* ESEARCH (TAG) MAX 3 COUNT 2');
  alice.deliver(mail('d'));
  t.same(await client.lines('NOOP'), ['* 4 EXISTS', '. OK NOOP completed']);
  await client.ok(utf8('CREATE "Ablage/Ü"'));
  t.ok((await client.lines('LIST "" "Ablage/*"')).includes(utf8('* LIST (\\HasNoChildren) "/" "Ablage/Ü"')));
  const old = await login('INBOX');
  t.match((await old.lines('FETCH 4 (FLAGS)'))[0], 'Recent', 'rev2 claims nothing from others');
});

const PARTS = Buffer.from(
  [
    'From: a@example.org',
    'Content-Type: multipart/mixed; boundary=b',
    '',
    '--b',
    'Content-Type: text/plain; charset=utf-8',
    'Content-Transfer-Encoding: quoted-printable',
    '',
    'Gr=C3=BC=C3=9Fe=20',
    '--b',
    'Content-Type: application/octet-stream',
    'Content-Transfer-Encoding: BASE64',
    '',
    Buffer.from([0, 1, 2, 3, 255]).toString('base64'),
    '--b',
    'Content-Transfer-Encoding: x-rot13',
    '',
    'uryyb',
    '--b--',
    '',
  ].join('\r\n'),
);

t.test('BINARY: parts come decoded, with NUL as literal8', async (t) => {
  const { login, alice } = await setup(t);
  alice.deliver(PARTS);
  const client = await login('INBOX');
  const fetch = async (items: string): Promise<string> => client.raw(`FETCH 1 (${items})`);
  const end = '. OK FETCH completed\r\n';
  t.equal(await fetch('BINARY.PEEK[1]'), `* 1 FETCH (BINARY[1] {8}\r\n${utf8('Grüße ')})\r\n${end}`);
  t.equal(await fetch('BINARY.PEEK[2]'), `* 1 FETCH (BINARY[2] ~{5}\r\n\0\x01\x02\x03\xff)\r\n${end}`);
  t.equal(
    await fetch('BINARY.PEEK[2]<1.2>'),
    `* 1 FETCH (BINARY[2]<1> {2}\r\n\x01\x02)\r\n${end}`,
    'partial of the decoded',
  );
  t.equal(await fetch('BINARY.PEEK[2]<9.2>'), `* 1 FETCH (BINARY[2]<9> {0}\r\n)\r\n${end}`);
  t.equal(await fetch('BINARY.SIZE[1] BINARY.SIZE[2]'), `* 1 FETCH (BINARY.SIZE[1] 8 BINARY.SIZE[2] 5)\r\n${end}`);
  t.equal(await fetch('BINARY.PEEK[7]'), `* 1 FETCH (BINARY[7] NIL)\r\n${end}`);
  t.equal(
    await fetch('BINARY.PEEK[]'),
    `* 1 FETCH (BINARY[] {${PARTS.length}}\r\n${PARTS.toString('latin1')})\r\n${end}`,
  );
  t.match(await fetch('BINARY.PEEK[3]'), /^\. NO \[UNKNOWN-CTE\]/);
  t.match(await fetch('BINARY.SIZE[3]'), /^\. NO \[UNKNOWN-CTE\]/);
  t.match(await fetch('FLAGS'), /FLAGS \(\\Recent\)/, 'PEEK and SIZE leave \\Seen alone');
  t.match(await fetch('BINARY[1]'), /FLAGS \(\\Seen \\Recent\)/);
});

t.test('BINARY: a part larger than what is kept is decoded again, to the same octets', async (t) => {
  const { login, alice } = await setup(t);
  const content = Buffer.alloc(3_000_000, 'abcdefg\0');
  const head = 'Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n';
  alice.deliver(Buffer.from(head + content.toString('base64').replace(/.{76}/g, '$&\r\n')));
  const client = await login('INBOX');
  t.match(await client.lines('FETCH 1 (BINARY.SIZE[1])'), [/BINARY\.SIZE\[1\] 3000000\)/]);
  const text = await client.raw('FETCH 1 (BINARY.PEEK[1])');
  const start = text.indexOf('\r\n') + 2;
  t.ok(text.startsWith('* 1 FETCH (BINARY[1] ~{3000000}\r\n'));
  t.ok(content.equals(Buffer.from(text.slice(start, start + content.length), 'latin1')));
});

t.test('BINARY: APPEND takes literal8, but no NUL, since an upstream may not', async (t) => {
  const { login, alice, connect } = await setup(t);
  const client = await login();
  t.match(await literal8(client, 'APPEND INBOX ', mail('a')), /^\. OK \[APPENDUID /);
  t.match(await literal8(client, 'APPEND INBOX ', mail('a', 'x\0y')), /^\. NO \[UNKNOWN-CTE\]/);
  t.equal(alice.mailbox('INBOX').listing.length, 1);
  t.match(await literal8(client, 'SELECT ', Buffer.from('INBOX')), /^\. BAD /, 'elsewhere it is refused');
  const stranger = await connect();
  t.match(await literal8(stranger, 'LOGIN alice ', Buffer.from('secret')), /^\. BAD /);
});
