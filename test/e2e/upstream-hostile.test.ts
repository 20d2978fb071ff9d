import t, { type Test } from 'tap';
import type { FolderReader, Upstream } from '../../src/upstream/port.js';
import type { Timing } from '../../src/upstream/timing.js';
import { eventually } from '../harness/net.js';
import { FakeServer, type Script } from './upstream-fake.js';
import { type AccountOptions, allMessages, bodyOf, upstreamAt } from './upstream-support.js';

const QUICK: Partial<Timing> = { silenceMs: 1_500, handshakeMs: 1_500, connectMs: 3_000 };
const INBOX = { path: 'INBOX', uidValidity: 5 };

async function facing(
  t: Test,
  script: Script,
  options: AccountOptions & { greeting?: string; tls?: 'starttls' } = {},
): Promise<{ fake: FakeServer; upstream: Upstream }> {
  const fake = await FakeServer.start(script, options.greeting);
  t.teardown(() => fake.stop());
  const upstream = await upstreamAt(fake.target(options.tls), { timing: QUICK, ...options });
  t.teardown(() => upstream.disconnect());
  return { fake, upstream };
}

const flagsOf = (folder: FolderReader): Promise<unknown> => folder.flags(null);

t.test('garbage, false counts and endless data end the connection as protocol errors', async (t) => {
  const answers: Readonly<Record<string, (tag: string) => string>> = {
    'no IMAP': () => 'HTTP/1.1 400 Bad Request\r\n',
    'an answer to nothing': () => 'M999 OK done\r\n',
    'an unfinished FETCH': () => '* 1 FETCH (UID 1 FLAGS (\\Seen\r\n',
    'absurd literal': () => '* 1 FETCH (BODY[] {99999999999999}\r\n',
    'a literal nobody wants': () => '* LIST () "/" {9999999}\r\n',
    'deep nesting': () => `* 1 FETCH (UID 1 BODYSTRUCTURE ${'('.repeat(100_000)}\r\n`,
    'too many messages': () => '* 1 FETCH (UID 1 FLAGS ())\r\n'.repeat(10_100),
    'a line without end': () => 'x'.repeat(17_000_000),
  };
  for (const [name, answer] of Object.entries(answers)) {
    const { upstream } = await facing(t, (command, tag) => (command.startsWith('UID FETCH') ? answer(tag) : undefined));
    await t.rejects(upstream.read('INBOX', null, flagsOf), { code: 'protocol' }, name);
    t.match(await upstream.read('INBOX', null, async ({ state }) => state.exists), 3, `${name}: connects again`);
  }
});

t.test('sets that stand for billions are not spread out', async (t) => {
  const { upstream } = await facing(
    t,
    (command, tag) =>
      command.startsWith('UID SEARCH') ? `* ESEARCH (TAG "${tag}") UID ALL 1:4294967295\r\n${tag} OK\r\n` : undefined,
    { greeting: '* OK [CAPABILITY IMAP4rev1 ESEARCH AUTH=PLAIN SASL-IR] x\r\n' },
  );
  await t.rejects(
    upstream.read('INBOX', null, (folder) => folder.uids()),
    { code: 'protocol' },
  );
  const many = await facing(t, (command, tag) =>
    command.startsWith('EXAMINE') ? `* 4294967295 EXISTS\r\n* OK [UIDVALIDITY 5] x\r\n${tag} OK\r\n` : undefined,
  );
  await t.rejects(many.upstream.read('INBOX', null, flagsOf), { code: 'protocol' });
});

t.test('silence during a command is a timeout, and no timer runs while nothing is owed', async (t) => {
  const { upstream } = await facing(t, (command) => (command.startsWith('UID FETCH') ? '* OK wait\r\n' : undefined));
  await t.rejects(upstream.read('INBOX', null, flagsOf), { code: 'timeout' });
  await upstream.read('INBOX', null, async (folder) => {
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    t.strictSame([...(await folder.uids())], [1, 2, 3], 'a pause of ours is none of the server');
  });
  const mute = await facing(t, () => undefined, { greeting: '' });
  await t.rejects(mute.upstream.status(['INBOX']), { code: 'timeout' }, 'no greeting');
  await t.rejects(mute.upstream.connect(), { code: 'timeout' });
  const stalled = await facing(t, (command) => (command.startsWith('UID STORE') ? '* OK wait\r\n' : undefined));
  await t.rejects(stalled.upstream.storeFlags(INBOX, [1], { add: ['\\Seen'], remove: [] }), { code: 'timeout' });
});

