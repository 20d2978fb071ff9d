import { mock } from 'node:test';
import type { SMTPServerSession } from 'smtp-server';
import t, { type Test } from 'tap';
import { Client, type ServerConnection } from '../../src/submit/client.js';
import { SUBMIT_LIMITS } from '../../src/submit/limits.js';
import { mailRequest, ownKeywords } from '../../src/submit/mail-parameters.js';
import type { OutgoingQueue } from '../../src/submit/queue/queue.js';
import { Ticket } from '../../src/submit/queue/ticket.js';
import { Transaction } from '../../src/submit/transaction.js';
import { SenderBook } from '../../src/submit/sender.js';
import { systemClock } from '../../src/util/clock.js';

type SentReply = readonly [code: number, data: unknown, context: unknown];

function connect(test: Test): { client: Client; connection: ServerConnection; sent: SentReply[] } {
  mock.timers.enable({ apis: ['setTimeout'] });
  const sent: SentReply[] = [];
  const connection: ServerConnection = {
    session: {} as SMTPServerSession,
    send: (code, data, context) => void sent.push([code, data, context]),
    close: () => undefined,
  };
  const client = new Client(connection, () => ['LIMITS RCPTMAX=1000']);
  test.teardown(() => {
    client.end();
    mock.timers.reset();
  });
  return { client, connection, sent };
}

t.test('a client without login is sent away when its time is up, and not a moment earlier', async (t) => {
  const { sent } = connect(t);
  mock.timers.tick(SUBMIT_LIMITS.loginMs - 1);
  t.equal(sent.length, 0);
  mock.timers.tick(1);
  t.strictSame(sent, [[421, '4.3.2 no login in time', false]]);
});

t.test('a client that logged in has no deadline until it sends a message', async (t) => {
  const { client, sent } = connect(t);
  client.loggedIn();
  mock.timers.tick(SUBMIT_LIMITS.loginMs * 10);
  t.equal(sent.length, 0);
  client.startDelivery();
  mock.timers.tick(SUBMIT_LIMITS.dataMs - 1);
  t.equal(sent.length, 0);
  mock.timers.tick(1);
  t.match(sent, [[421, /took too long/]]);
});

t.test('a message that is in is under no deadline, nor is a client that left', async (t) => {
  const { client, sent } = connect(t);
  client.startDelivery();
  client.contentRead();
  mock.timers.tick(SUBMIT_LIMITS.dataMs * 2);
  client.endDelivery();
  client.startDelivery();
  client.end();
  mock.timers.tick(SUBMIT_LIMITS.dataMs * 2);
  t.equal(sent.length, 0);
});

t.test('a text that starts with an enhanced status code keeps it, others get smtp-server’s', async (t) => {
  const { connection, sent } = connect(t);
  connection.send(550, '5.7.1 not yours', 'X');
  connection.send(550, 'Error: plain', 'X');
  connection.send(250, '5.7.12345 no code');
  t.strictSame(
    sent.map(([, , context]) => context),
    [false, 'X', undefined],
  );
});

t.test('a client is cut at its last allowed bad reply', async (t) => {
  const { connection, sent } = connect(t);
  for (let i = 1; i < SUBMIT_LIMITS.badReplies; i += 1) connection.send(501, 'Error: invalid userdata');
  connection.send(250, 'OK');
  t.notOk(sent.some(([code]) => code === 421));
  connection.send(501, 'Error: invalid userdata');
  t.match(sent.at(-1), [421, /too many errors/]);
});

t.test('a third failed login is the last', async (t) => {
  const { client } = connect(t);
  t.strictSame(
    [1, 2, 3].map(() => client.failedLogin()),
    [true, true, false],
  );
});

t.test('the EHLO reply names our own keywords too', async (t) => {
  const { connection, sent } = connect(t);
  connection.send(250, ['box.example', 'PIPELINING'], false);
  t.strictSame(sent, [[250, ['box.example', 'PIPELINING', 'LIMITS RCPTMAX=1000'], false]]);
});

