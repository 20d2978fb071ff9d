import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Test } from 'tap';
import { Authenticator } from '../../src/auth/authenticator.js';
import { hashPassword } from '../../src/auth/password.js';
import { RELAY_TIMEOUTS } from '../../src/submit/limits.js';
import type { QueueHost, SentLook } from '../../src/submit/queue/host.js';
import type { QueuedMail } from '../../src/submit/queue/mail.js';
import type { QueueTimes } from '../../src/submit/queue/progress.js';
import { OutgoingQueue } from '../../src/submit/queue/queue.js';
import { SenderBook } from '../../src/submit/sender.js';
import { createSubmission } from '../../src/submit/submission.js';
import type { SendingAccount, SendingUser } from '../../src/submit/types.js';
import { type Clock, systemClock } from '../../src/util/clock.js';
import { silentLog } from '../../src/util/log.js';
import { Metrics } from '../../src/util/metrics.js';
import { Secret } from '../../src/util/secret.js';
import { makeCertificates, type TestCertificates } from './certificates.js';
import { runPython } from './python.js';
import { type SmtpUpstream, type SmtpUpstreamOptions, startSmtpUpstream } from './smtp-upstream.js';

export const PASSWORD = 'correct horse';
export const LOGIN = { user: 'upstream-alice', password: 'upstream pass' };
/** Before which nothing of the queue happens again in a test that does not ask for it. */
const NEVER_MS = 3_600_000;

/** The certificate of one test file, and PEM texts of it. */
export interface Pem {
  readonly files: TestCertificates;
  readonly certificate: { readonly cert: string; readonly key: string };
  readonly ca: string;
}

export async function makePem(dir: string): Promise<Pem> {
  const files = await makeCertificates(dir);
  return {
    files,
    certificate: { cert: await readFile(files.cert, 'utf8'), key: await readFile(files.key, 'utf8') },
    ca: await readFile(files.ca, 'utf8'),
  };
}

/** An upstream of the given kind; it ends with the test. */
export async function upstream(test: Test, options: SmtpUpstreamOptions = {}): Promise<SmtpUpstream> {
  const server = await startSmtpUpstream(options);
  test.teardown(() => server.stop());
  return server;
}

export type AccountChanges = Partial<SendingAccount> & {
  readonly tls?: 'implicit' | 'starttls' | 'none';
  readonly login?: typeof LOGIN;
  readonly ca?: string;
  readonly when?: 'now' | 'reachable' | 'sync';
  readonly connections?: number;
};

/** An account that sends through a server on that port (null: through none) and files what it sent at once. */
export function account(
  id: string,
  server: SmtpUpstream | number | null,
  changes: AccountChanges = {},
): SendingAccount {
  const { tls = 'none', login, ca = null, when = 'now', connections = 4, ...rest } = changes;
  const port = typeof server === 'number' ? server : (server?.port ?? 0);
  const endpoint = { host: '127.0.0.1', port, tls, ca };
  const auth = login === undefined ? null : { username: login.user, password: new Secret(login.password) };
  const smtp = server === null ? null : { endpoint, auth, when, connections };
  return { id, addresses: [`alice@${id}.example`], sent: 'always', smtp, ...rest };
}

export interface Filed {
  readonly account: string;
  readonly message: Buffer;
}

/** The mailboxes as the queue sees them: what it asked for, and what it is told. */
export class HostProbe implements QueueHost {
  readonly filed: Filed[] = [];
  readonly reports: (Filed & { readonly messageId: string })[] = [];
  readonly marks: { readonly answered: readonly string[]; readonly forwarded: readonly string[] }[] = [];
  readonly looks: string[] = [];
  /** What a look at Sent shows, by Message-ID. */
  sent: (messageId: string) => SentLook = () => 'absent';
  online = true;
  /** Thrown by whatever is asked next, while it is set. */
  fault: Error | null = null;

  async lookInSent(_account: string, messageId: string): Promise<SentLook> {
    this.looks.push(messageId);
    return this.sent(messageId);
  }

  async fileSent(account: string, message: Buffer): Promise<void> {
    if (this.fault !== null) throw this.fault;
    this.filed.push({ account, message });
  }

