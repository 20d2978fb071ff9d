import { spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import { Authenticator } from '../../src/auth/authenticator.js';
import { hashPassword } from '../../src/auth/password.js';
import { RELAY_TIMEOUTS, SUBMIT_LIMITS } from '../../src/submit/limits.js';
import { createSubmission, type SubmissionOptions } from '../../src/submit/submission.js';
import type { SendingAccount } from '../../src/submit/types.js';
import { systemClock } from '../../src/util/clock.js';
import { silentLog } from '../../src/util/log.js';
import { Metrics } from '../../src/util/metrics.js';
import { Secret } from '../../src/util/secret.js';
import { makeCertificates } from '../harness/certificates.js';
import { runCommand } from '../harness/command-line.js';
import { accepts, eventually, freePorts } from '../harness/net.js';
import { runPython } from '../harness/python.js';
import { type SmtpUpstream, type SmtpUpstreamOptions, startSmtpUpstream } from '../harness/smtp-upstream.js';

const PASSWORD = 'correct horse';
const LOGIN = { user: 'upstream-alice', password: 'upstream pass' };
const dir = t.testdir({});
const files = await makeCertificates(dir);
const certificate = { cert: await readFile(files.cert, 'utf8'), key: await readFile(files.key, 'utf8') };
const ca = await readFile(files.ca, 'utf8');
const passwordHash = await hashPassword(PASSWORD, { ln: 10, r: 8, p: 1 });

interface Filed {
  readonly user: string;
  readonly account: string;
  readonly message: Buffer;
}

interface Setup {
  /** Ports of the listeners without TLS, with implicit TLS, with STARTTLS. */
  readonly none: number;
  readonly implicit: number;
  readonly starttls: number;
  readonly filed: readonly Filed[];
  readonly metrics: Metrics;
}

/** An upstream of the given kind that the account `id` sends through. */
async function upstream(test: Test, options: SmtpUpstreamOptions = {}): Promise<SmtpUpstream> {
  const server = await startSmtpUpstream({ certificate, ...options });
  test.teardown(() => server.stop());
  return server;
}

function account(
  id: string,
  server: SmtpUpstream | number | null,
  changes: Partial<SendingAccount> & { tls?: 'implicit' | 'starttls' | 'none'; login?: typeof LOGIN } = {},
): SendingAccount {
  const { tls = 'none', login, ...rest } = changes;
  const port = typeof server === 'number' ? server : (server?.port ?? 0);
  const endpoint = { host: '127.0.0.1', port, tls, ca: tls === 'none' ? null : ca };
  const auth = login === undefined ? null : { username: login.user, password: new Secret(login.password) };
  const smtp = server === null ? null : { endpoint, auth };
  return { id, addresses: [`alice@${id}.example`], sent: 'auto', smtp, ...rest };
}

async function setUp(
  test: Test,
  accounts: readonly SendingAccount[],
  changes: Partial<SubmissionOptions> = {},
): Promise<Setup> {
  const filed: Filed[] = [];
  const metrics = new Metrics();
  const authenticator = new Authenticator({ users: [{ name: 'alice', passwordHash }], clock: systemClock });
  const submission = createSubmission({
    listeners: (['none', 'implicit', 'starttls'] as const).map((tls) => ({ host: '127.0.0.1', port: 0, tls })),
    hostname: 'box.example',
    messageBytes: 1_000_000,
    users: [{ name: 'alice', accounts }],
    certificate,
    authenticate: (user, password, peer) => authenticator.authenticate(user, password, peer),
    fileSent: async (user, id, message) => void filed.push({ user, account: id, message }),
    clock: systemClock,
    log: silentLog(),
    metrics,
    graceMs: 200,
    ...changes,
  });
  const infos = await submission.start();
  test.teardown(async () => {
    authenticator.close();
    await submission.close();
  });
  const port = (tls: string): number => infos.find((each) => each.tls === tls)?.port ?? 0;
  return { none: port('none'), implicit: port('implicit'), starttls: port('starttls'), filed, metrics };
}

type Reply = readonly [number, string];

interface Sent {
  /** Replies as smtplib saw them, by command. */
  readonly replies: { readonly mail?: Reply; readonly data?: Reply; readonly final?: Reply };
  readonly rcpt: readonly Reply[];
}

/** One mail by Python's smtplib, command by command. `message` is latin1 text with LF line ends, sent as it is. */
async function send(
  port: number,
  {
    from = 'alice@work.example',
    to = ['bob@far.example'],
    message = MESSAGE,
    mailOptions = [] as string[],
    login = true,
  } = {},
): Promise<Sent> {
  const script = `
import smtplib
s = smtplib.SMTP('127.0.0.1', p['port'], local_hostname='laptop.example', timeout=30)
s.ehlo()
out = {'replies': {}, 'rcpt': []}
t = lambda r: [r[0], r[1].decode('utf-8', 'replace')]
def run():
    if p['login']:
        s.login('alice', p['password'])
    out['replies']['mail'] = t(s.mail(p['from'], p['mailOptions']))
    if out['replies']['mail'][0] != 250: return
    out['rcpt'] = [t(s.rcpt(each)) for each in p['to']]
    if not any(r[0] == 250 for r in out['rcpt']): return
    s.putcmd('data')
    out['replies']['data'] = t(s.getreply())
    if out['replies']['data'][0] != 354: return
    body = p['message'].encode('latin1').replace(b'\\n', b'\\r\\n')
    s.send(smtplib._quote_periods(body) + b'.\\r\\n')
    out['replies']['final'] = t(s.getreply())
run()
s.close()
print(json.dumps(out))
`;
  return await runPython<Sent>(script, { port, from, to, message, mailOptions, login, password: PASSWORD });
}

/** A client that sends lines and awaits the reply to each. */
async function dialog(
  test: Test,
  port: number,
): Promise<{ say(line: string): Promise<string>; logIn(): Promise<void> }> {
  const socket = connect(port, '127.0.0.1');
  test.teardown(() => socket.destroy());
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  const reply = async (): Promise<string> => {
    for (;;) {
      const { value, done } = await lines.next();
      if (done) throw new Error('the server closed the connection');
      if (!/^\d{3}-/.test(value)) return value;
    }
  };
  const say = (line: string): Promise<string> => {
    socket.write(`${line}\r\n`);
    return reply();
  };
  await reply();
  await say('EHLO laptop.example');
  const token = Buffer.from(`\0alice\0${PASSWORD}`).toString('base64');
  return { say, logIn: async () => void (await say(`AUTH PLAIN ${token}`)) };
}

const HEAD =
  'From: Alice <alice@work.example>\nTo: bob@far.example\nSubject: hello\nDate: Thu, 1 Feb 2024 10:00:00 +0000\n';
const MESSAGE = `${HEAD}Message-ID: <1@laptop.example>\n\nhello\n`;
const crlf = (text: string): Buffer => Buffer.from(text.replaceAll('\n', '\r\n'), 'latin1');

/** What the receiver gets, dot-stuffing undone and our Received field taken off. */
function content(octets: Buffer | undefined): Buffer {
  const text = octets?.toString('latin1') ?? '';
  const plain = text.replace(/^\.\./gm, '.').replace(/^Received: (?:.*\r\n[ \t])*.*\r\n/, '');
  return Buffer.from(plain, 'latin1');
}

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
    t.match(replies.final, [250, /^2\.0\.0 Ok: queued as 4711 \(account work\)$/], `${tls}: the upstream's own words`);
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
    t.equal(box.filed.length, 1);
    t.match(box.filed[0], { user: 'alice', account: 'work' });
    t.ok(box.filed[0]?.message.equals(crlf(message)), 'the filed copy is what the client wrote');
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
  t.ok(box.filed[0]?.message.equals(crlf(message)));
});

