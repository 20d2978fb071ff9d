import { spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { SUBMIT_LIMITS } from '../../src/submit/limits.js';
import { runCommand } from '../harness/command-line.js';
import { accepts, eventually, freePorts } from '../harness/net.js';
import { runPython } from '../harness/python.js';
import type { SmtpUpstream, SmtpUpstreamOptions } from '../harness/smtp-upstream.js';
import {
  account as anAccount,
  type AccountChanges,
  content,
  crlf,
  dialog,
  HEAD,
  LOGIN,
  makePem,
  MESSAGE,
  PASSWORD,
  send,
  startSubmission,
  type SubmissionChanges,
  type SubmissionSetup,
  upstream as anUpstream,
} from '../harness/submission.js';

const pem = await makePem(t.testdir({}));
const { files } = pem;

const upstream = (test: Test, options: SmtpUpstreamOptions = {}): Promise<SmtpUpstream> =>
  anUpstream(test, { certificate: pem.certificate, ...options });
const account = (id: string, server: SmtpUpstream | number | null, changes: AccountChanges = {}) =>
  anAccount(id, server, { ...(changes.tls === undefined || changes.tls === 'none' ? {} : { ca: pem.ca }), ...changes });
const setUp = (
  test: Test,
  accounts: Parameters<typeof startSubmission>[1],
  changes: SubmissionChanges = {},
): Promise<SubmissionSetup> => startSubmission(test, accounts, { pem, ...changes });

/** How many sessions began: nodemailer says EHLO and so do we, once each. */
const sessions = (server: SmtpUpstream): number => server.commandsOf('EHLO').length / 2;

/** The copies in Sent, once there are so many. */
const filed = (box: SubmissionSetup, count: number) =>
  eventually(`${count} filed`, () => box.host.filed.length === count && box.host.filed);

t.test('a mail goes out byte for byte, through every kind of TLS, and is filed once', async (t) => {
  const hostile = [
    '.',
    '..',
    '.leading dot',
    '...',
    `long ${'x'.repeat(900)}`,
    'trailing space \t ',
    '8-bit \xe9\xff\x80 and UTF-8 \xc3\xa9',
    '\x01\x02\x7f\x0b\x0c',
    'From here',
    '',
    '.',
  ].join('\n');
  const message = `${HEAD}Message-ID: <2@x>\nContent-Type: text/plain; charset=latin1\n\n${hostile}\n`;
  for (const tls of ['none', 'implicit', 'starttls'] as const) {
    const server = await upstream(t, { tls, login: LOGIN });
    const box = await setUp(t, [account('work', server, { tls, login: LOGIN })]);
    const { replies, rcpt } = await send(box.none, { message });
    t.match(replies.final, [250, /^2\.0\.0 Ok: queued as 4711$/], `${tls}: the upstream's own words`);
    t.match(rcpt, [[250, String]]);
    const [mail] = server.mails;
    t.equal(server.mails.length, 1);
    t.match(mail, { from: 'alice@work.example', to: ['bob@far.example'] });
    t.match(mail?.mailLine, / SIZE=|BODY=8BITMIME/);
    t.ok(content(mail?.octets).equals(crlf(message)), `${tls}: the same octets`);
    t.match(
      mail?.octets.toString('latin1'),
      /^Received: from laptop\.example \(\[127\.0\.0\.1\]\)\r\n by box\.example \(Mergebox\) with ESMTPA id \S+;\r\n /,
    );
    const [copy] = await filed(box, 1);
    t.equal(copy?.account, 'work');
    t.ok(copy?.message.equals(crlf(message)), 'the filed copy is what the client wrote');
    t.match(await box.metrics.text(), /mergebox_submission_messages_total\{result="delivered"\} 1/);
  }
});

t.test('Bcc leaves neither on the wire nor is it lost in Sent', async (t) => {
  const server = await upstream(t);
  const box = await setUp(t, [account('work', server)]);
  const message = MESSAGE.replace('Subject', 'Bcc: secret@far.example,\n other@far.example\nSubject');
  await send(box.none, { message, to: ['bob@far.example', 'secret@far.example'] });
  t.strictSame(server.mails[0]?.to, ['bob@far.example', 'secret@far.example']);
  t.ok(content(server.mails[0]?.octets).equals(crlf(MESSAGE)));
  t.ok((await filed(box, 1))[0]?.message.equals(crlf(message)));
});

t.test('Message-ID and Date are added when the client gave none, the same in Sent', async (t) => {
  const server = await upstream(t);
  const box = await setUp(t, [account('work', server)]);
  await send(box.none, { message: 'From: alice@work.example\nSubject: x\n\nhello\n' });
  const text = content(server.mails[0]?.octets).toString('latin1');
  t.match(text, /^Date: .* \+0000\r\nMessage-ID: <[0-9a-f-]+@box\.example>\r\nFrom: alice@work\.example\r\n/);
  t.equal((await filed(box, 1))[0]?.message.toString('latin1'), text);
});

t.test('AUTH is needed, by a correct password, over TLS where there is TLS', async (t) => {
  const server = await upstream(t);
  const box = await setUp(t, [account('work', server)]);
  t.match((await send(box.none, { login: false })).replies.mail, [530, /^5\.7\.0 /]);
  const script = `
import smtplib, ssl
out = {}
ctx = ssl.create_default_context(cafile=p['ca'])
s = smtplib.SMTP('localhost', p['starttls'], timeout=30)
s.ehlo('x'); out['offered'] = s.has_extn('auth')
out['early'] = s.docmd('AUTH', 'PLAIN AGFsaWNlAHg=')[0]
out['mail'] = s.docmd('MAIL', 'FROM:<alice@work.example>')[0]
s.starttls(context=ctx); s.ehlo('x')
out['features'] = sorted(s.esmtp_features)
s.login('alice', p['password']); out['starttls'] = 'in'
s.close()
s = smtplib.SMTP_SSL('localhost', p['implicit'], context=ctx, timeout=30)
s.ehlo('x'); s.login('alice', p['password']); out['implicit'] = 'in'; s.close()
s = smtplib.SMTP('localhost', p['none'], timeout=30)
s.ehlo('x'); codes = []
import base64
for user, password in [('alice', 'wrong 1'), ('nobody', 'wrong 2'), ('alice', 'wrong 3')]:
    codes.append(s.docmd('AUTH', 'PLAIN ' + base64.b64encode(('\\0%s\\0%s' % (user, password)).encode()).decode())[0])
try:
    s.noop(); codes.append('still there')
except smtplib.SMTPServerDisconnected:
    codes.append('cut')
out['wrong'] = codes
s = smtplib.SMTP('localhost', p['none'], timeout=30)
s.ehlo('x')
out['authzid'] = s.docmd('AUTH', 'PLAIN ' + base64.b64encode(('bob\\0alice\\0' + p['password']).encode()).decode())[0]
print(json.dumps(out))
`;
  const ports = { none: box.none, implicit: box.implicit, starttls: box.starttls };
  t.strictSame(await runPython(script, { ...ports, ca: files.ca, password: PASSWORD }), {
    offered: false,
    early: 500,
    mail: 530,
    features: [
      '8bitmime',
      'auth',
      'dsn',
      'enhancedstatuscodes',
      'futurerelease',
      'limits',
      'mt-priority',
      'pipelining',
      'requiretls',
      'size',
      'smtputf8',
    ],
    starttls: 'in',
    implicit: 'in',
    wrong: [535, 535, 421, 'cut'],
    authzid: 535,
  });
  t.equal(server.commands.length, 0, 'nothing reached the upstream');
});

t.test('only the user’s own addresses may send', async (t) => {
  const server = await upstream(t);
  const box = await setUp(t, [account('work', server), account('plain', null)]);
  const foreign = await send(box.none, { from: 'boss@work.example' });
  t.match(foreign.replies.mail, [550, /^5\.7\.1 .*<boss@work\.example> belongs to none of your accounts/]);
  const header = await send(box.none, { message: MESSAGE.replace('<alice@', '<boss@') });
  t.match(header.replies.final, [550, /^5\.7\.1 the From address <boss@work\.example>/]);
  const second = await send(box.none, {
    message: MESSAGE.replace('<alice@work.example>', '<alice@work.example>, boss@work.example'),
  });
  t.match(second.replies.final, [550, /boss@work\.example/]);
  const none = await send(box.none, { from: 'alice@plain.example' });
  t.match(none.replies.mail, [550, /^5\.7\.1 account plain has no SMTP server/]);
  const absent = await send(box.none, { message: 'Subject: x\n\nx\n' });
  t.match(absent.replies.final, [550, /no From field/]);
  t.equal(server.mails.length, 0);
  const tag = 'ALICE+shop@Work.Example';
  const tagged = await send(box.none, { from: tag, message: MESSAGE.replace('alice@work.example', tag) });
  t.match(tagged.replies.final, [250, String]);
  t.equal(server.mails[0]?.from.toLowerCase(), tag.toLowerCase());
});

t.test('the From address chooses the account, whatever the envelope sender was', async (t) => {
  const work = await upstream(t);
  const home = await upstream(t);
  const box = await setUp(t, [account('work', work), account('home', home)]);
  const message = MESSAGE.replace('alice@work.example', 'alice@home.example');
  t.match((await send(box.none, { from: 'alice@home.example', message })).replies.final, [250, String]);
  t.match((await send(box.none, { message })).replies.final, [250, String], 'envelope of the other account');
  const receipt = await send(box.none, { from: '', message });
  t.match(receipt.replies.final, [250, String], 'a read receipt has the null sender');
  t.strictSame([work.mails.length, home.mails.length], [0, 3]);
  t.strictSame(
    home.mails.map((mail) => mail.from),
    ['alice@home.example', 'alice@work.example', ''],
  );
  t.strictSame(
    (await filed(box, 3)).map((each) => each.account),
    ['home', 'home', 'home'],
  );
});

t.test('a relay takes the mail of its addresses; the account still files the copy', async (t) => {
  const work = await upstream(t);
  const relay = await upstream(t, { login: LOGIN });
  const target = account('relay', relay, { login: LOGIN }).smtp!;
  const box = await setUp(t, [account('work', work), account('home', null)], {
    relay: { ...target, addresses: ['alice@home.example'] },
  });
  const message = MESSAGE.replace('alice@work.example', 'alice@home.example');
  t.match((await send(box.none, { from: 'alice@home.example', message })).replies.final, [250, String]);
  t.match((await send(box.none)).replies.final, [250, String]);
  t.strictSame([work.mails.length, relay.mails.length], [1, 1]);
  t.equal(relay.mails[0]?.from, 'alice@home.example');
  t.strictSame((await filed(box, 2)).map((each) => each.account).sort(), ['home', 'work']);
});

t.test(
  'the upstream’s refusal of sender, recipient, DATA and message reaches the client, for good or for now',
  async (t) => {
    const verdicts: readonly (readonly [string, string, number, RegExp])[] = [
      ['MAIL', '550 5.7.1 not from you', 550, /^5\.7\.1 not from you/],
      ['MAIL', '451 4.3.0 later', 250, /^2\.0\.0 queued: .*4\.3\.0 later/],
      ['RCPT', '550-5.1.1 no such\r\n550 5.1.1 user here', 550, /^5\.1\.1 no such user here/],
      ['RCPT', '450 4.2.0 come back later', 250, /^2\.0\.0 queued: .*come back later/],
      ['DATA', '554 5.5.1 no', 554, /^5\.5\.1 no/],
      ['.', '554 5.7.1 looks like spam', 554, /^5\.7\.1 looks like spam/],
      ['.', '452 4.3.1 disk full', 250, /queued: .*disk full/],
      ['.', `550 ${'x'.repeat(9_000)}`, 550, /^5\.0\.0 x{400,437}\.\.\./],
      ['.', '550 5.7.1 split\rreply\0here', 550, /^5\.7\.1 split reply here/],
      ['.', '421 4.3.2 going down', 250, /queued: .*going down/],
      ['.', '530 5.7.0 log in', 250, /queued: .*log in/],
      ['MAIL', '535 5.7.8 who are you', 250, /queued: .*who are you/],
      ['DATA', '250 what', 250, /queued: .*250 what/],
    ];
    for (const extensions of [['PIPELINING', '8BITMIME'], ['8BITMIME']]) {
      for (const [at, reply, code, text] of verdicts) {
        const what = `${at}: ${reply.slice(0, 30)} (${extensions[0]})`;
        const server = await upstream(t, { extensions, answer: (verb) => (verb === at ? reply : undefined) });
        const box = await setUp(t, [account('work', server)]);
        const { replies } = await send(box.none);
        t.match(replies.final, [code, text], what);
        const left = await box.mails();
        t.equal(left.length, code === 250 ? 1 : 0, `${what}: ${code === 250 ? 'waits' : 'is the client’s again'}`);
        t.strictSame([box.host.filed.length, box.host.reports.length, server.mails.length], [0, 0, 0], what);
        await box.close();
      }
    }
  },
);

t.test('each recipient has a fate of its own, each gets the mail once', async (t) => {
  let grey = true;
  for (const extensions of [['PIPELINING', 'DSN'], ['SIZE']]) {
    grey = true;
    const server = await upstream(t, {
      extensions,
      answer: (verb, line) => {
        if (verb === 'RCPT' && line.includes('nobody')) return '550 5.1.1 no such user';
        return verb === 'RCPT' && grey && line.includes('grey') ? '450 4.2.0 come back later' : undefined;
      },
    });
    const box = await setUp(t, [account('work', server)]);
    const to = ['bob@far.example', 'nobody@far.example', 'grey@far.example', 'Bob@far.example'];
    const { rcpt, replies } = await send(box.none, { to });
    t.match(rcpt, [[250], [250], [250], [250]]);
    t.match(replies.final, [250, /queued: 1 of 3 recipients were refused; a report follows/]);
    t.strictSame(
      server.mails.map((mail) => mail.to),
      [['bob@far.example']],
    );
    const [report] = await eventually('a report', () => box.host.reports.length > 0 && box.host.reports);
    t.match(
      report?.message.toString(),
      /Final-Recipient: rfc822; nobody@far\.example\r\nAction: failed\r\nStatus: 5\.1\.1/,
    );
    t.notMatch(report?.message.toString(), /Final-Recipient: rfc822; (?:bob|grey)/);
    await filed(box, 1);
    const [mail] = await box.mails();
    t.match(mail, {
      state: 'waiting',
      filed: true,
      recipients: [{ state: 'delivered' }, { told: true }, { state: 'waiting' }],
    });
    grey = false;
    await box.queue.retry(mail!.id);
    await eventually('the rest', () => server.mails.length === 2);
    t.strictSame(server.mails[1]?.to, ['grey@far.example']);
    await eventually('an empty queue', async () => (await box.mails()).length === 0);
    t.strictSame([box.host.filed.length, box.host.reports.length], [1, 1], 'filed and reported once');
    await box.close();
  }
});

t.test('more recipients than a server takes at once get the mail in several transactions', async (t) => {
  let inOne = 0;
  const server = await upstream(t, {
    answer: (verb) => {
      if (verb === 'MAIL') inOne = 0;
      if (verb !== 'RCPT') return undefined;
      inOne += 1;
      return inOne > 40 ? '452 4.5.3 too many recipients' : undefined;
    },
  });
  const box = await setUp(t, [account('work', server)]);
  const to = Array.from({ length: 250 }, (_, n) => `r${n}@far.example`);
  t.match((await send(box.none, { to })).replies.final, [250, /Ok: queued/]);
  t.strictSame(server.mails.flatMap((mail) => mail.to).sort(), [...to].sort(), 'everybody once');
  const limited = await upstream(t, { extensions: ['PIPELINING', 'LIMITS MAILMAX=2 RCPTMAX=20'] });
  const second = await setUp(t, [account('work', limited)]);
  t.match((await send(second.none, { to: to.slice(0, 90) })).replies.final, [250, String]);
  t.strictSame(
    limited.mails.map((mail) => mail.to.length),
    [20, 20, 20, 20, 10],
  );
  t.equal(sessions(limited), 3, 'two mails a session');
});

t.test('an upstream that cannot be used leaves the mail in the queue, and it leaves when it can', async (t) => {
  const [closed = 0] = await freePorts(1);
  const attempt = async (what: string, one: ReturnType<typeof account>, text: RegExp): Promise<void> => {
    const box = await setUp(t, [one], { commandMs: 300, finalMs: 300 });
    const { replies } = await send(box.none);
    t.match(replies.final, [250, /^2\.0\.0 queued: /], what);
    const [mail] = await box.mails();
    t.match(mail, { state: /waiting|sending/, error: text }, what);
    t.equal(box.host.filed.length, 0);
    await box.close();
  };
  const scripted = async (options: SmtpUpstreamOptions) => account('work', await upstream(t, options));
  const saying = (at: string, reply: string | null | 'drop') =>
    scripted({ answer: (verb: string) => (verb === at ? reply : undefined) });
  await attempt('nobody listens', account('work', closed), /ECONNREFUSED/);
  await attempt('greeting never comes', await saying('CONNECT', null), /Timeout/);
  await attempt('greeting refuses', await saying('CONNECT', '554 no'), /554 no/);
  await attempt('silence after RCPT', await saying('RCPT', null), /no answer/);
  await attempt('cut after RCPT', await saying('RCPT', 'drop'), /closed the connection/);
  await attempt('cut after the dot', await saying('.', 'drop'), /before the server answered/);
  await attempt('silence after the dot', await saying('.', null), /before the server answered/);
  await attempt('no SMTP at all', await saying('CONNECT', 'SSH-2.0-x'), /SSH/);
  const login = await upstream(t, { login: { ...LOGIN, password: 'changed' } });
  await attempt('wrong login', account('work', login, { login: LOGIN }), /535/);
  await attempt('no STARTTLS', account('work', await upstream(t), { tls: 'starttls' }), /STARTTLS/i);
  const other = account('work', await upstream(t, { tls: 'implicit' }), { tls: 'implicit' });
  const untrusted = { ...other, smtp: other.smtp && { ...other.smtp, endpoint: { ...other.smtp.endpoint, ca: null } } };
  await attempt('unknown authority', untrusted, /certificate/);
  let up = false;
  const server = await upstream(t, { answer: (verb) => (verb === 'CONNECT' && !up ? '421 not now' : undefined) });
  const box = await setUp(t, [account('work', server)], { times: { retryMs: 200 } });
  t.match((await send(box.none)).replies.final, [250, /queued/]);
  up = true;
  await eventually('it left', () => server.mails.length === 1);
  await filed(box, 1);
  await eventually('an empty queue', async () => (await box.mails()).length === 0);
});

t.test('sessions are kept for the next mail, and a dead one costs nothing', async (t) => {
  const server = await upstream(t);
  const box = await setUp(t, [account('work', server)]);
  for (let n = 0; n < 3; n += 1) t.match((await send(box.none)).replies.final, [250, /Ok: queued/]);
  t.equal(sessions(server), 1, 'one session for three mails');
  server.cut();
  t.match((await send(box.none)).replies.final, [250, /Ok: queued/]);
  t.equal(server.mails.length, 4);
});

t.test('what the upstream cannot carry is refused, never changed', async (t) => {
  const old = await upstream(t, { extensions: ['SIZE 2000'] });
  const box = await setUp(t, [account('work', old)]);
  const eightBit = `${MESSAGE}\xe9\n`;
  t.match((await send(box.none, { message: eightBit })).replies.final, [554, /^5\.6\.3 .*8BITMIME/]);
  const large = `${MESSAGE}${'x'.repeat(70)}\n${'y'.repeat(1_990)}`;
  t.match((await send(box.none, { message: `${large}\n` })).replies.final, [552, /^5\.3\.4 .*takes 2000/]);
  const utf8 = { message: MESSAGE.replace('hello', '\xc3\xa9'), mailOptions: ['SMTPUTF8'] };
  t.match((await send(box.none, utf8)).replies.final, [554, /^5\.6\.[39]/]);
  const abroad = await send(box.none, { to: ['\xe9@far.example'], mailOptions: ['SMTPUTF8'] });
  t.match(abroad.replies.final, [553, /^5\.6\.7 .*no SMTPUTF8/]);
  t.equal(old.mails.length, 0);
  t.match((await send(box.none)).replies.final, [250, String]);
  t.match(old.mails[0]?.mailLine, /^MAIL FROM:<alice@work\.example> SIZE=\d+$/);
  const modern = await upstream(t);
  const second = await setUp(t, [account('work', modern)]);
  t.match((await send(second.none, utf8)).replies.final, [250, String]);
  t.match(modern.mails[0]?.mailLine, /BODY=8BITMIME SMTPUTF8$/);
});

t.test('messages over the limit, with bare CR, LF or NUL, or with unknown parameters are refused', async (t) => {
  const server = await upstream(t);
  const box = await setUp(t, [account('work', server)], { messageBytes: 20_000 });
  t.match((await send(box.none, { mailOptions: ['SIZE=20001'] })).replies.mail, [552, /^5\.3\.4/]);
  t.match((await send(box.none, { mailOptions: ['BY=600;R'] })).replies.mail, [555, /^5\.5\.4 .*BY/]);
  const over = `${MESSAGE}${`${'x'.repeat(98)}\n`.repeat(200)}`;
  t.match((await send(box.none, { message: over })).replies.final, [552, /^5\.3\.4/]);
  for (const bad of ['bare\rcr', 'bare\0nul']) {
    t.match((await send(box.none, { message: `${MESSAGE}${bad}\n` })).replies.final, [554, /^5\.6\.11/]);
  }
  t.equal(server.mails.length, 0);
  const smuggle = `
import socket, base64
s = socket.create_connection(('127.0.0.1', p['port'])); f = s.makefile('rwb')
def say(line):
    f.write(line); f.flush()
def reply():
    while True:
        line = f.readline().decode()
        if line[3:4] != '-': return line.strip()
reply(); say(b'EHLO x\\r\\n'); reply()
say(b'AUTH PLAIN ' + base64.b64encode(('\\0alice\\0' + p['password']).encode()) + b'\\r\\n'); reply()
say(b'MAIL FROM:<alice@work.example>\\r\\n'); reply()
say(b'RCPT TO:<bob@far.example>\\r\\n'); reply()
say(b'DATA\\r\\n'); reply()
say(p['head'].encode().replace(b'\\n', b'\\r\\n') + p['end'].encode('latin1') + b'MAIL FROM:<x@y>\\r\\nRCPT TO:<z@w>\\r\\nDATA\\r\\nsmuggled\\r\\n.\\r\\n')
print(json.dumps(reply()))
`;
  for (const end of ['\n.\n', '\r.\r', '\n.\r\n', '\r\n.\n', '\r\n.\r', '\r.\r\n', '\r\n\0.\r\n']) {
    const reply = await runPython<string>(smuggle, { port: box.none, password: PASSWORD, head: MESSAGE, end });
    t.match(reply, /^554 5\.6\.11 /, JSON.stringify(end));
  }
  t.equal(server.mails.length, 0, 'nothing was smuggled');
});

t.test('a mail that cannot be filed is sent all the same, once, and filed when that works again', async (t) => {
  const server = await upstream(t);
  const box = await setUp(t, [account('work', server), account('quiet', server, { sent: 'never' })]);
  box.host.fault = new Error('disk full');
  t.match((await send(box.none)).replies.final, [250, String]);
  await eventually('an attempt to file', async () => ((await box.mails())[0]?.looks ?? 0) > 0);
  t.match(await box.mails(), [{ state: 'settling', filed: false }]);
  box.host.fault = null;
  await box.queue.settleAccount('work');
  await filed(box, 1);
  t.equal(server.mails.length, 1);
  const message = MESSAGE.replace('alice@work', 'alice@quiet');
  t.match((await send(box.none, { from: 'alice@quiet.example', message })).replies.final, [250, String]);
  await eventually('an empty queue', async () => (await box.mails()).length === 0);
  t.equal(box.host.filed.length, 1, 'sent: never files nothing');
});

t.test('a client that goes away before its dot leaves nothing behind', async (t) => {
  const server = await upstream(t);
  const box = await setUp(t, [account('work', server)]);
  const script = `
import smtplib
s = smtplib.SMTP('127.0.0.1', p['port'], timeout=30)
s.ehlo('x'); s.login('alice', p['password'])
s.mail('alice@work.example'); s.rcpt('bob@far.example'); s.rset()
s.mail('alice@work.example'); s.rcpt('bob@far.example')
s.putcmd('data'); s.getreply(); s.send(b'From: alice@work.example\\r\\n\\r\\nhalf')
s.close()
print(1)
`;
  await runPython(script, { port: box.none, password: PASSWORD });
  t.match((await send(box.none)).replies.final, [250, String], 'the server goes on');
  t.equal(server.mails.length, 1);
  t.equal(server.commandsOf('DATA').length, 1);
});

t.test('recipients and connections end at their limits', async (t) => {
  const server = await upstream(t);
  const box = await setUp(t, [account('work', server)]);
  const client = await dialog(t, box.none);
  await client.logIn();
  await client.say('MAIL FROM:<alice@work.example>');
  for (let i = 1; i <= SUBMIT_LIMITS.recipients; i += 1) {
    const reply = await client.say(`RCPT TO:<r${i}@far.example>`);
    if (!reply.startsWith('250')) t.fail(reply);
  }
  t.match(await client.say('RCPT TO:<one-more@far.example>'), /^452 4\.5\.3 /);
  await client.say('DATA');
  t.match(await client.say(`${crlf(MESSAGE)}.`), /^250 /);
  t.equal(server.mails.flatMap((mail) => mail.to).length, SUBMIT_LIMITS.recipients);
  const others = Array.from({ length: SUBMIT_LIMITS.clientsPerAddress - 1 }, () => dialog(t, box.none));
  await Promise.all(others);
  await t.rejects(dialog(t, box.none), /closed the connection|421/, 'one connection too many');
  const script = `
import socket
s = socket.create_connection(('127.0.0.1', p['port'])); print(json.dumps(s.makefile().readline().strip()))
`;
  t.match(await runPython<string>(script, { port: box.none }), /^421 4\.7\.0 too many connections|^421 /);
});

t.test('curl, swaks and msmtp send through it', async (t) => {
  const server = await upstream(t, { tls: 'starttls', login: LOGIN });
  const box = await setUp(t, [account('work', server, { tls: 'starttls', login: LOGIN })]);
  const mail = crlf(MESSAGE).toString('latin1');
  const run = async (program: string, args: readonly string[], stdin: string): Promise<void> => {
    const { code, stderr, stdout } = await runCommand(program, [...args], { stdin });
    t.equal(code, 0, `${program}: ${stderr.slice(-400)}${code === 0 ? '' : stdout.slice(-400)}`);
  };
  const user = `alice:${PASSWORD}`;
  const envelope = ['--mail-from', 'alice@work.example', '--mail-rcpt', 'bob@far.example', '--upload-file', '-'];
  const urls = [`smtps://localhost:${box.implicit}`, `smtp://localhost:${box.starttls}`];
  for (const url of urls) {
    await run('curl', ['-sS', '--ssl-reqd', '--cacert', files.ca, '--user', user, url, ...envelope], mail);
  }
  const addresses = ['--from', 'alice@work.example', '--to', 'bob@far.example'];
  const auth = ['--auth', 'PLAIN', '--auth-user', 'alice', '--auth-password', PASSWORD];
  const data = ['--data', '-'];
  // swaks could do TLS only with another Perl package.
  await run('swaks', ['--server', `127.0.0.1:${box.none}`, ...addresses, ...auth, ...data], mail);
  const options = [
    '--host=localhost',
    `--port=${box.starttls}`,
    '--tls=on',
    '--tls-starttls=on',
    `--tls-trust-file=${files.ca}`,
  ];
  const login = ['--auth=plain', '--user=alice', `--passwordeval=echo ${PASSWORD}`, '--from=alice@work.example'];
  await run('msmtp', [...options, ...login, 'bob@far.example'], MESSAGE);
  t.equal(server.mails.length, 4);
  for (const { octets } of server.mails) t.equal(content(octets).toString('latin1').trimEnd(), mail.trimEnd());
});

/** Postfix's smtp-sink, which keeps each mail in a file of `spool`. */
async function smtpSink(test: Test, args: readonly string[]): Promise<{ port: number; spool: string }> {
  const [port = 0] = await freePorts(1);
  const spool = test.testdir({});
  const user = process.getuid?.() === 0 ? ['-u', 'root'] : [];
  const { PATH = '' } = process.env;
  const child = spawn('smtp-sink', [...user, ...args, '-d', join(spool, 'mail.'), `127.0.0.1:${port}`, '10'], {
    env: { ...process.env, PATH: `${PATH}:/usr/sbin` },
  });
  const ended = new Promise((resolve) => child.once('close', resolve));
  test.teardown(async () => {
    child.kill();
    await ended;
  });
  await eventually('smtp-sink listens', () => accepts(port));
  return { port, spool };
}

t.test('Postfix’s smtp-sink takes what goes out, and its refusals come back', async (t) => {
  const sink = await smtpSink(t, []);
  const box = await setUp(t, [account('work', sink.port)]);
  const message = `${MESSAGE}.\n..\n.dot\n8-bit \xe9\n`;
  t.match((await send(box.none, { message })).replies.final, [250, String]);
  const files = await readdir(sink.spool);
  t.equal(files.length, 1);
  const kept = await readFile(join(sink.spool, files[0] ?? ''), 'latin1');
  t.equal(kept.slice(kept.indexOf('From: Alice')).trimEnd(), message.trimEnd());
  const refusals: readonly (readonly [readonly string[], number])[] = [
    [['-f', 'RCPT'], 500],
    [['-r', 'RCPT'], 250],
    [['-f', '.'], 500],
    [['-r', 'DATA'], 250],
    [['-q', '.'], 250],
    [['-Q', 'MAIL'], 250],
    [['-8'], 554],
  ];
  for (const [args, code] of refusals) {
    const { port } = await smtpSink(t, args);
    const refusing = await setUp(t, [account('work', port)]);
    t.match((await send(refusing.none, { message })).replies.final, [code, String], args.join(' '));
    t.equal((await refusing.mails()).length, code === 250 ? 1 : 0);
    t.equal(refusing.host.filed.length, 0);
    await refusing.close();
  }
});