  async report(account: string, message: Buffer, messageId: string): Promise<boolean> {
    if (this.fault !== null) throw this.fault;
    if (!this.reports.some((each) => each.messageId === messageId)) this.reports.push({ account, message, messageId });
    return true;
  }

  async mark(answered: readonly string[], forwarded: readonly string[]): Promise<void> {
    this.marks.push({ answered, forwarded });
  }

  reachable(): boolean {
    return this.online;
  }
}

export interface SubmissionChanges {
  readonly messageBytes?: number;
  readonly waitMs?: number;
  readonly times?: Partial<QueueTimes>;
  readonly finalMs?: number;
  readonly commandMs?: number;
  readonly relay?: SendingUser['relay'];
  readonly clock?: Clock;
  /** The user's directory; a new one that goes with the test when absent. */
  readonly dir?: string;
  readonly pem?: Pem;
}

export interface SubmissionSetup {
  /** Ports of the listeners without TLS, with implicit TLS, with STARTTLS. */
  readonly none: number;
  readonly implicit: number;
  readonly starttls: number;
  readonly queue: OutgoingQueue;
  readonly host: HostProbe;
  readonly metrics: Metrics;
  readonly dir: string;
  /** Every mail in the queue. */
  mails(): Promise<readonly QueuedMail[]>;
  close(): Promise<void>;
}

const passwordHash = hashPassword(PASSWORD, { ln: 10, r: 8, p: 1 });
let own: Promise<Pem> | null = null;

/** Submission with a queue for the user alice, on loopback; mailboxes are a probe. */
export async function startSubmission(
  test: Test,
  accounts: readonly SendingAccount[],
  changes: SubmissionChanges = {},
): Promise<SubmissionSetup> {
  const dir = changes.dir ?? (await mkdtemp(join(tmpdir(), 'mbq-')));
  own ??= mkdtemp(join(tmpdir(), 'mbq-pem-')).then(makePem);
  const { certificate } = changes.pem ?? (await own);
  const clock = changes.clock ?? systemClock;
  const host = new HostProbe();
  const metrics = new Metrics();
  const senders = new SenderBook({ name: 'alice', accounts, relay: changes.relay ?? null });
  const queue = await OutgoingQueue.open({
    dir,
    book: () => senders,
    host,
    hostname: 'box.example',
    times: { retryMs: NEVER_MS, warnMs: NEVER_MS, giveUpMs: 10 * NEVER_MS, lookMs: NEVER_MS, ...changes.times },
    timeouts: {
      ...RELAY_TIMEOUTS,
      finalMs: changes.finalMs ?? RELAY_TIMEOUTS.finalMs,
      ...(changes.commandMs === undefined ? {} : { greetingMs: changes.commandMs, commandMs: changes.commandMs }),
    },
    clock,
    log: silentLog(),
    metrics: { ended: () => undefined, unknown: () => undefined, notFiled: () => undefined },
  });
  await queue.start();
  const authenticator = new Authenticator({
    users: [{ name: 'alice', passwordHash: await passwordHash }],
    clock: systemClock,
  });
  const submission = createSubmission({
    listeners: (['none', 'implicit', 'starttls'] as const).map((tls) => ({ host: '127.0.0.1', port: 0, tls })),
    hostname: 'box.example',
    messageBytes: changes.messageBytes ?? 1_000_000,
    waitMs: changes.waitMs ?? 20_000,
    submitter: (user) => (user === 'alice' ? { senders, queue } : null),
    certificate,
    authenticate: (user, password, peer) => authenticator.authenticate(user, password, peer),
    clock,
    log: silentLog(),
    metrics,
    graceMs: 200,
  });
  const infos = await submission.start();
  const port = (tls: string): number => infos.find((each) => each.tls === tls)?.port ?? 0;
  const close = async (): Promise<void> => {
    authenticator.close();
    await submission.close();
    await queue.close();
  };
  test.teardown(async () => {
    await close();
    if (changes.dir === undefined) await rm(dir, { recursive: true, force: true });
  });
  const mails = async (): Promise<readonly QueuedMail[]> => {
    const { json } = await queue.listing(0, 100_000);
    const found = (JSON.parse(json) as { id: number }[]).map(({ id }) => queue.show(id).catch(() => null));
    return (await Promise.all(found)).filter((mail) => mail !== null);
  };
  return {
    ...{ none: port('none'), implicit: port('implicit'), starttls: port('starttls') },
    ...{ queue, host, metrics, dir, mails, close },
  };
}