t.test('Message-ID and Date are added when the client gave none, the same in Sent', async (t) => {
  const server = await upstream(t);
  const box = await setUp(t, [account('work', server)]);
  await send(box.none, { message: 'From: alice@work.example\nSubject: x\n\nhello\n' });
  const text = content(server.mails[0]?.octets).toString('latin1');
  t.match(text, /^Date: .* \+0000\r\nMessage-ID: <[0-9a-f-]+@box\.example>\r\nFrom: alice@work\.example\r\n/);
  t.equal(box.filed[0]?.message.toString('latin1'), text);
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
    features: ['8bitmime', 'auth', 'enhancedstatuscodes', 'pipelining', 'size', 'smtputf8'],
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
  t.match((await send(box.none, { from: 'alice@home.example', message })).replies.final, [250, /account home/]);
  t.match((await send(box.none, { message })).replies.final, [250, /account home/], 'envelope of the other account');
  const receipt = await send(box.none, { from: '', message });
  t.match(receipt.replies.final, [250, /account home/], 'a read receipt has the null sender');
  t.strictSame([work.mails.length, home.mails.length], [0, 3]);
  t.strictSame(
    home.mails.map((mail) => mail.from),
    ['alice@home.example', 'alice@work.example', ''],
  );
  t.strictSame(
    box.filed.map((each) => each.account),
    ['home', 'home', 'home'],
  );
});

