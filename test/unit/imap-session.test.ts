import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { capabilities } from '../../src/imap/capability.js';
import { COMMANDS } from '../../src/imap/commands/table.js';
import { repositoryRoot } from '../harness/root.js';
import { RawClient, setup } from './imap-support.js';

const PLAIN = (text: string): string => Buffer.from(text).toString('base64');

t.test('greeting tells the capabilities of a connection that is not logged in', async (t) => {
  const { connect } = await setup(t);
  const client = await connect();
  t.match(client.greeting, /^\* OK \[CAPABILITY IMAP4rev1 [^\]]*AUTH=PLAIN AUTH=LOGIN\] /);
  t.notMatch(client.greeting, /STARTTLS|LOGINDISABLED|UIDPLUS/);
  const [untagged, tagged] = await client.lines('CAPABILITY');
  t.equal(untagged, `* CAPABILITY ${/\[CAPABILITY ([^\]]*)\]/.exec(client.greeting)![1]}`);
  t.equal(tagged, '. OK CAPABILITY completed');
});

t.test('LOGIN', async (t) => {
  const { connect, logged } = await setup(t);
  const client = await connect();
  t.equal((await client.lines('LOGIN alice wrong'))[0], '. NO [AUTHENTICATIONFAILED] Wrong user name or password');
  t.equal((await client.lines('LOGIN nobody secret'))[0], '. NO [AUTHENTICATIONFAILED] Wrong user name or password');
  const [reply] = await client.lines('LOGIN "alice" "secret"');
  t.match(reply, /^\. OK \[CAPABILITY IMAP4rev1 .*UIDPLUS.*APPENDLIMIT=67108864\] Logged in$/);
  t.notMatch(reply, /AUTH=|STARTTLS/, 'after login no mechanism is offered');
  t.match((await client.lines('LOGIN alice secret'))[0], /^\. BAD LOGIN is not allowed/);
  const other = await connect();
  t.match((await other.literal('LOGIN {5+}\r\nalice', 'secret'))[0], /^\. OK /, 'both literal forms');
  t.notMatch(logged(), /secret|wrong/, 'no password is logged');
});

t.test('AUTHENTICATE', async (t) => {
  const { connect } = await setup(t, { limits: { loginAttempts: 100 } });
  const client = await connect();
  await t.test('PLAIN refuses an authorization identity that is not the user', async (t) => {
    const [reply] = await client.lines(`AUTHENTICATE PLAIN ${PLAIN('bob\0alice\0secret')}`);
    t.match(reply, /^\. NO \[AUTHORIZATIONFAILED\]/);
  });
  await t.test('malformed responses are BAD', async (t) => {
    for (const bad of [
      '!!!',
      PLAIN('alice'),
      PLAIN('alice\0secret'),
      PLAIN('\0alice\0a\0b'),
      PLAIN('\0\0secret'),
      '=',
    ]) {
      t.match((await client.lines(`AUTHENTICATE PLAIN ${bad}`))[0], /^\. BAD /, bad);
    }
  });
  await t.test('an unknown mechanism is NO', async (t) => {
    t.match((await client.lines('AUTHENTICATE CRAM-MD5'))[0], /^\. NO /);
  });
  await t.test('a client may cancel', async (t) => {
    client.send('c AUTHENTICATE PLAIN\r\n');
    t.equal(await client.expect(/\r\n/), '+ \r\n');
    client.send('*\r\n');
    t.match(await client.tagged('c'), /^\. BAD AUTHENTICATE: Cancelled/);
  });
  await t.test('a response line over 8192 octets is BAD and the session goes on', async (t) => {
    client.send('l AUTHENTICATE PLAIN\r\n');
    await client.expect(/\+ \r\n/);
    client.send(`${'A'.repeat(8_193)}\r\n`);
    t.match(await client.tagged('l'), /^\. BAD /);
    t.match((await client.lines('NOOP'))[0], /^\. OK/);
  });
  await t.test('LOGIN asks for name and password', async (t) => {
    const login = await connect();
    login.send('a AUTHENTICATE LOGIN\r\n');
    t.equal(await login.expect(/\r\n/), `+ ${PLAIN('Username:')}\r\n`);
    login.send(`${PLAIN('alice')}\r\n`);
    t.equal(await login.expect(/\r\n/), `+ ${PLAIN('Password:')}\r\n`);
    login.send(`${PLAIN('secret')}\r\n`);
    t.match(await login.tagged('a'), /^\. OK /);
  });
  await t.test('PLAIN with a continuation, and with an initial response', async (t) => {
    client.send('d AUTHENTICATE PLAIN\r\n');
    await client.expect(/\+ \r\n/);
    client.send(`${PLAIN('alice\0alice\0secret')}\r\n`);
    t.match(await client.tagged('d'), /^\. OK /);
    const other = await connect();
    t.match((await other.lines(`AUTHENTICATE PLAIN ${PLAIN('\0bob\0hidden')}`))[0], /^\. OK /);
  });
});

