import { Writable } from 'node:stream';
import t from 'tap';
import type { Mailbox, UserSession } from '../../src/imap/backend.js';
import { DEFAULT_LIMITS } from '../../src/imap/limits.js';
import { Output } from '../../src/imap/output.js';
import { MergeboxError } from '../../src/util/errors.js';
import { mail, setup } from './imap-support.js';

const PARTS = Buffer.from(
  [
    'From: Bob <bob@example.org>',
    'To: alice@example.org',
    'Subject: parts',
    'Date: Mon, 1 Jan 2024 10:00:00 +0100',
    'MIME-Version: 1.0',
    'Content-Type: multipart/mixed; boundary=outer',
    '',
    'preamble',
    '--outer',
    'Content-Type: text/plain',
    '',
    'first',
    '--outer',
    'Content-Type: message/rfc822',
    '',
    'From: Carol <carol@example.org>',
    'Subject: inner',
    'Content-Type: multipart/alternative; boundary=inner',
    '',
    '--inner',
    'Content-Type: text/plain',
    'X-Part: yes',
    '',
    'plain inner',
    '--inner',
    'Content-Type: text/html',
    '',
    '<b>inner</b>',
    '--inner--',
    'after inner',
    '--outer--',
    'epilogue',
    '',
  ].join('\r\n'),
);

/** `label {n}` CRLF octets, as a response has it. */
const section = (label: string, octets: string): string => `${label} {${octets.length}}\r\n${octets}`;

t.test('attributes and macros', async (t) => {
  const { login, alice } = await setup(t);
  const bytes = mail('one');
  alice.deliver(bytes, 'INBOX', ['\\Seen'], Date.UTC(2024, 0, 2, 3, 4, 5) / 1000);
  const client = await login();
  await client.ok('EXAMINE INBOX');
  const date = 'INTERNALDATE " 2-Jan-2024 03:04:05 +0000"';
  const size = `RFC822.SIZE ${bytes.length}`;
  const envelope =
    'ENVELOPE ("Mon, 1 Jan 2024 10:00:00 +0100" "one" (("Bob Brown" NIL "bob" "example.org")) (("Bob Brown" NIL "bob" "example.org")) (("Bob Brown" NIL "bob" "example.org")) (("Alice" NIL "alice" "example.org")) NIL NIL NIL "<one@example.org>")';
  const line = async (items: string): Promise<string> => (await client.lines(`FETCH 1 ${items}`))[0]!;
  const fast = `* 1 FETCH (FLAGS (\\Seen \\Recent) ${date} ${size}`;
  t.equal(await line('FAST'), `${fast})`);
  t.equal(await line('ALL'), `${fast} ${envelope})`);
  t.equal(await line('(ALL)'), `${fast} ${envelope})`, 'a macro in parentheses, as clients send it');
  t.match(await line('FULL'), `${fast} ${envelope} BODY ("text" "plain" `);
  t.match(await line('BODYSTRUCTURE'), /BODYSTRUCTURE \("text" "plain" .* NIL NIL NIL NIL\)\)$/);
  t.equal(await line('(UID MODSEQ)').then((text) => text), '* OK [HIGHESTMODSEQ 2] Highest');
  t.equal(await line('(UID MODSEQ)'), '* 1 FETCH (UID 1 MODSEQ (2))');
  t.same(await client.lines('UID FETCH 1 (FLAGS)'), [
    '* 1 FETCH (UID 1 FLAGS (\\Seen \\Recent))',
    '. OK FETCH completed',
  ]);
  t.same((await client.lines('UID FETCH 1 (FLAGS UID)'))[0], '* 1 FETCH (FLAGS (\\Seen \\Recent) UID 1)', 'UID once');
  for (const bad of [
    'FOO',
    '()',
    'BODY[1',
    'BODY[FOO]',
    'BODY[MIME]',
    'BINARY[HEADER]',
    '(FLAGS',
    'FLAGS (VANISHED)',
  ]) {
    t.match((await client.lines(`FETCH 1 ${bad}`))[0], /^\. BAD /, bad);
  }
  t.match((await client.lines('UID FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)'))[0], /^\. BAD /, 'QRESYNC is not enabled');
});