t.test('a cut at any octet of a FETCH is a connection error', async (t) => {
  const answer = '* 1 FETCH (UID 1 FLAGS (\\Seen) BODY[] {20}\r\n01234567890123456789)\r\n';
  let cutAt = 0;
  const { upstream } = await facing(t, (command, _tag, connection) => {
    if (!command.startsWith('UID FETCH')) return undefined;
    connection.send(answer.slice(0, cutAt));
    return new Promise<void>((resolve) =>
      setImmediate(() => {
        connection.cut();
        resolve();
      }),
    );
  });
  for (cutAt = 0; cutAt < answer.length; cutAt += 7) {
    await t.rejects(bodyOf(upstream, INBOX, 1), { code: 'connection' }, `cut at ${cutAt}`);
  }
});

t.test('a BYE is told in the error', async (t) => {
  const { upstream } = await facing(t, (command, _tag, connection) => {
    if (!command.startsWith('UID FETCH')) return undefined;
    connection.send('* BYE maintenance until noon\r\n');
    return new Promise<void>((resolve) => setTimeout(() => resolve(connection.cut()), 5));
  });
  await t.rejects(upstream.read('INBOX', null, flagsOf), { code: 'connection', message: /maintenance until noon/ });
});

t.test('a refused login is told apart from a server that cannot tell now', async (t) => {
  for (const [answer, code] of [
    ['NO [AUTHENTICATIONFAILED] Invalid credentials', 'authentication'],
    ['NO Login failed.', 'authentication'],
    ['NO [UNAVAILABLE] Temporary authentication failure.', 'connection'],
    ['NO [LIMIT] Maximum number of connections exceeded', 'connection'],
    ['NO [ALERT] Too many simultaneous connections. (Failure)', 'connection'],
    ['NO [EXPIRED] Password expired, too many days', 'authentication'],
    ['BAD internal error', 'connection'],
  ] as const) {
    const { upstream } = await facing(t, (command, tag) =>
      command.startsWith('AUTHENTICATE') ? `${tag} ${answer}\r\n` : undefined,
    );
    await t.rejects(upstream.status(['INBOX']), { code }, `reader: ${answer}`);
    await t.rejects(upstream.connect(), { code }, `changes: ${answer}`);
  }
  const full = await facing(t, () => undefined, { greeting: '* BYE [UNAVAILABLE] come back later\r\n' });
  await t.rejects(full.upstream.status(['INBOX']), { code: 'connection', message: /come back later/ });
  await t.rejects(full.upstream.connect(), { code: 'connection' });
});

t.test('a password of any characters reaches the server, by SASL, quoted string and literal', async (t) => {
  const password = 'pä"ss\\w\u{1f511}';
  const sasl = await facing(t, () => undefined, { password });
  await sasl.upstream.status(['INBOX']);
  const initial = sasl.fake.commands.find((command) => command.startsWith('AUTHENTICATE'))?.split(' ')[2] ?? '';
  t.equal(Buffer.from(initial, 'base64').toString(), `\0alice\0${password}`);
  const challenge = await facing(
    t,
    (command, tag) => {
      if (command === 'AUTHENTICATE PLAIN') return '+ \r\n';
      return tag === Buffer.from(`\0alice\0${password}`).toString('base64') ? 'M1 OK in\r\n' : undefined;
    },
    { password, greeting: '* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] x\r\n' },
  );
  t.equal((await challenge.upstream.status(['INBOX'])).size, 1);
  const quoted = await facing(t, () => undefined, {
    password: 'a "b\\',
    greeting: '* OK [CAPABILITY IMAP4rev1] x\r\n',
  });
  await quoted.upstream.status(['INBOX']);
  t.ok(quoted.fake.commands.includes('LOGIN "alice" "a \\"b\\\\"'));
  const literal = await facing(
    t,
    (command, tag) => {
      if (/^LOGIN "alice" \{\d+\}$/.test(command)) return '+ go on\r\n';
      return tag.startsWith('p') ? 'M1 OK in\r\n' : undefined;
    },
    { password, greeting: '* OK [CAPABILITY IMAP4rev1] x\r\n' },
  );
  t.equal((await literal.upstream.status(['INBOX'])).size, 1);
  t.ok(literal.fake.latest.received.includes(Buffer.from(password).toString('latin1')));
  const disabled = await facing(t, () => undefined, { greeting: '* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] x\r\n' });
  await t.rejects(disabled.upstream.status(['INBOX']), { code: 'authentication' });
  t.notOk(disabled.fake.latest.received.includes('secret'));
});

