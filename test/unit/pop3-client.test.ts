import { once } from 'node:events';
import { connect } from 'node:net';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { ReplyFramer } from '../../src/upstream/pop3/framer.js';
import { openPop3 } from '../../src/upstream/pop3/login.js';
import { Pop3Connection } from '../../src/upstream/pop3/connection.js';
import { MAX_REPLY_LINE, MAX_TOP } from '../../src/upstream/pop3/limits.js';
import { Pop3Session } from '../../src/upstream/pop3/session.js';
import { listMails } from '../../src/upstream/pop3/listing.js';
import { DEFAULT_TIMING } from '../../src/upstream/timing.js';
import { Secret } from '../../src/util/secret.js';
import { dotStuffed, type Pop3Behaviour, Pop3Fake } from '../harness/pop3-fake.js';

type Answer = { status: string; lines: string[]; body: Buffer };

/** Reads answers of these kinds from `bytes`, cut at `cuts`. */
function answers(bytes: Buffer, kinds: readonly ('single' | 'lines' | 'body')[], cuts: readonly number[]): Answer[] {
  const found: Answer[] = [];
  let next = 0;
  let ended = 0;
  const framer = new ReplyFramer(() => {
    const kind = kinds[next];
    if (kind === undefined) return null;
    next += 1;
    const answer: Answer = { status: '', lines: [], body: Buffer.alloc(0) };
    found.push(answer);
    return {
      status: (status, text) => {
        answer.status = `${status} ${text}`;
        return status === 'ok' ? kind : 'single';
      },
      line: (text) => void answer.lines.push(text),
      body: (part) => {
        answer.body = Buffer.concat([answer.body, part]);
      },
      end: () => {
        ended += 1;
      },
    };
  });
  let at = 0;
  for (const cut of [...cuts, bytes.length]) {
    framer.push(bytes.subarray(at, cut));
    at = cut;
  }
  if (ended !== found.length) throw new Error(`${ended} of ${found.length} answers ended`);
  return found;
}

const BODY = Buffer.from('A: b\r\n.\r\n..\r\n.x\r\n\r\r\n.\rq\r\nbare\n.\nlf\r\n.\r.\r\n\r\nend\r\n', 'latin1');

t.test('ReplyFramer: every split of a session gives the same answers', async (t) => {
  const wire = Buffer.concat([
    Buffer.from('+OK hello\r\n-ERR [IN-USE] busy\r\n+OK\r\n1 a\r\n..2 b\r\n.\r\n+OK 120 octets\r\n'),
    dotStuffed(BODY),
    Buffer.from('.\r\n+OK\r\n.\r\n+OK\n+ challenge\r\n'),
  ]);
  const kinds = ['single', 'lines', 'lines', 'body', 'body', 'single', 'single'] as const;
  const expected = answers(wire, kinds, []);
  t.same(
    expected.map(({ status }) => status),
    ['ok hello', 'error [IN-USE] busy', 'ok ', 'ok 120 octets', 'ok ', 'ok ', 'more challenge'],
  );
  t.same(expected[2]?.lines, ['1 a', '.2 b']);
  t.same(expected[3]?.body, BODY);
  t.same(expected[4]?.body, Buffer.alloc(0));
  for (let one = 0; one <= wire.length; one += 1) {
    for (let two = one; two <= Math.min(wire.length, one + 6); two += 1) {
      const got = answers(wire, kinds, [one, two]);
      if (JSON.stringify(got) !== JSON.stringify(expected)) t.fail(`split at ${one} and ${two}`);
    }
  }
  const bytewise = answers(
    wire,
    kinds,
    Array.from({ length: wire.length }, (_, n) => n),
  );
  t.same(bytewise, expected, 'octet by octet');
});

t.test('ReplyFramer: any mail comes out as it went in, in any pieces', async () => {
  const octet = fc.constantFrom('.', '\r', '\n', '\r\n', '\r\n.', 'a', '..', '.\r\n', '\0', '\xff');
  fc.assert(
    fc.property(fc.array(octet, { maxLength: 60 }), fc.array(fc.nat(120), { maxLength: 8 }), (parts, cuts) => {
      const text = parts.join('');
      const mail = Buffer.from(text.endsWith('\r\n') || text === '' ? text : `${text}\r\n`, 'latin1');
      const wire = Buffer.concat([Buffer.from('+OK\r\n'), dotStuffed(mail), Buffer.from('.\r\n')]);
      const sorted = cuts.filter((cut) => cut <= wire.length).sort((a, b) => a - b);
      return answers(wire, ['body'], sorted)[0]!.body.equals(mail);
    }),
    { numRuns: 5_000 },
  );
});