t.test('every command is BAD in the states that do not have it', async (t) => {
  const { connect } = await setup(t, { limits: { badCommands: 1_000 } });
  const client = await connect();
  const rank = ['unauthenticated', 'authenticated', 'selected'] as const;
  for (const state of rank) {
    if (state === 'authenticated') await client.ok('LOGIN alice secret');
    if (state === 'selected') await client.ok('SELECT INBOX');
    for (const command of COMMANDS.values()) {
      if (command.states.includes(state)) continue;
      t.match((await client.lines(command.name))[0], new RegExp(`^\\. BAD ${command.name} is not allowed`), state);
    }
  }
  for (const command of COMMANDS.values()) {
    if (command.uid === true) continue;
    t.equal((await client.lines(`UID ${command.name}`))[0], `. BAD Unknown command UID ${command.name}`);
  }
});

t.test('ID, NAMESPACE, ENABLE, NOOP, LOGOUT', async (t) => {
  const { login } = await setup(t);
  const client = await login();
  t.same(await client.lines('ID ("name" "test" "version" NIL)'), [
    '* ID ("name" "Mergebox" "version" "1.2.3")',
    '. OK ID completed',
  ]);
  t.same(await client.lines('ID NIL'), ['* ID ("name" "Mergebox" "version" "1.2.3")', '. OK ID completed']);
  t.same(await client.lines('NAMESPACE'), ['* NAMESPACE (("" "/")) NIL NIL', '. OK NAMESPACE completed']);
  t.same(
    await client.lines('ENABLE UTF8=ACCEPT X-NEW'),
    ['* ENABLED UTF8=ACCEPT', '. OK ENABLE completed'],
    'as mutt sends it',
  );
  t.same(await client.lines('ENABLE CONDSTORE'), ['* ENABLED CONDSTORE', '. OK ENABLE completed']);
  t.same(await client.lines('noop'), ['. OK NOOP completed'], 'names are read without case');
  t.match((await client.lines('NOOP now'))[0], /^\. BAD NOOP: /);
  t.same(await client.lines('LOGOUT'), ['* BYE Logging out', '. OK LOGOUT completed']);
  t.equal(await client.closed(), '');
});

t.test('pipelined commands are executed in order', async (t) => {
  const { connect } = await setup(t);
  const client = await connect();
  client.send('a LOGIN alice secret\r\nb SELECT INBOX\r\nc UNKNOWN\r\nd FETCH 1:* (ALL)\r\ne CLOSE\r\nf LOGOUT\r\n');
  const all = await client.closed();
  t.same(
    [...all.matchAll(/^([a-f]) (\w+)/gm)].map(([line]) => line),
    ['a OK', 'b OK', 'c BAD', 'd OK', 'e OK', 'f OK'],
  );
});