t.test('every recipient gets the verdict of the upstream server', async (t) => {
  const server = await upstream(t, {
    answer: (verb, line) => {
      if (verb !== 'RCPT') return undefined;
      if (line.includes('nobody')) return '550-5.1.1 no such\r\n550 5.1.1 user here';
      if (line.includes('grey')) return '450 4.2.0 come back later';
      return undefined;
    },
  });
  const box = await setUp(t, [account('work', server)]);
  const to = ['bob@far.example', 'nobody@far.example', 'grey@far.example', 'NOBODY@far.example', 'Bob@far.example'];
  const { rcpt, replies } = await send(box.none, { to });
  t.match(rcpt, [
    [250, String],
    [550, /^5\.1\.1 no such user here \(answer of the server of account work\)/],
    [450, /^4\.2\.0 come back later/],
    [550, /^5\.1\.1 no such user here/],
    [250, String],
  ]);
  t.match(replies.final, [250, String]);
  t.strictSame(server.mails[0]?.to, ['bob@far.example'], 'each recipient once');
});

t.test('the upstream’s verdict on sender, DATA and message reaches the client', async (t) => {
  const verdicts: readonly (readonly [string, string, number, RegExp])[] = [
    ['MAIL', '550 5.7.1 not from you', 550, /^5\.7\.1 not from you/],
    ['MAIL', '451 4.3.0 later', 451, /^4\.3\.0 later/],
    ['DATA', '554 5.5.1 no', 554, /^5\.5\.1 no/],
    ['.', '554 5.7.1 looks like spam', 554, /^5\.7\.1 looks like spam/],
    ['.', '452 4.3.1 disk full', 452, /^4\.3\.1 disk full/],
    ['.', `550 ${'x'.repeat(9_000)}`, 550, /^5\.0\.0 x{400,437}\.\.\./],
    ['.', '421 4.3.2 going down', 451, /going down/],
    ['.', '530 5.7.0 log in', 451, /log in/],
  ];
  for (const [at, reply, code, text] of verdicts) {
    const server = await upstream(t, { answer: (verb) => (verb === at ? reply : undefined) });
    const box = await setUp(t, [account('work', server)]);
    const { replies, rcpt } = await send(box.none);
    t.match(replies.final ?? rcpt[0], [code, text], `${at}: ${reply.slice(0, 40)}`);
    t.equal(box.filed.length, 0);
  }
});

