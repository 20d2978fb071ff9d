import { monitorEventLoopDelay } from 'node:perf_hooks';
import t from 'tap';
import { SUBMIT_LIMITS } from '../../src/submit/limits.js';
import { runPython } from '../harness/python.js';
import {
  account,
  crlf,
  dialog,
  HEAD,
  makePem,
  MESSAGE,
  PASSWORD,
  send,
  startSubmission,
  upstream,
} from '../harness/submission.js';

const pem = await makePem(t.testdir({}));

t.test('100,000 recipients are refused in linear time, and the connection with them', async (t) => {
  const server = await upstream(t);
  const box = await startSubmission(t, [account('work', server)]);
  const client = await dialog(t, box.none);
  await client.logIn();
  await client.say('MAIL FROM:<alice@work.example>');
  const start = performance.now();
  const lines = Array.from({ length: 100_000 }, (_, n) => `RCPT TO:<r${n}@far.example>\r\n`).join('');
  client.write(lines);
  let accepted = 0;
  let last = '';
  try {
    for (;;) {
      last = await client.reply();
      if (last.startsWith('250')) accepted += 1;
    }
  } catch {
    // The server has closed the connection.
  }
  t.equal(accepted, SUBMIT_LIMITS.recipients);
  t.match(last, /^421 4\.7\.0 too many errors/);
  t.ok(performance.now() - start < 20_000);
  t.equal(server.mails.length, 0);
});

t.test('100,000 addresses in the header stall nobody; in From they are refused', async (t) => {
  const server = await upstream(t);
  const box = await startSubmission(t, [account('work', server)], { messageBytes: 20_000_000 });
  const many = Array.from({ length: 30_000 }, (_, n) => `r${n}@far.example`).join(',\n ');
  const delay = monitorEventLoopDelay({ resolution: 10 });
  delay.enable();
  const to = await send(box.none, { message: MESSAGE.replace('To: bob@far.example', `To: ${many}`) });
  t.match(to.replies.final, [250, String]);
  const from = await send(box.none, { message: MESSAGE.replace('From: ', `From: ${many}, `) });
  t.match(from.replies.final, [550, /no usable address/]);
  delay.disable();
  // Most of it is what a busy machine adds; a quadratic reader would take minutes.
  t.ok(delay.max / 1e6 < 2_000, `longest stall ${Math.round(delay.max / 1e6)} ms`);
  const header = await send(box.none, { message: `${HEAD}${'X-Long: y\n'.repeat(120_000)}\nbody\n` });
  t.match(header.replies.final, [554, /the header is larger than 1048576 octets/]);
  t.equal(server.mails.length, 1);
});

t.test('the size limit holds while a message comes in, and what goes on for ever is cut', async (t) => {
  const server = await upstream(t);
  const box = await startSubmission(t, [account('work', server)], { messageBytes: 300_000 });
  const client = await dialog(t, box.none);
  await client.logIn();
  await client.say('MAIL FROM:<alice@work.example>');
  await client.say('RCPT TO:<bob@far.example>');
  await client.say('DATA');
  client.write(crlf(HEAD));
  client.write('\r\n');
  for (let n = 0; n < 8; n += 1) client.write(`${'x'.repeat(98)}\r\n`.repeat(1_000));
  t.match(await client.reply(), /^(?:421|552) 5\.3\.4 /);
  t.strictSame(await box.mails(), []);
});

t.test('addresses, parameters and EHLO cannot carry a second line', async (t) => {
  const server = await upstream(t);
  const box = await startSubmission(t, [account('work', server)]);
  const client = await dialog(t, box.none);
  await client.logIn();
  for (const line of [
    'MAIL FROM:<alice@work.example> ENVID=a+0D+0ARCPT',
    'MAIL FROM:<alice@work.example\rRCPT TO:<x@y>>',
    'MAIL FROM:<alice@work.example\0>',
    'EHLO a\rb',
  ]) {
    t.match(await client.say(line), /^50[0-5] /, JSON.stringify(line));
  }
  t.match(await client.say('EHLO laptop.example'), /^250 /);
  t.match(await client.say('MAIL FROM:<alice@work.example>'), /^250 /);
  t.match(await client.say('RCPT TO:<bob@far.example> ORCPT=rfc822;a+0D+0Ab@c'), /^501 /);
  t.match(await client.say('RCPT TO:<bob@far.example\rDATA>'), /^501 /);
  t.match(await client.say('RCPT TO:<bob@far.example> NOTIFY=NEVER,SUCCESS'), /^501 /);
  t.equal(server.commands.length, 0);
});

t.test('what comes in clear behind STARTTLS is thrown away', async (t) => {
  const server = await upstream(t);
  const box = await startSubmission(t, [account('work', server)], { pem });
  const script = `
import socket, ssl
s = socket.create_connection(('127.0.0.1', p['port'])); f = s.makefile('rb')
def reply(f):
    while True:
        line = f.readline().decode()
        if line[3:4] != '-': return line.strip()
reply(f); s.sendall(b'EHLO x\\r\\n'); reply(f)
s.sendall(b'STARTTLS\\r\\nEHLO injected\\r\\nMAIL FROM:<alice@work.example>\\r\\n' + b'NOOP\\r\\n' * 300)
out = [reply(f)]
tls = ssl.create_default_context(cafile=p['ca']).wrap_socket(s, server_hostname='localhost')
g = tls.makefile('rb')
tls.sendall(b'NOOP\\r\\n'); out.append(reply(g))
tls.sendall(b'RCPT TO:<bob@far.example>\\r\\n'); out.append(reply(g))
print(json.dumps(out))
`;
  const replies = await runPython<string[]>(script, { port: box.starttls, ca: pem.files.ca, password: PASSWORD });
  t.match(replies, [/^220 /, /^250 /, /^5\d\d /], 'the first answer inside is that of the first command inside');
});

t.test('replies of an upstream that are long, split or hold line ends harm nobody', async (t) => {
  for (const [reply, code] of [
    [`550-${'x'.repeat(60_000)}\r\n550 end`, 550],
    [`${'550-more\r\n'.repeat(5_000)}550 end`, 550],
    [`550 5.1.1 ${'y'.repeat(100_000)}`, 550],
    ['550 5.1.1 a\rb\nMAIL FROM:<evil@x>', 250],
    ['\r\n\r\n', 250],
  ] as const) {
    const server = await upstream(t, { answer: (verb) => (verb === 'RCPT' ? reply : undefined) });
    const box = await startSubmission(t, [account('work', server)]);
    const { replies } = await send(box.none);
    t.match(replies.final, [code, /^[\x20-\x7e]{1,510}$/], JSON.stringify(reply.slice(0, 30)));
    t.match((await send(box.none, { login: false })).replies.mail, [530, String], 'the server goes on');
    await box.close();
  }
});