export const HEAD =
  'From: Alice <alice@work.example>\nTo: bob@far.example\nSubject: hello\nDate: Thu, 1 Feb 2024 10:00:00 +0000\n';
export const MESSAGE = `${HEAD}Message-ID: <1@laptop.example>\n\nhello\n`;

/** Latin1 octets with CRLF for LF. */
export const crlf = (text: string): Buffer => Buffer.from(text.replaceAll('\n', '\r\n'), 'latin1');

/** What the receiver gets, dot-stuffing undone and our Received field taken off. */
export function content(octets: Buffer | undefined): Buffer {
  const text = octets?.toString('latin1') ?? '';
  const plain = text.replace(/^\.\./gm, '.').replace(/^Received: (?:.*\r\n[ \t])*.*\r\n/, '');
  return Buffer.from(plain, 'latin1');
}

export type SmtpReply = readonly [number, string];

export interface SendResult {
  /** Replies as smtplib saw them, by command. */
  readonly replies: { readonly mail?: SmtpReply; readonly data?: SmtpReply; readonly final?: SmtpReply };
  readonly rcpt: readonly SmtpReply[];
}

/** One mail by Python's smtplib, command by command. `message` is latin1 text with LF line ends, sent as it is. */
export async function send(
  port: number,
  {
    from = 'alice@work.example',
    to = ['bob@far.example'],
    message = MESSAGE,
    mailOptions = [] as string[],
    rcptOptions = [] as string[],
    login = true,
  } = {},
): Promise<SendResult> {
  const script = `
import smtplib
s = smtplib.SMTP('127.0.0.1', p['port'], local_hostname='laptop.example', timeout=60)
s.ehlo()
out = {'replies': {}, 'rcpt': []}
t = lambda r: [r[0], r[1].decode('utf-8', 'replace')]
def run():
    if p['login']:
        s.login('alice', p['password'])
    out['replies']['mail'] = t(s.mail(p['from'], p['mailOptions']))
    if out['replies']['mail'][0] != 250: return
    out['rcpt'] = [t(s.rcpt(each, p['rcptOptions'])) for each in p['to']]
    if not any(r[0] == 250 for r in out['rcpt']): return
    s.putcmd('data')
    out['replies']['data'] = t(s.getreply())
    if out['replies']['data'][0] != 354: return
    body = open(p['file'], encoding='latin1', newline='').read().encode('latin1').replace(b'\\n', b'\\r\\n')
    s.send(smtplib._quote_periods(body) + b'.\\r\\n')
    out['replies']['final'] = t(s.getreply())
run()
s.close()
print(json.dumps(out))
`;
  // Not an argument: those have a limit of 128 KiB.
  const dir = await mkdtemp(join(tmpdir(), 'mbq-mail-'));
  const file = join(dir, 'message');
  await writeFile(file, message, 'latin1');
  try {
    const parameters = { port, from, to, file, mailOptions, rcptOptions, login, password: PASSWORD };
    return await runPython<SendResult>(script, parameters);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

export interface Dialog {
  say(line: string | Buffer): Promise<string>;
  /** The next reply to what was said before. */
  reply(): Promise<string>;
  write(octets: string | Buffer): void;
  logIn(): Promise<void>;
  close(): void;
}

/** A client that sends lines and awaits the reply to each. */
export async function dialog(test: Test, port: number): Promise<Dialog> {
  const socket = connect(port, '127.0.0.1');
  socket.setNoDelay(true);
  test.teardown(() => socket.destroy());
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  const reply = async (): Promise<string> => {
    for (;;) {
      const { value, done } = await lines.next();
      if (done) throw new Error('the server closed the connection');
      if (!/^\d{3}-/.test(value)) return value;
    }
  };
  const say = (line: string | Buffer): Promise<string> => {
    socket.write(line);
    socket.write('\r\n');
    return reply();
  };
  await reply();
  await say('EHLO laptop.example');
  const token = Buffer.from(`\0alice\0${PASSWORD}`).toString('base64');
  return {
    say,
    reply,
    write: (octets) => void socket.write(octets),
    logIn: async () => void (await say(`AUTH PLAIN ${token}`)),
    close: () => socket.destroy(),
  };
}