t.test('sections', async (t) => {
  const { login, alice } = await setup(t);
  alice.deliver(PARTS);
  alice.deliver(mail('flat', 'flat body'));
  const client = await login('INBOX');
  const text = PARTS.toString('latin1');
  const header = text.slice(0, text.indexOf('\r\n\r\n') + 4);
  const fetch = async (label: string, number = 1, command = label.replace('BODY', 'BODY.PEEK')): Promise<string> => {
    const raw = await client.raw(`FETCH ${number} ${command}`);
    return raw.slice(`* ${number} FETCH (`.length, raw.lastIndexOf(')\r\n. OK'));
  };
  const cases: readonly [string, string][] = [
    ['BODY[]', text],
    ['BODY[HEADER]', header],
    ['BODY[TEXT]', text.slice(header.length)],
    ['BODY[1]', 'first'],
    ['BODY[1.MIME]', 'Content-Type: text/plain\r\n\r\n'],
    ['BODY[2]', text.slice(text.indexOf('From: Carol'), text.indexOf('\r\n--outer--'))],
    ['BODY[2.HEADER]', text.slice(text.indexOf('From: Carol'), text.indexOf('--inner\r\n'))],
    ['BODY[2.TEXT]', text.slice(text.indexOf('--inner\r\n'), text.indexOf('\r\n--outer--'))],
    ['BODY[2.1]', 'plain inner'],
    ['BODY[2.2]', '<b>inner</b>'],
    ['BODY[2.1.MIME]', 'Content-Type: text/plain\r\nX-Part: yes\r\n\r\n'],
    ['BODY[HEADER.FIELDS (SUBJECT TO)]', 'To: alice@example.org\r\nSubject: parts\r\n\r\n'],
    ['BODY[2.HEADER.FIELDS (SUBJECT)]', 'Subject: inner\r\n\r\n'],
    ['BODY[2.HEADER.FIELDS.NOT (SUBJECT CONTENT-TYPE)]', 'From: Carol <carol@example.org>\r\n\r\n'],
    ['BODY[HEADER.FIELDS (X-NOT-THERE)]', '\r\n'],
  ];
  for (const [label, octets] of cases) t.equal(await fetch(label), section(label, octets), label);
  for (const label of ['BODY[3]', 'BODY[1.1]', 'BODY[2.3]', 'BODY[1.HEADER]', 'BODY[1.TEXT]', 'BODY[9.MIME]']) {
    t.equal(await fetch(label), `${label} NIL`, `${label} does not exist`);
  }
  t.equal(await fetch('BODY[1]', 2), section('BODY[1]', 'flat body\r\n'), 'part 1 of a mail that is no multipart');
  await t.test('partials', async (t) => {
    t.equal(await fetch('BODY[]<5>', 1, 'BODY.PEEK[]<5.4>'), section('BODY[]<5>', text.slice(5, 9)));
    t.equal(await fetch('BODY[]<0>', 1, 'BODY.PEEK[]<0.0>'), section('BODY[]<0>', ''));
    t.equal(await fetch('BODY[1]<0>', 1, 'BODY.PEEK[1]<0.256>'), section('BODY[1]<0>', 'first'));
    t.equal(await fetch('BODY[1]<9>', 1, 'BODY.PEEK[1]<9.5>'), section('BODY[1]<9>', ''));
    t.equal(await fetch('BODY[TEXT]<2>', 1, 'BODY.PEEK[TEXT]<2.3>'), section('BODY[TEXT]<2>', 'eam'));
    t.equal(await fetch('BODY[HEADER]<2>', 1, 'BODY.PEEK[HEADER]<2.3>'), section('BODY[HEADER]<2>', 'om:'));
  });
  await t.test('old names', async (t) => {
    t.equal(await fetch('RFC822.HEADER'), section('RFC822.HEADER', header));
    t.equal(await fetch('RFC822', 1, 'RFC822.PEEK'), section('RFC822', text), 'as Outlook asks');
  });
  t.same(
    (await client.lines('FETCH 1:2 FLAGS')).slice(0, 2),
    ['* 1 FETCH (FLAGS (\\Recent))', '* 2 FETCH (FLAGS (\\Recent))'],
    'none of it set \\Seen',
  );
  t.equal(
    await client.raw('FETCH 1 (RFC822.SIZE BODY.PEEK[1] UID BODY.PEEK[2.1])'),
    `* 1 FETCH (RFC822.SIZE ${text.length} ${section('BODY[1]', 'first')} UID 1 ${section('BODY[2.1]', 'plain inner')})\r\n. OK FETCH completed\r\n`,
  );
});

