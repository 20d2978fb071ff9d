import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Clock } from '../../src/util/clock.js';
import { systemClock } from '../../src/util/clock.js';
import { eventually, freePorts } from '../harness/net.js';
import { startSmtpUpstream } from '../harness/smtp-upstream.js';
import {
  account,
  content,
  crlf,
  dialog,
  MESSAGE,
  send,
  startSubmission,
  type SubmissionSetup,
  upstream,
} from '../harness/submission.js';

const HOUR = 3_600_000;

const empty = (box: SubmissionSetup) => eventually('an empty queue', async () => (await box.mails()).length === 0);

/** A clock that tests move; sleeping is never asked of it here. */
function movableClock(): Clock & { move(ms: number): void } {
  let offset = 0;
  return {
    now: () => Date.now() + offset,
    sleep: systemClock.sleep,
    move: (ms) => {
      offset += ms;
    },
  };
}

/** An upstream that says nothing to the first `lost` final dots, but keeps the mail if `keeps`. */
async function forgetful(test: Test, lost: number) {
  let dots = 0;
  return upstream(test, {
    answer: (verb) => {
      if (verb !== '.') return undefined;
      dots += 1;
      return dots <= lost ? 'drop' : undefined;
    },
  });
}

t.test('after a lost answer Sent is looked at; the mail is there: it was delivered, and not sent again', async (t) => {
  const server = await forgetful(t, 1);
  const box = await startSubmission(t, [account('work', server, { sent: 'auto' })], { times: { lookMs: 100 } });
  box.host.sent = () => 'server';
  t.match((await send(box.none)).replies.final, [250, /queued: .*before the server answered/]);
  await empty(box);
  t.strictSame(box.host.looks, ['1@laptop.example']);
  t.equal(server.commandsOf('DATA').length, 1, 'sent once');
  t.strictSame([box.host.filed.length, box.host.reports.length], [0, 0], 'the copy is there already');
});

t.test('after a lost answer and a look that finds nothing the mail is sent again, once, and says so', async (t) => {
  const server = await forgetful(t, 1);
  const box = await startSubmission(t, [account('work', server)], { times: { lookMs: 2_000 } });
  // A copy that a client put there proves nothing.
  box.host.sent = () => 'ours';
  await send(box.none);
  const [waiting] = await box.mails();
  t.match(waiting, { state: 'sending', repeated: false, recipients: [{ state: 'sent' }] });
  await empty(box);
  t.equal(server.commandsOf('DATA').length, 2);
  t.equal(server.mails.length, 1);
  t.equal(box.host.filed.length, 1);
});

t.test('an answer that is lost twice leaves the mail held, for a person to decide', async (t) => {
  const server = await forgetful(t, 2);
  const box = await startSubmission(t, [account('work', server)], { times: { lookMs: 50 } });
  await send(box.none);
  const held = await eventually('it is held', async () => (await box.mails()).find(({ state }) => state === 'held'));
  t.match(held, { repeated: true, error: /twice the answer of its server was lost/ });
  t.equal(server.commandsOf('DATA').length, 2);
  t.strictSame(await box.queue.counts(), { waiting: 0, held: 1 });
  await box.queue.retry(held.id);
  await empty(box);
  t.equal(server.mails.length, 1);
});

t.test('an account that cannot be asked is asked again before anything is sent again', async (t) => {
  const server = await forgetful(t, 1);
  const box = await startSubmission(t, [account('work', server)], { times: { lookMs: 50 } });
  box.host.sent = () => 'unknown';
  await send(box.none);
  await eventually('a look', () => box.host.looks.length > 0);
  const mail = await eventually('it waits', async () => (await box.mails()).find(({ looks }) => looks === 1));
  t.match(mail, { state: 'sending', repeated: false });
  t.equal(server.commandsOf('DATA').length, 1);
});

t.test('auto learns who files the copy: the server when it does, else Mergebox at once', async (t) => {
  const server = await upstream(t);
  const filing = await startSubmission(t, [account('work', server, { sent: 'auto' })]);
  filing.host.sent = () => 'server';
  await send(filing.none);
  await empty(filing);
  t.equal(filing.host.filed.length, 0);
  const box = await startSubmission(t, [account('work', server, { sent: 'auto' })]);
  await send(box.none);
  t.equal(box.host.filed.length, 0, 'the server has its chance');
  await empty(box);
  t.equal(box.host.looks.length, 2);
  t.equal(box.host.filed.length, 1);
  await send(box.none);
  await eventually('the second copy', () => box.host.filed.length === 2);
  t.equal(box.host.looks.length, 2, 'nobody looked any more');
});