t.test('an upstream that cannot be used leaves the mail with the client', async (t) => {
  const [closed = 0] = await freePorts(1);
  const attempt = async (what: string, one: SendingAccount, text: RegExp): Promise<void> => {
    const box = await setUp(t, [one], {
      timeouts: { ...RELAY_TIMEOUTS, greetingMs: 300, commandMs: 300, finalMs: 300 },
    });
    const { rcpt, replies } = await send(box.none);
    t.match(replies.final ?? rcpt[0], [451, text], what);
    t.equal(box.filed.length, 0);
  };
  const scripted = async (options: SmtpUpstreamOptions): Promise<SendingAccount> =>
    account('work', await upstream(t, options));
  await attempt('nobody listens', account('work', closed), /^4\.4\.1 .*account work cannot be used now.*ECONNREFUSED/);
  await attempt(
    'greeting never comes',
    await scripted({ answer: (verb) => (verb === 'CONNECT' ? null : undefined) }),
    /^4\.4\.1/,
  );
  await attempt(
    'greeting refuses',
    await scripted({ answer: (verb) => (verb === 'CONNECT' ? '554 no' : undefined) }),
    /^4\.4\.1/,
  );
  await attempt(
    'silence after RCPT',
    await scripted({ answer: (verb) => (verb === 'RCPT' ? null : undefined) }),
    /no answer/,
  );
  await attempt(
    'cut after RCPT',
    await scripted({ answer: (verb) => (verb === 'RCPT' ? 'drop' : undefined) }),
    /^4\.4\.1/,
  );
  await attempt(
    'cut after the dot',
    await scripted({ answer: (verb) => (verb === '.' ? 'drop' : undefined) }),
    /^4\.4\.1/,
  );
  await attempt(
    'silence after the dot',
    await scripted({ answer: (verb) => (verb === '.' ? null : undefined) }),
    /no answer/,
  );
  await attempt(
    'no SMTP at all',
    await scripted({ answer: (verb) => (verb === 'CONNECT' ? 'SSH-2.0-x' : undefined) }),
    /^4\.4\.1/,
  );
  const login = await upstream(t, { login: { ...LOGIN, password: 'changed' } });
  await attempt('wrong login', account('work', login, { login: LOGIN }), /^4\.7\.0 .*refuses the configured login/);
  await attempt('no STARTTLS', account('work', await upstream(t), { tls: 'starttls' }), /^4\.4\.1/);
  const other = account('work', await upstream(t, { tls: 'implicit' }), { tls: 'implicit' });
  const untrusted = { ...other, smtp: other.smtp && { ...other.smtp, endpoint: { ...other.smtp.endpoint, ca: null } } };
  await attempt('unknown authority', untrusted, /^4\.4\.1/);
});

t.test('an upstream connection that died while the client was writing is made again', async (t) => {
  const server = await upstream(t);
  const box = await setUp(t, [account('work', server)]);
  const client = await dialog(t, box.none);
  await client.logIn();
  await client.say('MAIL FROM:<alice@work.example>');
  t.match(await client.say('RCPT TO:<bob@far.example>'), /^250 /);
  server.cut();
  t.match(await client.say('RCPT TO:<carol@far.example>'), /^250 /);
  server.cut();
  t.match(await client.say('DATA'), /^354 /);
  t.match(await client.say(`${crlf(MESSAGE)}.`), /^250 2\.0\.0 Ok: queued/);
  t.strictSame(server.mails[0]?.to, ['bob@far.example', 'carol@far.example']);
  t.equal(server.mails.length, 1);
});

t.test('a recipient that is refused only after a new connection stops the whole message', async (t) => {
  let refuse = false;
  const server = await upstream(t, {
    answer: (verb, line) => (refuse && verb === 'RCPT' && line.includes('carol') ? '550 5.1.1 gone' : undefined),
  });
  const box = await setUp(t, [account('work', server)]);
  const client = await dialog(t, box.none);
  await client.logIn();
  await client.say('MAIL FROM:<alice@work.example>');
  await client.say('RCPT TO:<bob@far.example>');
  t.match(await client.say('RCPT TO:<carol@far.example>'), /^250 /);
  refuse = true;
  server.cut();
  await client.say('DATA');
  t.match(await client.say(`${crlf(MESSAGE)}.`), /^550 5\.1\.1 carol@far\.example: gone/);
  t.equal(server.mails.length, 0);
});