t.test('\\Seen', async (t) => {
  const { login, alice } = await setup(t);
  for (const subject of ['a', 'b', 'c', 'd']) alice.deliver(mail(subject));
  const client = await login('INBOX');
  const other = await login('INBOX');
  t.match(
    await client.raw('FETCH 1 BODY[HEADER]'),
    /^\* 1 FETCH \(FLAGS \(\\Seen \\Recent\) BODY\[HEADER\] \{/,
    'in the same response',
  );
  t.match(await client.raw('FETCH 1 BODY[]'), /^\* 1 FETCH \(BODY\[\] \{/, 'only when it changes');
  t.match(await client.raw('FETCH 2 (FLAGS RFC822.TEXT)'), /^\* 2 FETCH \(FLAGS \(\\Seen \\Recent\) RFC822\.TEXT \{/);
  const several = await client.lines('FETCH 3:4 BODY[TEXT]');
  t.match(several.slice(-3), [
    '* 3 FETCH (UID 3 FLAGS (\\Seen \\Recent))',
    '* 4 FETCH (UID 4 FLAGS (\\Seen \\Recent))',
    '. OK FETCH completed',
  ]);
  t.equal((await other.lines('SEARCH SEEN'))[0], '* SEARCH 1 2 3 4');
});

/** A backend whose mailboxes are changed by `change` before the front end sees them. */
const changed = (change: (mailbox: Mailbox) => void) => ({
  wrap: (memory: { login(user: string, password: string): Promise<UserSession | null> }) => ({
    login: async (name: string, password: string): Promise<UserSession | null> => {
      const session = await memory.login(name, password);
      if (session === null) return null;
      const open = session.open.bind(session);
      session.open = async (mailbox) => {
        const opened = await open(mailbox);
        change(opened);
        return opened;
      };
      return session;
    },
  }),
});

t.test('a body out of reach fails for its message alone and is not marked \\Seen', async (t) => {
  const { login, alice } = await setup(
    t,
    changed((mailbox) => {
      const body = mailbox.body.bind(mailbox);
      mailbox.body = async (uid) => {
        if (uid === 2) throw new MergeboxError('unavailable', 'account work cannot be reached');
        return body(uid);
      };
    }),
  );
  for (const subject of ['a', 'b', 'c']) alice.deliver(mail(subject));
  const client = await login('INBOX');
  const lines = await client.lines('FETCH 1:3 BODY[TEXT]');
  t.match(lines, ['* 1 FETCH (BODY[TEXT] {7}', 'Hello', ')', '* 3 FETCH (BODY[TEXT] {7}', 'Hello', ')']);
  t.equal(lines.at(-1), '. NO [UNAVAILABLE] 1 of 3 messages could not be read: account work cannot be reached');
  t.equal((await client.lines('SEARCH UNSEEN'))[0], '* SEARCH 2');
  t.match((await client.lines('FETCH 2 BODY[]')).at(-1), /^\. NO \[UNAVAILABLE\]/);
  t.match(
    (await client.lines('FETCH 2 (FLAGS ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER])')).at(-1),
    /^\. OK/,
    'metadata is local',
  );
  t.match((await client.lines('SEARCH TEXT nothing-like-that')).at(-1), /^\. NO \[UNAVAILABLE\]/);
});

t.test('a body that breaks off inside its literal ends the connection', async (t) => {
  const { login, alice, logged } = await setup(
    t,
    changed((mailbox) => {
      const body = mailbox.body.bind(mailbox);
      mailbox.body = async (uid) => {
        const found = await body(uid);
        return {
          size: found.size,
          read: async (start, end) => {
            if (start > 0) throw new MergeboxError('connection', 'the server hung up');
            return found.read(start, end);
          },
        };
      };
    }),
  );
  alice.append('INBOX', [{ bytes: Buffer.alloc(1_000_000, 'x'), flags: [] }]);
  const client = await login('INBOX');
  client.send('a FETCH 1 BODY.PEEK[]\r\n');
  const all = await client.closed();
  t.notMatch(all, /a (OK|NO)/, 'nothing is passed off as the rest of the mail');
  t.match(logged(), 'broke off');
});

t.test('a fault of the backend is SERVERBUG without detail, and the session goes on', async (t) => {
  const { login, alice, logged } = await setup(
    t,
    changed((mailbox) => {
      mailbox.store = async () => {
        throw new Error('table entry is locked');
      };
    }),
  );
  alice.deliver(mail('a'));
  const client = await login('INBOX');
  t.equal((await client.lines('STORE 1 +FLAGS (\\Seen)'))[0], '. NO [SERVERBUG] Internal error, see the server log');
  t.match(logged(), 'table entry is locked');
  t.match((await client.lines('NOOP'))[0], /^\. OK/);
});

t.test('a message expunged in the middle of a FETCH is left out', async (t) => {
  let atPage = (): void => undefined;
  const { login, alice } = await setup(
    t,
    changed((mailbox) => {
      const metadata = mailbox.metadata.bind(mailbox);
      mailbox.metadata = async function* (uids, wants) {
        for await (const page of metadata(uids, wants)) {
          atPage();
          yield page;
        }
      };
    }),
  );
  for (let i = 0; i < 3; i += 1) alice.deliver(mail(`m${i}`));
  const client = await login('INBOX');
  atPage = () => alice.mailbox('INBOX').remove([2]);
  t.same(await client.lines('FETCH 1:3 (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])'), [
    '* 1 FETCH (UID 1 BODY[HEADER.FIELDS (SUBJECT)] {15}',
    'Subject: m0',
    '',
    ')',
    '* 3 FETCH (UID 3 BODY[HEADER.FIELDS (SUBJECT)] {15}',
    'Subject: m2',
    '',
    ')',
    '. NO [EXPUNGEISSUED] Some of the messages are expunged',
  ]);
});

t.test('a big body arrives whole, and other clients are served meanwhile', async (t) => {
  const { login, alice } = await setup(t);
  const bytes = Buffer.alloc(5_000_000);
  for (let i = 0; i < bytes.length; i += 1) bytes[i] = 65 + (i % 26);
  bytes.write('Subject: big\r\n\r\n');
  alice.append('INBOX', [{ bytes, flags: [] }]);
  const client = await login('INBOX');
  const raw = await client.raw('FETCH 1 BODY.PEEK[]');
  t.ok(raw === `* 1 FETCH (${section('BODY[]', bytes.toString('latin1'))})\r\n. OK FETCH completed\r\n`);
  const partial = await client.raw('FETCH 1 BODY.PEEK[TEXT]<1000000.1000000>');
  t.ok(partial.includes(section('BODY[TEXT]<1000000>', bytes.toString('latin1', 1_000_016, 2_000_016))));
});

t.test('FETCH FLAGS of 50,000 mails never holds the event loop for 50 ms', async (t) => {
  const { login, alice } = await setup(t);
  const bytes = Buffer.from('Subject: x\r\n\r\n');
  alice.append(
    'INBOX',
    Array.from({ length: 50_000 }, (_, i) => ({ bytes, flags: i % 2 === 0 ? ['\\Seen'] : [] })),
  );
  const client = await login('INBOX');
  // The client's own reading must not count.
  client.socket.removeAllListeners('data');
  let octets = 0;
  let tail = '';
  let running = true;
  client.socket.on('data', (chunk: Buffer) => {
    octets += chunk.length;
    tail = (tail + chunk.toString('latin1', Math.max(0, chunk.length - 100))).slice(-100);
    if (tail.includes('\r\nz OK ')) running = false;
  });
  client.send('z UID FETCH 1:* (FLAGS)\r\n');
  // Processor time, so that a busy machine is not taken for a stall.
  let worst = 0;
  let last = process.cpuUsage();
  while (running) {
    await new Promise((resolve) => setImmediate(resolve));
    const { user, system } = process.cpuUsage(last);
    worst = Math.max(worst, user + system);
    last = process.cpuUsage();
  }
  t.ok(octets > 50_000 * 30);
  t.ok(worst < 50_000, `worst ${worst} microseconds`);
});

t.test('a fault in the middle of a response ends the connection: no reply is read as a part of it', async (t) => {
  const { login, alice, logged } = await setup(
    t,
    changed((mailbox) => {
      mailbox.metadata = async function* (uids) {
        yield uids.map((uid) => ({ uid }));
      };
    }),
  );
  alice.deliver(mail('a'));
  const client = await login('INBOX');
  client.send('a FETCH 1 (UID ENVELOPE)\r\n');
  const all = await client.closed();
  t.notMatch(all, /a (OK|NO|BAD)/);
  t.match(logged(), 'broke off');
});

t.test('Output sends what it is given, octet for octet, whatever the sizes', async (t) => {
  const sent: Buffer[] = [];
  const sink = new Writable({
    write: (chunk: Buffer | string, _encoding, done) => {
      sent.push(typeof chunk === 'string' ? Buffer.from(chunk, 'latin1') : Buffer.from(chunk));
      done();
    },
  });
  const out = new Output(sink, DEFAULT_LIMITS, () => undefined);
  const given: Buffer[] = [];
  let state = 1;
  const next = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  for (let n = 0; n < 3_000; n += 1) {
    const octets = Buffer.alloc(next(4) === 0 ? next(20_000) : next(300), 97 + (n % 26));
    given.push(octets);
    if (next(2) === 0) out.bytes(octets);
    else out.text(octets.toString('latin1'));
    if (out.full || next(20) === 0) out.flush();
  }
  out.flush();
  t.ok(Buffer.concat(sent).equals(Buffer.concat(given)));
});