t.test('STARTTLS is forced: without it no password leaves', async (t) => {
  const refuses: Script = (command, tag) => (command === 'STARTTLS' ? `${tag} NO not today\r\n` : undefined);
  for (const [name, greeting] of [
    ['refused', '* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN SASL-IR] x\r\n'],
    ['not offered', '* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] x\r\n'],
    ['PREAUTH', '* PREAUTH [CAPABILITY IMAP4rev1] x\r\n'],
  ] as const) {
    const { fake, upstream } = await facing(t, refuses, { greeting, tls: 'starttls' });
    await t.rejects(upstream.status(['INBOX']), { code: 'connection' }, `reader: ${name}`);
    await t.rejects(upstream.connect(), { code: 'connection' }, `changes: ${name}`);
    t.notOk(
      fake.commands.some((command) => /^(AUTHENTICATE|LOGIN|EXAMINE|SELECT|STATUS)/.test(command)),
      name,
    );
  }
  const injected = await facing(
    t,
    (command, tag) => (command === 'STARTTLS' ? `${tag} OK go\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n` : undefined),
    { tls: 'starttls', greeting: '* OK [CAPABILITY IMAP4rev1 STARTTLS] x\r\n' },
  );
  await t.rejects(injected.upstream.status(['INBOX']), 'what follows must be TLS');
  await t.rejects(injected.upstream.connect());
  t.notOk(injected.fake.connections.some(({ received }) => /AUTHENTICATE|LOGIN/.test(received)));
});

t.test('a huge body is streamed with back-pressure and little memory', async (t) => {
  const size = 60_000_000;
  const { upstream } = await facing(t, (command, tag, connection) => {
    if (!command.startsWith('UID FETCH')) return undefined;
    return (async () => {
      connection.send(`* 1 FETCH (UID 1 BODY[] {${size}}\r\n`);
      const block = Buffer.alloc(100_000, 'x');
      for (let sent = 0; sent < size && connection.open; sent += block.length) await connection.pour(block);
      connection.send(`)\r\n${tag} OK done\r\n`);
    })();
  });
  let announced = 0;
  let received = 0;
  let largest = 0;
  let busy = 0;
  let overlaps = 0;
  const before = process.memoryUsage();
  await upstream.fetchBody(INBOX, 1, {
    start: (octets) => {
      announced = octets;
    },
    chunk: (bytes) => {
      received += bytes.length;
      const { arrayBuffers } = process.memoryUsage();
      largest = Math.max(largest, arrayBuffers - before.arrayBuffers);
      busy += 1;
      overlaps += busy > 1 ? 1 : 0;
      return new Promise((resolve) =>
        setImmediate(() => {
          busy -= 1;
          resolve();
        }),
      );
    },
  });
  t.equal(announced, size);
  t.equal(received, size);
  t.equal(overlaps, 0, 'no chunk comes while the sink is busy');
  t.ok(largest < 45_000_000, `${largest} octets at most`);
});