t.test('a client is answered when its time is up, and a client that left hands its mail over', async (t) => {
  const { client } = connect(t);
  const slow = new Ticket();
  const outcome = client.outcome(slow, 5_000);
  mock.timers.tick(4_999);
  t.ok(slow.waiting);
  mock.timers.tick(1);
  t.match(await outcome, { kind: 'queued' });
  t.notOk(slow.waiting, 'a refusal that comes later is not the client’s any more');
  const left = new Ticket();
  const second = client.outcome(left, 5_000);
  client.end();
  t.notOk(left.waiting);
  t.match(await second, { kind: 'queued' });
  const quick = new Ticket();
  const third = client.outcome(quick, 5_000);
  quick.settle({ kind: 'delivered', reply: '250 2.0.0 ok' });
  t.match(await third, { kind: 'delivered' });
});

t.test('a transaction takes so many RCPT commands and not one more', async (t) => {
  const smtp = { endpoint: { host: '127.0.0.1', port: 1, tls: 'none' as const, ca: null }, auth: null };
  const senders = new SenderBook({
    name: 'a',
    accounts: [{ id: 'x', addresses: ['a@x.example'], sent: 'auto', smtp }],
  });
  const context = { senders, hostname: 'box', clock: systemClock, queue: {} as OutgoingQueue };
  const request = mailRequest({ address: '', args: false }, 0);
  const transaction = new Transaction(context, request);
  for (let i = 0; i < SUBMIT_LIMITS.recipientCommands; i += 1) transaction.recipient('bob@far.example', {});
  t.throws(() => transaction.recipient('bob@far.example', {}), { message: /^4\.5\.3 / });
});

t.test('mailRequest takes what EHLO offers, and refuses what it does not understand', async (t) => {
  const now = Date.parse('2026-01-01T00:00:00Z');
  const read = (args: Record<string, string | true>) => mailRequest({ address: 'a@x', args }, now);
  t.match(read({ SIZE: '10', BODY: '8BITMIME', AUTH: '<>' }), { utf8: false, ret: null, envid: null, releaseAt: 0 });
  t.match(read({ RET: 'hdrs', ENVID: 'QQ 314', SMTPUTF8: true }), { ret: 'HDRS', envid: 'QQ 314', utf8: true });
  t.equal(read({ HOLDFOR: '60' }).releaseAt, now + 60_000);
  t.equal(read({ HOLDUNTIL: '2026-01-01T01:00:00Z' }).releaseAt, now + 3_600_000);
  t.equal(read({ HOLDUNTIL: '2026-01-01T00:00:00-01:00' }).releaseAt, now + 3_600_000);
  t.equal(read({ 'MT-PRIORITY': '-3' }).mtPriority, -3);
  for (const [args, text] of [
    [{ HOLDFOR: '60', HOLDUNTIL: '2026-01-01T01:00:00Z' }, /not both/],
    [{ HOLDFOR: 'x' }, /HOLDFOR takes/],
    [{ HOLDFOR: String(SUBMIT_LIMITS.releaseSeconds + 1) }, /held \d+ seconds at most/],
    [{ HOLDUNTIL: 'tomorrow' }, /HOLDUNTIL a date-time/],
    [{ 'MT-PRIORITY': '10' }, /from -9 to 9/],
    [{ ENVID: 'x'.repeat(101) }, /ENVID/],
    [{ XTRA: '1' }, /^5\.5\.4 .*XTRA/],
  ] as const) {
    t.throws(() => read(args), { message: text }, JSON.stringify(args).slice(0, 60));
  }
  t.match(ownKeywords(now), [/^LIMITS RCPTMAX=\d+$/, /^FUTURERELEASE \d+ 2026-\d\d-\d\dT00:00:00Z$/, 'MT-PRIORITY']);
});
