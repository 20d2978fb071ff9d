import { mock } from 'node:test';
import type { SMTPServerSession } from 'smtp-server';
import t, { type Test } from 'tap';
import { Client, type ServerConnection } from '../../src/submit/client.js';
import { RELAY_TIMEOUTS, SUBMIT_LIMITS } from '../../src/submit/limits.js';
import { silentLog } from '../../src/util/log.js';
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
  const client = new Client(connection);
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
  connection.send(250, ['5.7.1 list', 'of lines']);
  connection.send(250, '5.7.12345 no code');
  t.strictSame(
    sent.map(([, , context]) => context),
    [false, 'X', undefined, undefined],
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

t.test('a transaction takes so many RCPT commands and not one more', async (t) => {
  const smtp = { endpoint: { host: '127.0.0.1', port: 1, tls: 'none' as const, ca: null }, auth: null };
  const senders = new SenderBook({
    name: 'a',
    accounts: [{ id: 'x', addresses: ['a@x.example'], sent: 'auto', smtp }],
  });
  const context = { senders, hostname: 'box', timeouts: RELAY_TIMEOUTS, clock: systemClock, log: silentLog() };
  const transaction = new Transaction(context, { sender: '', size: null, utf8: false });
  for (let i = 0; i < SUBMIT_LIMITS.recipientCommands; i += 1) await transaction.recipient('bob@far.example');
  const refusal = await transaction
    .recipient('bob@far.example')
    .catch((error: { responseCode: number }) => error.responseCode);
  t.equal(refusal, 452);
  transaction.abort();
});