t.test('a sink that gives up ends a large transfer, and the lane lives on', async (t) => {
  const { fake, upstream } = await facing(t, (command, _tag, connection) => {
    if (!command.startsWith('UID FETCH')) return undefined;
    return (async () => {
      connection.send(`* 1 FETCH (UID 1 BODY[] {900000000}\r\n`);
      const block = Buffer.alloc(100_000, 'x');
      while (connection.open) await connection.pour(block);
    })();
  });
  const failure = new Error('the disk is full');
  await t.rejects(
    upstream.fetchBody(INBOX, 1, {
      start: () => undefined,
      chunk: () => Promise.reject(failure),
    }),
    failure,
  );
  t.equal((await upstream.status(['INBOX'])).size, 1);
  t.equal(fake.connections.length, 2);
});

t.test('large headers are cut at a line, monstrous envelopes dropped, unsolicited data harmless', async (t) => {
  const header = `Subject: big\r\n${`X-Filler: ${'y'.repeat(989)}\r\n`.repeat(400)}\r\n`;
  const monster = 'z'.repeat(300_000);
  const common = 'INTERNALDATE "17-Jul-1996 02:44:25 -0700" RFC822.SIZE 10';
  const { upstream } = await facing(t, (command, tag) => {
    if (!command.startsWith('UID FETCH')) return undefined;
    return [
      '* 3 FETCH (FLAGS (\\Seen))',
      `* 1 FETCH (UID 1 FLAGS (a) ${common} ENVELOPE ("e") BODY[HEADER] {${header.length}}\r\n${header})`,
      '* 7 EXISTS',
      '* 2 FETCH (UID 2 FLAGS (b))',
      '* NO watch out {5}',
      `* 2 FETCH (UID 2 ${common} ENVELOPE ("x" {${monster.length}}\r\n${monster} NIL) BODY[HEADER] "")`,
      '* 3 FETCH (UID 3 FLAGS (c))',
      '* 9 FETCH (UID 99 FLAGS (d) BODY[HEADER] {1}\r\nx)',
      '* 2 FETCH (UID 2 FLAGS (b \\Seen))',
      `${tag} OK done`,
      '',
    ].join('\r\n');
  });
  const messages = await upstream.read('INBOX', null, allMessages);
  t.strictSame(
    messages.map(({ uid, flags }) => [uid, flags]),
    [
      [1, 'a'],
      [2, '\\Seen b'],
    ],
    'a message of which only flags were told is none',
  );
  const cut = messages[0]?.header.toString() ?? '';
  t.ok(cut.length <= 262_200 && cut.length > 260_000, `${cut.length}`);
  t.ok(cut.endsWith('y\r\n\r\n') && cut.startsWith('Subject: big'));
  t.equal(messages[0]?.envelope?.toString(), '("e")');
  t.equal(messages[1]?.envelope, null);
  t.equal(messages[1]?.header.length, 0);
});

t.test('NO to a FETCH counts as messages being gone only when it says so', async (t) => {
  let refusal = 'NO [EXPUNGEISSUED] Some messages could not be FETCHed';
  const { upstream } = await facing(t, (command, tag) =>
    command.startsWith('UID FETCH') ? `${tag} ${refusal}\r\n` : undefined,
  );
  t.strictSame(await upstream.read('INBOX', null, allMessages), []);
  await t.rejects(bodyOf(upstream, INBOX, 1), { code: 'nonexistent' });
  refusal = 'NO [SERVERBUG] Internal error occurred';
  await t.rejects(upstream.read('INBOX', null, allMessages), { code: 'refused', responseCode: 'SERVERBUG' });
  await t.rejects(bodyOf(upstream, INBOX, 1), { code: 'refused' });
});

t.test('disconnect rejects what runs with aborted, at any stage', async (t) => {
  const { upstream } = await facing(t, (command, _tag) => (/UID FETCH|UID STORE/.test(command) ? '' : undefined), {
    timing: { silenceMs: 10_000 },
  });
  const running = [
    upstream.read('INBOX', null, flagsOf),
    upstream.read('INBOX', null, flagsOf),
    bodyOf(upstream, INBOX, 1),
    upstream.storeFlags(INBOX, [1], { add: ['\\Seen'], remove: [] }),
    upstream.storeFlags(INBOX, [2], { add: ['\\Seen'], remove: [] }),
  ];
  const settled = Promise.allSettled(running);
  await new Promise((resolve) => setTimeout(resolve, 100));
  await upstream.disconnect();
  for (const result of await settled) {
    t.match(result, { status: 'rejected', reason: { code: 'aborted' } });
  }
  const early = upstream.status(['INBOX']);
  const connecting = upstream.connect();
  const both = Promise.allSettled([early, connecting]);
  await upstream.disconnect();
  for (const result of await both) t.match(result, { status: 'rejected', reason: { code: 'aborted' } });
  t.equal((await upstream.status(['INBOX'])).size, 1, 'it can be used again');
});

