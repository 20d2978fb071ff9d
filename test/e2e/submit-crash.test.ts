import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { SENDING_FAULT_POINTS } from '../../src/util/fault.js';
import { appendMessage } from '../harness/imap-helpers.js';
import { Mergebox } from '../harness/mergebox.js';
import { eventually } from '../harness/net.js';
import { runPython } from '../harness/python.js';
import { startSmtpUpstream } from '../harness/smtp-upstream.js';
import { hashPassword } from '../../src/auth/password.js';

const PASSWORD = 'correct horse';

/** Hands in a mail and prints the code of the final reply, or 0 when the connection went before. */
const SEND = `
import smtplib
try:
    s = smtplib.SMTP('127.0.0.1', p['port'], timeout=30)
    s.login('alice', p['password'])
    s.mail('alice@here.example'); s.rcpt('bob@far.example'); s.rcpt('nobody@far.example')
    print(json.dumps(s.data(p['mail'].encode('latin1'))[0]))
except (smtplib.SMTPException, OSError):
    print(0)
`;

interface Scene {
  readonly daemon: Mergebox;
  readonly mails: () => readonly string[];
}

/** A daemon whose one account lives here and sends through an upstream that knows no "nobody". */
async function makeScene(test: Test): Promise<Scene> {
  const upstream = await startSmtpUpstream({
    answer: (verb, line) => (verb === 'RCPT' && line.includes('nobody') ? '550 5.1.1 no such user' : undefined),
  });
  const listener = { host: '127.0.0.1', port: 0, tls: 'none' };
  const daemon = await Mergebox.create({
    users: [{ name: 'alice', password: PASSWORD, accounts: [] }],
    overrides: {
      imap: { listeners: [listener] },
      submission: { listeners: [listener], hostname: 'box.example', retrySeconds: 0.2 },
      users: [
        {
          name: 'alice',
          passwordHash: await hashPassword(PASSWORD, { ln: 10, r: 8, p: 1 }),
          accounts: [
            {
              id: 'here',
              protocol: 'local',
              addresses: ['alice@here.example'],
              sent: 'always',
              smtp: { host: '127.0.0.1', port: upstream.port, tls: 'none', auth: false },
            },
          ],
        },
      ],
    },
  });
  test.teardown(async () => {
    await daemon.stop();
    await upstream.stop();
  });
  return {
    daemon,
    mails: () => upstream.mails.map(({ octets }) => /^Subject: (\S+)/m.exec(octets.toString('latin1'))?.[1] ?? ''),
  };
}

async function subjects(daemon: Mergebox, mailbox: string): Promise<string[]> {
  const client = await daemon.imap();
  try {
    await client.ok(`SELECT ${mailbox}`);
    const { untagged } = await client.ok('UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (Subject)])');
    return untagged.filter((each) => each.includes('FETCH'));
  } finally {
    client.close();
  }
}

async function isEmpty(daemon: Mergebox): Promise<boolean> {
  const response = await fetch(`${daemon.adminUrl}/api/status`);
  const { queue } = (await response.json()) as { queue: { waiting: number; held: number } };
  return queue.waiting === 0 && queue.held === 0;
}

t.test('killed at every step of sending, nothing is lost and nothing doubled but the one flagged case', async (t) => {
  const { daemon, mails } = await makeScene(t);
  await daemon.start();
  const client = await daemon.imap();
  await appendMessage(
    client,
    'INBOX',
    'From: bob@far.example\r\nMessage-ID: <question@far.example>\r\nSubject: question\r\n\r\nWell?\r\n',
  );
  client.close();
  await daemon.sync();
  await daemon.terminate();
  let told = 0;
  // The first commit takes the mail, the second records the dot, the third what became of it.
  const steps = [...SENDING_FAULT_POINTS, 'queue.commit:2', 'queue.commit:3'];
  for (const [number, step] of steps.entries()) {
    const subject = `mail-${number}`;
    const body = `${'x'.repeat(70)}\r\n`.repeat(step.startsWith('spool') || number % 2 === 1 ? 1_500 : 3);
    const mail =
      `From: alice@here.example\r\nTo: bob@far.example\r\nSubject: ${subject}\r\nMessage-ID: <${subject}@here.example>\r\n` +
      `In-Reply-To: <question@far.example>\r\nDate: Mon, 2 Mar 2026 10:00:00 +0000\r\n\r\n${body}`;
    await daemon.start({ MERGEBOX_FAULT: step });
    const port = daemon.listener('submission').port;
    const code = await runPython<number>(SEND, { port, password: PASSWORD, mail });
    await eventually(`killed at ${step}`, () => !daemon.running, { timeoutMs: 20_000 });
    await daemon.start();
    await eventually('an empty queue', () => isEmpty(daemon));
    const delivered = mails().filter((each) => each === subject).length;
    const sent = (await subjects(daemon, 'Sent')).filter((each) => each.includes(`Subject: ${subject}\r\n`)).length;
    // The one case that cannot be told: the answer came and is not on record. Sent shows nothing, so it goes again.
    const twice = step === 'queue.answered' || step === 'queue.commit:3' ? 2 : 1;
    if (code === 250) t.equal(delivered, twice, `${step}: acknowledged, and delivered`);
    else t.ok(delivered <= twice, `${step}: not acknowledged (${code}), delivered ${delivered} times`);
    t.equal(sent, Math.min(delivered, 1), `${step}: filed once when it was sent`);
    const reports = (await subjects(daemon, 'INBOX')).filter((each) => each.includes('Subject: Undelivered'));
    const expected = Math.min(delivered, 1);
    t.equal(reports.length - told, expected, `${step}: one report on the other recipient`);
    told = reports.length;
    t.strictSame(await readdir(join(daemon.dir, 'data', 'users', 'alice', 'spool')), [], `${step}: no file is left`);
    await daemon.terminate();
  }
  await daemon.start();
  const [question] = (await subjects(daemon, 'INBOX')).filter((each) => each.includes('Subject: question'));
  t.match(question, /\\Answered/, 'the mail that was replied to');
});