t.test('what the upstream cannot carry is refused, never changed', async (t) => {
  const old = await upstream(t, { extensions: ['SIZE 2000'] });
  const box = await setUp(t, [account('work', old)]);
  const eightBit = `${MESSAGE}\xe9\n`;
  t.match((await send(box.none, { message: eightBit })).replies.final, [554, /^5\.6\.3 .*8BITMIME/]);
  const large = `${MESSAGE}${'x'.repeat(70)}\n`.repeat(1) + 'y'.repeat(1_990);
  t.match((await send(box.none, { message: `${large}\n` })).replies.final, [552, /^5\.3\.4 .*takes 2000/]);
  t.match((await send(box.none, { mailOptions: ['SIZE=5000'] })).rcpt[0], [552, /^5\.3\.4/]);
  const utf8 = { message: MESSAGE.replace('hello', '\xc3\xa9'), mailOptions: ['SMTPUTF8'] };
  t.match((await send(box.none, utf8)).replies.final, [554, /^5\.6\.[39]/]);
  t.match((await send(box.none, { to: ['\xe9@far.example'], mailOptions: ['SMTPUTF8'] })).rcpt[0], [553, /^5\.6\.7/]);
  t.equal(old.mails.length, 0);
  t.match((await send(box.none)).replies.final, [250, String]);
  t.equal(old.mails[0]?.mailLine, 'MAIL FROM:<alice@work.example>');
  const modern = await upstream(t);
  const second = await setUp(t, [account('work', modern)]);
  t.match((await send(second.none, utf8)).replies.final, [250, String]);
  t.match(modern.mails[0]?.mailLine, /BODY=8BITMIME SMTPUTF8$/);
});

t.test('messages over the limit, with bare CR, LF or NUL, or with unknown parameters are refused', async (t) => {
  const server = await upstream(t);
  const box = await setUp(t, [account('work', server)], { messageBytes: 20_000 });
  t.match((await send(box.none, { mailOptions: ['SIZE=20001'] })).replies.mail, [552, /^5\.3\.4/]);
  t.match((await send(box.none, { mailOptions: ['RET=HDRS'] })).replies.mail, [555, /^5\.5\.4 .*RET/]);
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

t.test('a mail that cannot be filed is sent all the same', async (t) => {
  const server = await upstream(t);
  const box = await setUp(t, [account('work', server), account('quiet', server, { sent: 'never' })], {
    fileSent: () => Promise.reject(new Error('disk full')),
  });
  t.match((await send(box.none)).replies.final, [250, String]);
  t.match(await box.metrics.text(), /mergebox_submission_not_filed_total 1/);
  const message = MESSAGE.replace('alice@work', 'alice@quiet');
  t.match((await send(box.none, { from: 'alice@quiet.example', message })).replies.final, [250, String]);
  t.match(await box.metrics.text(), /mergebox_submission_not_filed_total 1\n/, 'sent: never files nothing');
});

t.test('a client that goes away leaves no upstream transaction', async (t) => {
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
  t.equal(server.mails[0]?.to.length, SUBMIT_LIMITS.recipients);
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
  t.match((await send(box.none, { message })).replies.final, [250, /account work/]);
  const files = await readdir(sink.spool);
  t.equal(files.length, 1);
  const kept = await readFile(join(sink.spool, files[0] ?? ''), 'latin1');
  t.equal(kept.slice(kept.indexOf('From: Alice')).trimEnd(), message.trimEnd());
  const refusals: readonly (readonly [readonly string[], number])[] = [
    [['-f', 'RCPT'], 500],
    [['-r', 'RCPT'], 450],
    [['-f', '.'], 500],
    [['-r', 'DATA'], 450],
    [['-q', '.'], 451],
    [['-Q', 'MAIL'], 451],
    [['-8'], 554],
  ];
  for (const [args, code] of refusals) {
    const { port } = await smtpSink(t, args);
    const refusing = await setUp(t, [account('work', port)]);
    const { replies, rcpt } = await send(refusing.none, { message });
    t.match(replies.final ?? rcpt[0], [code, String], args.join(' '));
    t.equal(refusing.filed.length, 0);
  }
});