t.test('a command may come one octet at a time, and end with a bare LF', async (t) => {
  const { connect } = await setup(t);
  const client = await connect();
  for (const octet of 'a LOGIN {5+}\r\nalice {6+}\r\nsecret\r\n') {
    client.send(octet);
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.match(await client.tagged('a'), /^\. OK /);
  client.send('b NOOP\n');
  t.match(await client.tagged('b'), /^\. OK /);
});

t.test('commands before a half-close are answered', async (t) => {
  const { connect } = await setup(t);
  const client = await connect();
  client.send('a LOGIN alice secret\r\nb LIST "" *\r\n');
  client.socket.end();
  const all = await client.closed();
  t.match(all, /b OK LIST completed\r\n$/);
});

t.test('malformed lines are BAD with a reason, and the 20th is the last', async (t) => {
  const { connect } = await setup(t);
  const client = await connect();
  const junk = ['', '*', 'a', 'a ', 'a LOGIN', 'a LOGIN x', '(((((', 'GET / HTTP/1.1', '\xff\xfe\x00'];
  for (let i = 0; i < 19; i += 1) {
    client.send(`${junk[i % junk.length]}\r\n`);
    t.match(await client.expect(/\r\n/), /^(\*|a|GET) BAD \S.*\r\n$/);
  }
  client.send('z\r\n');
  t.match(await client.closed(), /^z BAD [^\r\n]*\r\n\* BYE Too many bad commands\r\n$/);
});

t.test('understood commands after login forgive malformed ones', async (t) => {
  const { login } = await setup(t, { limits: { badCommands: 3 } });
  const client = await login();
  for (let i = 0; i < 5; i += 1) {
    t.match((await client.lines('FOO'))[0], /^\. BAD/);
    t.match((await client.lines('FOO'))[0], /^\. BAD/);
    t.match((await client.lines('NOOP'))[0], /^\. OK/);
  }
});

t.test('a line of 65536 octets is read, one more is BAD and the session goes on', async (t) => {
  const { login } = await setup(t);
  const client = await login('INBOX');
  // The length of the tag makes up the difference.
  const line = (length: number): { tag: string; line: string } => {
    const command = ` UID SEARCH UID 1111${',1111'.repeat(13_090)}`;
    const tag = 't'.repeat(length - command.length);
    return { tag, line: tag + command };
  };
  const fits = line(65_536);
  client.send(`${fits.line}\r\n`);
  t.equal(await client.tagged(fits.tag), '* SEARCH\r\n. OK SEARCH completed\r\n');
  const long = line(65_537);
  client.send(`${long.line}\r\n`);
  t.equal(await client.tagged(long.tag), '. BAD Line too long\r\n');
  t.match((await client.lines('NOOP')).at(-1), /^\. OK/);
});

t.test('literals before login', async (t) => {
  const { connect } = await setup(t, { limits: { badCommands: 100 } });
  const client = await connect();
  t.match((await client.literal('LOGIN alice', 'x'.repeat(4_096)))[0], /^\. NO \[AUTHENTICATIONFAILED\]/, 'at the cap');
  t.match((await client.lines('LOGIN alice {4097}'))[0], /^\. BAD Literal too large before login/, 'one over');
  t.match((await client.lines('LOGIN {1+}\r\na {4096}'))[0], /^\. BAD Literal too large before login/, 'together');
  t.match((await client.lines('APPEND INBOX {99999999999999999999}'))[0], /^\. BAD /);
  t.match((await client.lines(`LOGIN alice {4097+}\r\n${'x'.repeat(4_097)}`))[0], /^\. BAD /, 'swallowed');
  t.match((await client.lines('LOGIN alice {6+}\r\nsecret'))[0], /^\. OK /);
});

t.test('literals after login', async (t) => {
  const { login } = await setup(t, { limits: { literalBytes: 100, commandBytes: 150, badCommands: 100 } });
  const client = await login('INBOX');
  t.match((await client.literal('SEARCH SUBJECT', 'x'.repeat(100))).at(-1), /^\. OK/);
  t.match((await client.lines('SEARCH SUBJECT {101}'))[0], /^\. BAD A literal may have 100 octets here/);
  t.match(
    (await client.literal(`SEARCH SUBJECT {100+}\r\n${'x'.repeat(100)} SUBJECT`, 'x'.repeat(50))).at(-1),
    /^\. OK/,
  );
  t.match((await client.lines(`SEARCH SUBJECT {100+}\r\n${'x'.repeat(100)} SUBJECT {51}`))[0], /^\. BAD Too many/);
  t.match((await client.lines('SEARCH SUBJECT ~{3+}\r\nabc'))[0], /^\. BAD literal8/);
});

t.test('failed logins end the connection at the limit', async (t) => {
  const { connect } = await setup(t, { limits: { loginAttempts: 2 } });
  const client = await connect();
  t.match((await client.lines('LOGIN alice a'))[0], /^\. NO/);
  client.send('z LOGIN alice b\r\n');
  t.match(await client.closed(), /^z NO [^\r\n]*\r\n\* BYE Too many failed logins\r\n$/);
});

t.test('deadlines', async (t) => {
  await t.test('for login', async (t) => {
    const { connect } = await setup(t, { limits: { loginMs: 60 } });
    const client = await connect();
    t.equal(await client.closed(), '* BYE Login takes too long\r\n');
    const busy = await connect();
    busy.send('a NOOP\r\n');
    t.match(await busy.closed(), /a OK [^\r\n]*\r\n\* BYE Login takes too long\r\n/, 'NOOP does not extend it');
  });
  await t.test('for a command once logged in', async (t) => {
    const { login } = await setup(t, { limits: { idleMs: 60 } });
    t.equal(await (await login()).closed(), '* BYE Idle for too long\r\n');
    const idling = await login('INBOX');
    idling.send('i IDLE\r\n');
    t.match(await idling.closed(), /\* BYE Idle for too long\r\n$/);
  });
  await t.test('for the rest of a command', async (t) => {
    const { login } = await setup(t, { limits: { stallMs: 60, minBytesPerSecond: 1_000_000 } });
    const client = await login();
    client.send('a NOO');
    t.equal(await client.closed(), '* BYE The command takes too long to arrive\r\n');
    const literal = await login();
    literal.send('a APPEND INBOX {10}\r\n');
    await literal.expect(/\+ .*\r\n/);
    literal.send('12345');
    t.equal(await literal.closed(), '* BYE The command takes too long to arrive\r\n');
  });
});

t.test('connections are limited per user and per address', async (t) => {
  const { server, connect, login } = await setup(t, { limits: { sessionsPerUser: 2, sessionsPerAddress: 3 } });
  const first = await login();
  await login();
  const third = await connect();
  t.match((await third.lines('LOGIN alice secret'))[0], /^\. NO \[LIMIT\] /);
  t.match((await third.lines('LOGIN bob hidden'))[0], /^\. OK /, 'another user is not affected');
  const fourth = await connect();
  t.equal(fourth.greeting, '* BYE Too many connections from your address\r\n');
  await first.ok('LOGOUT');
  await first.closed();
  while (server.connections > 2) await new Promise((resolve) => setImmediate(resolve));
  t.match((await (await connect()).lines('LOGIN alice secret'))[0], /^\. OK /, 'a place is free again');
});

t.test('connections are limited in all', async (t) => {
  const { connect } = await setup(t, { limits: { sessions: 2 } });
  t.match((await connect()).greeting, /^\* OK /);
  t.match((await connect()).greeting, /^\* OK /, 'at the cap');
  t.equal((await connect()).greeting, '* BYE Too many connections\r\n', 'one over it');
});

t.test('close says BYE to all and waits for the running command', async (t) => {
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { server, login } = await setup(t, {
    wrap: (memory) => ({
      login: async (name, password) => {
        const session = await memory.login(name, password);
        if (session !== null) {
          const status = session.status.bind(session);
          session.status = async (mailbox) => {
            await held;
            return status(mailbox);
          };
        }
        return session;
      },
    }),
  });
  const idle = await login('INBOX');
  idle.send('i IDLE\r\n');
  await idle.expect(/\+ idling\r\n/);
  const waiting = await login();
  const busy = await login();
  busy.send('s STATUS INBOX (MESSAGES)\r\n');
  await new Promise((resolve) => setTimeout(resolve, 20));
  const closed = server.close();
  t.equal(await waiting.closed(), '* BYE Server is shutting down\r\n');
  t.equal(await idle.closed(), '* BYE Server is shutting down\r\n');
  release();
  t.match(await busy.closed(), /^\* STATUS [^\r\n]*\r\ns OK [^\r\n]*\r\n\* BYE Server is shutting down\r\n$/);
  await closed;
  await t.rejects(RawClient.connect(Number(server.listeners[0]?.port)), 'no new connection');
});

t.test('a client that never reads is dropped and the others do not notice', async (t) => {
  const { alice, login, logged } = await setup(t, { limits: { writeStallMs: 100 } });
  alice.append('INBOX', [{ bytes: Buffer.alloc(20_000_000, 'x'), flags: [] }]);
  const deaf = await login('INBOX');
  deaf.socket.pause();
  deaf.send('a FETCH 1 BODY.PEEK[]\r\n');
  const other = await login('INBOX');
  while (!logged().includes('answers stay unread')) {
    t.match((await other.lines('NOOP')).at(-1), /^\. OK/);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  t.match((await other.lines('NOOP')).at(-1), /^\. OK/);
});

t.test('docs/imap.md names every command, and every capability with its RFC', async (t) => {
  const text = readFileSync(join(repositoryRoot(), 'docs/imap.md'), 'utf8');
  for (const name of COMMANDS.keys()) t.match(text, new RegExp(`\\b${name}\\b`), name);
  const states = [
    { loggedIn: true, startTls: false, loginAllowed: true },
    { loggedIn: false, startTls: true, loginAllowed: false },
    { loggedIn: false, startTls: false, loginAllowed: true },
  ];
  const rows = text.split('\n').filter((line) => /^\| [A-Za-z=, +0-9-]+ \| \d{4,5} \|/.test(line));
  const documented = new Set(rows.flatMap((row) => row.split('|')[1]!.trim().split(', ')));
  const offered = new Set(
    states
      .flatMap((state) => capabilities({ ...state, compressed: false, messageBytes: 1, commandMessages: 1 }).split(' '))
      .map((name) => name.replace('=1', '')),
  );
  offered.delete('IMAP4rev1');
  t.same([...documented].sort(), [...offered].sort(), 'none is missing, none is stale');
});