t.test('with two connections, bodies go between the pages of a pull', async (t) => {
  const { fake, upstream } = await facing(
    t,
    (command, tag) => {
      const uids = /^UID FETCH (\S+) \(UID FLAGS/.exec(command)?.[1];
      if (uids !== undefined) return `${tag} OK done\r\n`;
      if (command.includes('BODY.PEEK[]')) return `* 1 FETCH (UID 1 BODY[] {2}\r\nhi)\r\n${tag} OK done\r\n`;
      return undefined;
    },
    { connections: 2 },
  );
  const uids = Array.from({ length: 5_000 }, (_, index) => index + 1);
  let pages = 0;
  let body = '';
  await upstream.read('INBOX', null, (folder) =>
    folder.messages(uids, async () => {
      pages += 1;
      if (pages !== 2) return;
      body = (await bodyOf(upstream, { path: 'Other', uidValidity: 5 }, 1)).toString();
    }),
  );
  t.equal(body, 'hi', 'even a page can wait for a body without a deadlock');
  t.ok(pages >= 10);
  t.equal(fake.connections.length, 1);
  const order = fake.commands
    .filter((command) => /^EXAMINE|BODY.PEEK\[\]/.test(command))
    .map((each) => each.split(' ')[1]);
  t.strictSame(order, ['"INBOX"', '"Other"', 'FETCH', '"INBOX"']);
});

t.test('a third connection that is refused leaves bodies to the ones that stand', async (t) => {
  let logins = 0;
  const { upstream } = await facing(t, (command, tag) => {
    if (command.startsWith('AUTHENTICATE')) {
      logins += 1;
      return logins > 1 ? `${tag} NO [LIMIT] too many connections\r\n` : undefined;
    }
    return command.includes('BODY.PEEK[]') ? `* 1 FETCH (UID 1 BODY[] "hi")\r\n${tag} OK done\r\n` : undefined;
  });
  await upstream.status(['INBOX']);
  t.equal((await bodyOf(upstream, INBOX, 1)).toString(), 'hi');
});

t.test('a server that takes no further connection is asked for none until it said so, and all goes on', async (t) => {
  let logins = 0;
  const { upstream } = await facing(
    t,
    (command, tag) => {
      if (command.startsWith('AUTHENTICATE')) {
        logins += 1;
        return logins > 1
          ? `${tag} NO [UNAVAILABLE] Maximum number of connections exceeded, try again in 60 seconds\r\n`
          : undefined;
      }
      return command.includes('BODY.PEEK[]') ? `* 1 FETCH (UID 1 BODY[] "hi")\r\n${tag} OK done\r\n` : undefined;
    },
    { connections: 5 },
  );
  t.ok((await upstream.status(['INBOX'])).has('INBOX'), 'the first reader');
  t.equal((await bodyOf(upstream, INBOX, 1)).toString(), 'hi', 'bodies go over it');
  const asked = logins;
  t.equal(asked, 2);
  for (let n = 0; n < 5; n += 1) t.equal((await bodyOf(upstream, INBOX, 1)).toString(), 'hi');
  t.equal(await upstream.read('INBOX', null, async (folder) => folder.state.exists), 3);
  t.equal(logins, asked, 'nothing knocks again before its time');
});

t.test('refused changes throw with code and text, and UIDVALIDITY is looked at first', async (t) => {
  const { fake, upstream } = await facing(t, (command, tag) => {
    if (command.startsWith('UID COPY')) return `${tag} NO [OVERQUOTA] Quota exceeded\r\n`;
    if (command.startsWith('UID MOVE')) return `${tag} NO Some of the requested messages no longer exist\r\n`;
    return undefined;
  });
  const proof = { actions: [1], reason: 'test' };
  await t.rejects(upstream.copy(INBOX, [1], 'Archive'), {
    code: 'refused',
    responseCode: 'OVERQUOTA',
    serverText: 'Quota exceeded',
  });
  await t.rejects(upstream.move(INBOX, [1], 'Archive', proof), { code: 'refused' });
  await t.rejects(upstream.expunge({ ...INBOX, uidValidity: 6 }, [1], proof), { code: 'uidvalidity' });
  t.notOk(fake.commands.some((command) => /STORE|EXPUNGE/.test(command)));
});

t.test('without UIDPLUS, EXPUNGE is sent only while nothing else is marked', async (t) => {
  const marked = new Set([3]);
  let stubborn = false;
  const numbers = (set: string): number[] =>
    set.split(',').flatMap((range) => {
      const [first = 0, last = first] = range.split(':').map(Number);
      return Array.from({ length: last - first + 1 }, (_, index) => first + index);
    });
  const { fake, upstream } = await facing(
    t,
    (command, tag) => {
      const store = /^UID STORE (\S+) ([+-])FLAGS.SILENT \(\\Deleted\)/.exec(command);
      for (const uid of numbers(store?.[1] ?? '0')) {
        if (store?.[2] === '+') marked.add(uid);
        else if (store?.[2] === '-' && !stubborn) marked.delete(uid);
      }
      if (command.startsWith('UID SEARCH')) return `* SEARCH ${[...marked].join(' ')}\r\n${tag} OK\r\n`;
      if (/^(AUTHENTICATE|CAPABILITY)/.test(command)) return `* CAPABILITY IMAP4rev1 SASL-IR\r\n${tag} OK\r\n`;
      return undefined;
    },
    { greeting: '* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] x\r\n' },
  );
  const proof = { actions: [1], reason: 'test' };
  const changes = (): string[] => fake.commands.filter((command) => /STORE|EXPUNGE/.test(command)).splice(0);
  await upstream.expunge(INBOX, [1, 2], proof);
  t.strictSame(changes(), [
    'UID STORE 1:2 +FLAGS.SILENT (\\Deleted)',
    'UID STORE 3 -FLAGS.SILENT (\\Deleted)',
    'EXPUNGE',
    'UID STORE 3 +FLAGS.SILENT (\\Deleted)',
  ]);
  fake.commands.length = 0;
  stubborn = true;
  await t.rejects(upstream.expunge(INBOX, [1], proof), { code: 'refused', responseCode: 'INUSE' });
  t.notOk(changes().includes('EXPUNGE'), 'a mark that does not go away keeps the EXPUNGE back');
  t.ok(marked.has(3));
});

t.test('watch: what came before a task selected the watched folder by itself is told', async (t) => {
  // The folder has one mail more from the second time on that it is selected.
  const exists = new Map<string, number>();
  const select: Script = (command, tag) => {
    const name = /^SELECT "?(\w+)/.exec(command)?.[1];
    if (name === undefined) return undefined;
    const times = (exists.get(name) ?? 0) + 1;
    exists.set(name, times);
    const count = name === 'INBOX' && times > 1 ? 4 : 3;
    const codes = `* OK [UIDVALIDITY 5] x\r\n* OK [UIDNEXT ${count + 1}] x\r\n`;
    return `* ${count} EXISTS\r\n* FLAGS (\\Seen)\r\n${codes}${tag} OK [READ-WRITE] open\r\n`;
  };
  const { upstream } = await facing(t, select);
  let events = 0;
  await upstream.watch(
    'INBOX',
    () => {
      events += 1;
    },
    (error) => t.fail(error.message),
  );
  const seen = { add: ['\\Seen'], remove: [] };
  // One task after the other, so that the connection does not go back to listening in between.
  const tasks = ['Other', 'INBOX', 'Other'].map((path) => upstream.storeFlags({ ...INBOX, path }, [1], seen));
  await Promise.all(tasks);
  t.equal(exists.get('INBOX'), 2);
  await eventually('the arrival to be told', () => events > 0, { everyMs: 5, timeoutMs: 5_000 });
  t.equal(events, 1);
});