t.test('ReplyFramer: what is no answer, or too long, breaks the protocol', async (t) => {
  const at = (text: string) => (): unknown => answers(Buffer.from(text), ['lines'], []);
  t.throws(at('* OK imap\r\n'), { code: 'protocol' });
  t.throws(at('+OK\r\n.\r\n+OK nobody asked\r\n'), { code: 'protocol' });
  t.throws(at(`+OK ${'x'.repeat(MAX_REPLY_LINE)}\r\n`), { code: 'protocol' });
  t.throws(at(`+OK\r\n${'x'.repeat(MAX_REPLY_LINE + 1)}`), { code: 'protocol' });
  const longest = `+OK ${'x'.repeat(MAX_REPLY_LINE - 6)}\r\n.\r\n`;
  t.equal(answers(Buffer.from(longest), ['lines'], [])[0]?.status.length, MAX_REPLY_LINE - 3);
});

async function fakeServer(t: Test, behaviour: Partial<Pop3Behaviour> = {}): Promise<Pop3Fake> {
  const fake = await Pop3Fake.start(behaviour);
  t.teardown(() => fake.stop());
  return fake;
}

async function session(
  fake: Pop3Fake,
  auth: { password?: string; mechanism?: 'xoauth2' } = {},
  silenceMs = 2_000,
): Promise<Pop3Session> {
  const account = {
    endpoint: { host: '127.0.0.1', port: fake.port, tls: 'none' as const, ca: null },
    auth: {
      username: 'alice',
      password: new Secret(auth.password ?? 'secret'),
      ...(auth.mechanism === undefined ? {} : { mechanism: auth.mechanism }),
    },
  };
  return new Pop3Session(await openPop3(account, { ...DEFAULT_TIMING, silenceMs }, new AbortController().signal));
}

t.test('openPop3: takes the best way to log in that the server offers', async (t) => {
  const cases: [Partial<Pop3Behaviour>, Parameters<typeof session>[1], RegExp][] = [
    [{}, {}, /^AUTH PLAIN AGFsaWNl/],
    [{ capabilities: ['UIDL'] }, {}, /^USER alice$/],
    [{ capabilities: null }, {}, /^USER alice$/],
    [{ capabilities: ['SASL XOAUTH2'] }, { mechanism: 'xoauth2' }, /^AUTH XOAUTH2 /],
  ];
  for (const [behaviour, auth, expected] of cases) {
    const fake = await fakeServer(t, behaviour);
    const open = await session(fake, auth);
    t.match(fake.sessions[0]?.[1], expected);
    await open.leave();
  }
  const fake = await fakeServer(t, { password: 'p'.repeat(300) });
  await (await session(fake, { password: 'p'.repeat(300) })).leave();
  t.equal(fake.sessions[0]?.[1], 'AUTH PLAIN', 'a response that is too long for the line comes after the challenge');
});

t.test('openPop3: says what a person can change and what only time can', async (t) => {
  const wrong = await fakeServer(t);
  await t.rejects(session(wrong, { password: 'wrong horse' }), { code: 'authentication', message: /\[AUTH\] no/ });
  const refusals: [string, string][] = [
    ['-ERR [IN-USE] locked', 'connection'],
    ['-ERR [LOGIN-DELAY] wait', 'connection'],
    ['-ERR [SYS/TEMP] later', 'connection'],
    ['-ERR mailbox is locked by another session', 'connection'],
    ['-ERR bad login', 'authentication'],
  ];
  for (const [answer, code] of refusals) {
    const script = (command: string): string | null => (command.startsWith('AUTH') ? `${answer}\r\n` : null);
    const fake = await fakeServer(t, { script });
    const error = await session(fake, { password: 'top secret' }).catch((thrown: unknown) => thrown as Error);
    t.match(error, { code }, answer);
    t.notMatch(String(error), 'top secret');
  }
  const endless = await fakeServer(t, { script: (line) => (/^(AUTH|\*|AGF)/.test(line) ? '+ more\r\n' : null) });
  await t.rejects(session(endless, { password: 'x'.repeat(300) }), { code: 'protocol' });
  const silent = await fakeServer(t, { script: (line) => (line === 'CAPA' ? '' : null) });
  await t.rejects(session(silent, {}, 50), { code: 'timeout' });
});