t.test(
  'a failure comes home as a report with the header, and the mail itself where RET=FULL asks for it',
  async (t) => {
    const server = await upstream(t, { answer: (verb) => (verb === 'RCPT' ? '451 4.2.0 grey' : undefined) });
    const clock = movableClock();
    const box = await startSubmission(t, [account('work', server)], {
      clock,
      times: { warnMs: 4 * HOUR, giveUpMs: 120 * HOUR },
    });
    const options = {
      mailOptions: ['RET=FULL', 'ENVID=QQ314159'],
      rcptOptions: ['ORCPT=rfc822;Bob+2Btag@far.example'],
    };
    await send(box.none, options);
    await eventually('it waits', async () => (await box.mails())[0]?.attempts === 1);
    clock.move(5 * HOUR);
    await box.queue.lookForLate();
    await box.queue.lookForLate();
    t.equal(box.host.reports.length, 1, 'one notice of delay');
    const notice = box.host.reports[0]?.message.toString() ?? '';
    t.match(notice, /^Return-Path: <>\r\n/);
    t.match(notice, /\r\nSubject: Delayed: /);
    t.match(notice, /\r\nAction: delayed\r\nStatus: 4\.2\.0\r\n/);
    t.match(notice, /\r\nWill-Retry-Until: /);
    t.match(notice, /Content-Type: text\/rfc822-headers\r\n.*\r\nSubject: hello\r\n/s);
    await eventually('it was tried again', async () => (await box.mails())[0]?.attempts === 2);
    clock.move(116 * HOUR);
    await box.queue.lookForLate();
    await empty(box);
    t.equal(box.host.reports.length, 2);
    const report = box.host.reports[1]?.message.toString() ?? '';
    t.match(report, /Content-Type: multipart\/report; report-type=delivery-status;/);
    t.match(report, /\r\nOriginal-Envelope-Id: QQ314159\r\n/);
    t.match(
      report,
      /\r\nOriginal-Recipient: rfc822;Bob\+2Btag@far\.example\r\nFinal-Recipient: rfc822; bob@far\.example\r\n/,
    );
    t.match(report, /\r\nAction: failed\r\nStatus: 4\.4\.7\r\n/);
    t.match(report, /Content-Type: message\/rfc822\r\n.*\r\n\r\nhello\r\n/s);
    t.match(report, /\r\nAuto-Submitted: auto-replied\r\n/);
    t.notMatch(report, /[^\r]\n/, 'every line ends with CRLF');
    t.equal(server.mails.length, 0);
    const again = await send(box.none, {
      message: report.replaceAll('\r\n', '\n').replace(/^From:.*$/m, 'From: alice@work.example'),
    });
    t.match(again.replies.final, [554, /^5\.4\.6 .*loop/], 'a report cannot be sent round');
  },
);

t.test(
  'NOTIFY decides: NEVER hears of nothing, SUCCESS of a server without DSN, and a server with DSN is asked itself',
  async (t) => {
    const refusing = await upstream(t, {
      extensions: [],
      answer: (verb, line) => (verb === 'RCPT' && line.includes('nobody') ? '550 5.1.1 no' : undefined),
    });
    const box = await startSubmission(t, [account('work', refusing)]);
    const to = ['bob@far.example', 'nobody@far.example'];
    await send(box.none, { to, rcptOptions: ['NOTIFY=NEVER'] });
    await empty(box);
    t.equal(box.host.reports.length, 0);
    await send(box.none, { to: ['bob@far.example'], rcptOptions: ['NOTIFY=SUCCESS,FAILURE'] });
    await empty(box);
    t.match(box.host.reports[0]?.message.toString(), /\r\nAction: relayed\r\nStatus: 2\.0\.0\r\n/);
    const modern = await upstream(t, { extensions: ['PIPELINING', 'DSN'] });
    const second = await startSubmission(t, [account('work', modern)]);
    const options = {
      mailOptions: ['RET=HDRS', 'ENVID=a+2Bb'],
      rcptOptions: ['NOTIFY=SUCCESS', 'ORCPT=rfc822;x+2By@z'],
    };
    await send(second.none, options);
    await empty(second);
    t.equal(second.host.reports.length, 0, 'that server reports');
    t.match(modern.mails[0]?.mailLine, /RET=HDRS ENVID=a\+2Bb$/);
    t.match(modern.commandsOf('RCPT'), ['RCPT TO:<bob@far.example> NOTIFY=SUCCESS ORCPT=rfc822;x+2By@z']);
  },
);

t.test('nobody is told of a read receipt that failed: it is held', async (t) => {
  const server = await upstream(t, {
    answer: (verb, line) => (line.includes('nobody') ? '550 5.1.1 no' : verb === '' ? '' : undefined),
  });
  const box = await startSubmission(t, [account('work', server)]);
  await send(box.none, { from: '', to: ['bob@far.example', 'nobody@far.example'] });
  const held = await eventually('it is held', async () => (await box.mails()).find(({ state }) => state === 'held'));
  t.match(held.error, /null sender/);
  t.equal(box.host.reports.length, 0);
});

t.test('REQUIRETLS is passed on, or the mail comes back', async (t) => {
  const deaf = await upstream(t);
  const box = await startSubmission(t, [account('work', deaf)]);
  t.match((await send(box.none, { mailOptions: ['REQUIRETLS'] })).replies.mail, [530, String], 'not without TLS to us');
  const modern = await upstream(t, { extensions: ['REQUIRETLS'] });
  const second = await startSubmission(t, [account('work', modern), account('home', deaf)]);
  // The listener without TLS refuses the parameter, so the queue is given what the other ones let through.
  const mail = (id: string) => ({
    ...{ account: id, viaRelay: false, sender: `alice@${id}.example`, priority: 0, size: 4, releaseAt: 0 },
    recipients: [{ address: 'bob@far.example', state: 'waiting' as const }],
    envelope: {
      ...{
        from: `alice@${id}.example`,
        messageId: '<1@x>',
        subject: '',
        utf8: false,
        eightBit: false,
        headerUtf8: false,
      },
      ...{ requireTls: true, ret: null, envid: null, mtPriority: null, trace: '', added: '', hidden: [], headerEnd: 2 },
      ...{ spool: null, answers: [], forwards: [] },
    },
  });
  const bytes = Buffer.from('\r\na\r');
  const passed = await second.queue.accept(mail('work'), { bytes, file: null });
  t.match(await passed.outcome, { kind: 'delivered' });
  t.match(modern.mails[0]?.mailLine, / REQUIRETLS$/);
  const refused = await second.queue.accept(mail('home'), { bytes, file: null });
  t.match(await refused.outcome, { kind: 'refused', verdict: { status: '5.7.30' } });
  t.equal(deaf.mails.length, 0);
});

t.test('a mail for later leaves then and not before', async (t) => {
  const server = await upstream(t);
  const clock = movableClock();
  const box = await startSubmission(t, [account('work', server)], { clock });
  const { replies } = await send(box.none, { mailOptions: ['HOLDFOR=3600'] });
  t.match(replies.final, [250, /queued: to be sent later/]);
  t.match(await box.mails(), [{ state: 'waiting', attempts: 0 }]);
  clock.move(HOUR - 60_000);
  await send(box.none, { message: MESSAGE.replace('hello', 'another') });
  t.equal(server.mails.length, 1, 'only the one without a date');
  clock.move(60_001);
  await send(box.none, { message: MESSAGE.replace('hello', 'a third') });
  await empty(box);
  t.equal(server.mails.length, 3);
});

t.test('an account may send only when it is in reach, or only when it was synced', async (t) => {
  const server = await upstream(t);
  const box = await startSubmission(t, [
    account('work', server, { when: 'reachable' }),
    account('home', server, { when: 'sync' }),
  ]);
  box.host.online = false;
  t.match((await send(box.none)).replies.final, [250, /queued: .*when its account is in reach/]);
  const message = MESSAGE.replace('alice@work', 'alice@home');
  await send(box.none, { from: 'alice@home.example', message });
  t.equal((await box.mails()).length, 2);
  t.equal(server.mails.length, 0);
  box.host.online = true;
  box.queue.synced('work');
  await eventually('the first', () => server.mails.length === 1);
  await send(box.none);
  await eventually('in reach it leaves at once', () => server.mails.length === 2);
  await eventually('the other one waits', async () => (await box.mails()).length === 1);
  box.queue.synced('home');
  await empty(box);
  t.equal(server.mails.length, 3);
});

t.test('what waited for a server leaves in the order it came, urgent mail first', async (t) => {
  const [port = 0] = await freePorts(1);
  const box = await startSubmission(t, [account('work', port, { connections: 5 })], { times: { retryMs: 100 } });
  const named = (subject: string, extra = '') => MESSAGE.replace('Subject: hello', `Subject: ${subject}${extra}`);
  for (const subject of ['one', 'two', 'three']) await send(box.none, { message: named(subject) });
  await send(box.none, { message: named('list', '\nPrecedence: bulk') });
  await send(box.none, { message: named('urgent', '\nX-Priority: 1') });
  await send(box.none, { message: named('first'), mailOptions: ['MT-PRIORITY=9'] });
  const server = await startSmtpUpstream({ port });
  t.teardown(() => server.stop());
  await box.queue.retry();
  await eventually('all of them', () => server.mails.length === 6);
  const subjects = server.mails.map(({ octets }) => /Subject: (\w+)/.exec(octets.toString('latin1'))?.[1]);
  t.strictSame(subjects, ['first', 'urgent', 'one', 'two', 'three', 'list']);
});