t.test('Pop3Session: listings that break the protocol end the session', async (t) => {
  const bad: [string, string][] = [
    ['UIDL', '+OK\r\n1 a b\r\n.\r\n'],
    ['UIDL', '+OK\r\n1\r\n.\r\n'],
    ['UIDL', '+OK\r\n0 a\r\n.\r\n'],
    ['UIDL', '+OK\r\n9999999999 a\r\n.\r\n'],
    ['UIDL', '+OK\r\n1 a\r\n1 b\r\n.\r\n'],
    ['UIDL', `+OK\r\n1 ${'x'.repeat(300)}\r\n.\r\n`],
    ['UIDL', '+OK\r\n1 \x07\r\n.\r\n'],
    ['LIST', '+OK\r\n1 many\r\n.\r\n'],
    ['STAT', '+OK none\r\n'],
    ['STAT', '+OK 99999999 1\r\n'],
  ];
  for (const [command, answer] of bad) {
    const fake = await fakeServer(t, { script: (line) => (line === command ? answer : null) });
    const open = await session(fake);
    const ask = async (): Promise<unknown> =>
      command === 'UIDL' ? open.uidl() : command === 'LIST' ? open.list() : open.stat();
    await t.rejects(ask(), { code: 'protocol' }, `${command}: ${answer}`);
    open.close();
  }
  const fake = await fakeServer(t, {
    script: (line) =>
      line.startsWith('TOP') ? `+OK\r\n${`${'h'.repeat(1_000)}\r\n`.repeat(MAX_TOP / 1_000)}.\r\n` : null,
  });
  fake.add('a');
  await t.rejects((await session(fake)).top(1), { code: 'protocol' });
});

t.test('Pop3Session: pipelined answers go to whoever asked', async (t) => {
  const fake = await fakeServer(t, { piece: 3 });
  const mails = Array.from({ length: 20 }, (_, n) => `Subject: ${n}\r\n\r\n.${n}\r\n..\r\n${'x'.repeat(n * 10)}\r\n`);
  for (const bytes of mails) fake.add(bytes);
  const open = await session(fake);
  const read = await Promise.all(
    mails.map(async (_, n) => {
      const parts: Buffer[] = [];
      // Holding the server back must change nothing.
      await open.retr(n + 1, (bytes) => {
        parts.push(Buffer.from(bytes));
        return n % 3 === 0 ? new Promise<void>((resolve) => setImmediate(resolve)) : undefined;
      });
      return Buffer.concat(parts).toString();
    }),
  );
  t.same(read, mails);
  await t.rejects(
    open.retr(99, () => undefined),
    { code: 'refused' },
  );
  t.match(await open.stat(), { count: 20 }, 'a refusal is not the end of the session');
  await open.leave();
});

t.test('Pop3Connection: a sink that fails ends the connection with its reason', async (t) => {
  const fake = await fakeServer(t);
  fake.add('a\r\n'.repeat(1_000));
  const open = await session(fake);
  await t.rejects(
    open.retr(1, async () => {
      throw Object.assign(new Error('disk full'));
    }),
    { message: /disk full/ },
  );
  t.ok(open.closed);
  const socket = connect(fake.port, '127.0.0.1');
  await once(socket, 'connect');
  const connection = new Pop3Connection(socket, 1_000);
  connection.close(new Error('over'));
  await t.rejects(connection.send('ask', 'NOOP'), { code: 'connection', message: /over/ });
});

t.test('listMails: names for every mail, made from what there is where the server gives none', async (t) => {
  const full = await fakeServer(t);
  full.add('Subject: a\r\n\r\n1\r\n', 'same');
  full.add('Subject: a\r\n\r\n1\r\n', 'same');
  const open = await session(full);
  const listing = await listMails(open);
  t.same(listing.mails, [
    { number: 1, uidl: 'same' },
    { number: 2, uidl: 'same 2' },
  ]);
  await open.leave();
  for (const top of [true, false]) {
    const poor = await fakeServer(t, { capabilities: null, uidl: false, top });
    poor.add('Subject: a\r\n\r\n1\r\n');
    poor.add('Subject: b\r\n\r\n1\r\n');
    poor.add('Subject: b\r\n\r\n1\r\n');
    const first = await listMails(await session(poor));
    t.equal(new Set(first.mails.map(({ uidl }) => uidl)).size, 3, 'each has a name');
    poor.mails.splice(0, 1);
    if (top) poor.mails[0] = { uidl: '', bytes: Buffer.from('Status: RO\r\nSubject: b\r\n\r\n1\r\n') };
    const later = await listMails(await session(poor), first);
    t.same(
      later.mails.map(({ uidl }) => uidl),
      first.mails.slice(1).map(({ uidl }) => uidl),
      'which it keeps when numbers change',
    );
    const before = poor.sent(top ? 'TOP' : 'RETR');
    await listMails(await session(poor), later);
    t.equal(poor.sent(top ? 'TOP' : 'RETR'), before, 'and none is looked at again when nothing changed');
  }
});