t.test('a large mail goes through a file, and nothing of it is left', async (t) => {
  const server = await upstream(t);
  const box = await startSubmission(t, [account('work', server)], { messageBytes: 5_000_000 });
  const message = `${MESSAGE.replace('Subject', 'Bcc: secret@x.example\nSubject')}${`${'.'.repeat(700)}\n`.repeat(3_000)}`;
  t.match((await send(box.none, { message })).replies.final, [250, /Ok: queued/]);
  await empty(box);
  t.ok(content(server.mails[0]?.octets).equals(crlf(message.replace('Bcc: secret@x.example\n', ''))));
  t.ok(box.host.filed[0]?.message.equals(crlf(message)));
  await eventually('its file is gone', async () => (await readdir(join(box.dir, 'spool'))).length === 0);
  server.cut();
  await server.stop();
  t.match((await send(box.none, { message })).replies.final, [250, /queued/]);
  t.equal((await readdir(join(box.dir, 'spool'))).length, 1);
  const [mail] = await box.mails();
  await box.queue.drop(mail!.id);
  t.strictSame(await readdir(join(box.dir, 'spool')), []);
});

t.test('a queue that is opened again goes on where it ended, and sweeps what no mail refers to', async (t) => {
  const [port = 0] = await freePorts(1);
  const dir = t.testdir({});
  const first = await startSubmission(t, [account('work', port)], { dir });
  const large = `${MESSAGE}${`${'x'.repeat(70)}\n`.repeat(2_000)}`;
  await send(first.none);
  await send(first.none, { message: large });
  const orphan = await first.queue.createFile();
  await orphan.write(Buffer.from('half'));
  await orphan.commit();
  await first.close();
  t.equal((await readdir(join(dir, 'spool'))).length, 2);
  const server = await startSmtpUpstream({ port });
  t.teardown(() => server.stop());
  const second = await startSubmission(t, [account('work', port)], { dir });
  await empty(second);
  t.strictSame(
    server.mails.map(({ octets }) => content(octets).length),
    [crlf(MESSAGE).length, crlf(large).length],
  );
  t.equal(second.host.filed.length, 2);
  t.strictSame(await readdir(join(dir, 'spool')), []);
  await second.close();
  const third = await startSubmission(t, [account('work', null)], { dir });
  t.strictSame(await third.mails(), []);
});

t.test('mail of an account that is gone from the configuration is held, not lost', async (t) => {
  const [port = 0] = await freePorts(1);
  const dir = t.testdir({});
  const first = await startSubmission(t, [account('work', port)], { dir });
  await send(first.none);
  await first.close();
  const second = await startSubmission(t, [account('other', port)], { dir });
  const [mail] = await eventually('it is held', async () => {
    const mails = await second.mails();
    return mails[0]?.state === 'held' && mails;
  });
  t.match(mail?.error, /account work is not configured/);
});

t.test('answered and forwarded mail is marked', async (t) => {
  const server = await upstream(t);
  const box = await startSubmission(t, [account('work', server)]);
  await send(box.none, { message: MESSAGE.replace('Subject', 'In-Reply-To: <q@x>\nSubject') });
  await send(box.none, { message: MESSAGE.replace('Subject', 'X-Forwarded-Message-Id: <f@x>\nSubject') });
  await empty(box);
  t.strictSame(box.host.marks, [
    { answered: ['q@x'], forwarded: [] },
    { answered: [], forwarded: ['f@x'] },
  ]);
});

t.test('a client that leaves after its dot hands the mail over: a refusal comes home as a report', async (t) => {
  const server = await upstream(t, { answer: (verb) => (verb === 'RCPT' ? null : undefined) });
  const box = await startSubmission(t, [account('work', server)], { times: { retryMs: 100 } });
  const client = await dialog(t, box.none);
  await client.logIn();
  await client.say('MAIL FROM:<alice@work.example>');
  await client.say('RCPT TO:<bob@far.example>');
  await client.say('DATA');
  client.write(`${crlf(MESSAGE)}.\r\n`);
  await eventually('it is being tried', () => server.commandsOf('RCPT').length === 1);
  client.close();
  const refusing = await startSmtpUpstream({ answer: (verb) => (verb === 'RCPT' ? '550 5.1.1 no' : undefined) });
  t.teardown(() => refusing.stop());
  t.equal((await box.mails()).length, 1);
  server.cut();
  await eventually('it waits', async () => (await box.mails())[0]?.attempts === 1);
});

t.test('what the queue keeps is for its owner’s eyes, and no password is in it', async (t) => {
  const [port = 0] = await freePorts(1);
  const login = { user: 'upstream-alice', password: 'upstream pass' };
  const box = await startSubmission(t, [account('work', port, { login })]);
  await send(box.none);
  for (const name of await readdir(box.dir)) {
    if (!name.startsWith('queue.db')) continue;
    t.notOk((await readFile(join(box.dir, name))).includes('upstream pass'), name);
  }
});
