import { chmod } from 'node:fs/promises';
import t, { type Test } from 'tap';
import { startAiosmtpd } from '../harness/aiosmtpd.js';
import { eventually } from '../harness/net.js';
import { type PostfixOptions, startPostfix } from '../harness/postfix.js';
import {
  account,
  content,
  crlf,
  dialog,
  HEAD,
  makePem,
  MESSAGE,
  send,
  startSubmission,
  type SubmissionSetup,
  upstream,
} from '../harness/submission.js';

const root = process.getuid?.() === 0;
const pemDir = t.testdir({});
const pem = await makePem(pemDir);

async function postfix(test: Test, options: PostfixOptions) {
  const server = await startPostfix(options);
  test.teardown(() => server.stop());
  return server;
}

const empty = (box: SubmissionSetup) => eventually('an empty queue', async () => (await box.mails()).length === 0);
const needsRoot = root ? {} : { skip: 'Postfix starts as root only' };

/** All sequences of CR, LF, NUL and "." up to five octets. */
function* sequences(): Generator<string> {
  let last = [''];
  for (let length = 1; length <= 5; length += 1) {
    last = last.flatMap((each) => ['\r', '\n', '\0', '.'].map((octet) => each + octet));
    yield* last;
  }
}

t.test(
  'whatever comes where an end of data might be, three kinds of receivers see one mail or none',
  needsRoot,
  async (t) => {
    const behind = await upstream(t);
    const relaying = await postfix(t, { relayPort: behind.port });
    const aio = await startAiosmtpd();
    t.teardown(() => aio.stop());
    const plain = await upstream(t);
    const box = await startSubmission(t, [
      account('postfix', relaying.port, { sent: 'never' }),
      account('aio', aio.port, { sent: 'never' }),
      account('plain', plain, { sent: 'never' }),
    ]);
    const smuggled =
      'MAIL FROM:<alice@aio.example>\r\nRCPT TO:<victim@far.example>\r\nDATA\r\nFrom: evil@x\r\n\r\nevil\r\n.\r\n';
    let number = 0;
    const taken = new Map<string, string>();
    let refused = 0;
    let client = await dialog(t, box.none);
    await client.logIn();
    for (const sequence of sequences()) {
      // What ends the data in earnest makes commands of the rest, which is the client’s right.
      if (sequence.includes('\r\n.\r\n')) continue;
      const clean = !/\0|\r(?!\n)|(?<!\r)\n/.test(`a${sequence}M`);
      for (const id of clean ? ['postfix', 'aio', 'plain'] : ['aio']) {
        number += 1;
        const key = `<${number}@smuggle.example>`;
        const head = HEAD.replace('alice@work', `alice@${id}`).replaceAll('\n', '\r\n');
        const body = `${head}Message-ID: ${key}\r\n\r\na${sequence}${smuggled.replace('.\r\n', '')}`;
        await client.say(`MAIL FROM:<alice@${id}.example>`);
        await client.say('RCPT TO:<bob@far.example>');
        await client.say('DATA');
        client.write(Buffer.from(`${body}\r\n.\r\n`, 'latin1'));
        const reply = await client.reply();
        if (clean) {
          t.match(reply, /^250 /, JSON.stringify(sequence));
          taken.set(key, body);
        } else {
          refused += 1;
          if (!reply.startsWith('554 5.6.11')) t.fail(`${JSON.stringify(sequence)}: ${reply}`);
        }
        // A client is sent away after so many bad replies.
        if (refused % 150 === 149) {
          client.close();
          client = await dialog(t, box.none);
          await client.logIn();
          refused += 1;
        }
      }
    }
    await empty(box);
    await eventually('Postfix relayed all', () => behind.mails.length * 3 === taken.size);
    const all = [
      ...behind.mails.map((mail) => ({ to: mail.to, octets: content(mail.octets).toString('latin1') })),
      ...plain.mails.map((mail) => ({ to: mail.to, octets: content(mail.octets).toString('latin1') })),
      ...aio.mails.map((mail) => ({ to: mail.to, octets: mail.content.toString('latin1') })),
    ];
    t.equal(all.length, taken.size, 'as many mails as were taken, no more');
    t.comment(`${taken.size} mails at three receivers, ${refused} refusals`);
    for (const { to, octets } of all) {
      t.strictSame(to, ['bob@far.example']);
      const key = /^Message-ID: (\S+)/m.exec(octets)?.[1] ?? '';
      const sent = taken.get(key) ?? '';
      // The receivers added trace fields; the content is what the client wrote (a doubled dot is a dot).
      const body = (text: string): string => text.slice(text.indexOf('\r\n\r\n'));
      const wanted = body(sent).replace(/(^|\r\n)\.\./g, '$1.');
      if (body(octets) !== wanted && body(octets) !== `${wanted}\r\n`) {
        t.fail(`${key}: ${JSON.stringify(body(octets).slice(0, 40))} for ${JSON.stringify(wanted.slice(0, 40))}`);
      }
    }
  },
);

t.test('Postfix as the corporate server: STARTTLS, greylisting, refusals, its size', needsRoot, async (t) => {
  const behind = await upstream(t);
  await chmod(pemDir, 0o755);
  const grey = {
    smtpd_recipient_restrictions:
      'check_recipient_access inline:{ { grey@far.example = 450 4.2.0 come back }, { nobody@far.example = 550 5.1.1 no such user } }, permit_mynetworks, reject',
  };
  const server = await postfix(t, {
    relayPort: behind.port,
    tls: { cert: pem.files.cert, key: pem.files.key },
    settings: { ...grey, message_size_limit: '50000', smtpd_tls_security_level: 'encrypt' },
  });
  const work = account('work', server.port, { tls: 'starttls', ca: pem.ca });
  const smtp = work.smtp && { ...work.smtp, endpoint: { ...work.smtp.endpoint, host: 'localhost' } };
  const box = await startSubmission(t, [{ ...work, smtp }], { times: { retryMs: 500 } });
  t.match((await send(box.none)).replies.final, [250, /^2\.0\.0 Ok: queued as [0-9A-F]+/], 'Postfix’s own words');
  await eventually('it is through', () => behind.mails.length === 1);
  t.ok(content(behind.mails[0]?.octets).includes(crlf(MESSAGE.split('\n\n')[1] ?? '')));
  t.match((await send(box.none, { to: ['nobody@far.example'] })).replies.final, [550, /no such user/]);
  const to = ['bob@far.example', 'nobody@far.example', 'grey@far.example'];
  t.match((await send(box.none, { to })).replies.final, [250, /1 of 3 recipients were refused/]);
  await eventually('a report', () => box.host.reports.length === 1);
  await eventually('the greylisted one is tried again', async () => ((await box.mails())[0]?.attempts ?? 0) > 1);
  t.match(await box.mails(), [{ recipients: [{ state: 'delivered' }, { state: 'failed' }, { state: 'waiting' }] }]);
  const large = `${MESSAGE}${`${'x'.repeat(70)}\n`.repeat(1_000)}`;
  t.match((await send(box.none, { message: large })).replies.final, [552, /^5\.3\.4 .*takes 50000/]);
  const dsn = await send(box.none, { mailOptions: ['RET=HDRS', 'ENVID=abc'], rcptOptions: ['NOTIFY=SUCCESS,FAILURE'] });
  t.match(dsn.replies.final, [250, String], 'Postfix takes the DSN parameters');
  t.equal(box.host.filed.length >= 2, true);
});

t.test('Postfix with a full disk says 452: the mail waits, and leaves when there is room', needsRoot, async (t) => {
  const behind = await upstream(t);
  const full = await postfix(t, { relayPort: behind.port, settings: { queue_minfree: '9000000000000000' } });
  const box = await startSubmission(t, [account('work', full.port)], { times: { retryMs: 300 } });
  t.match((await send(box.none)).replies.final, [250, /queued: .*(452|insufficient)/i]);
  t.match(await box.mails(), [{ state: 'waiting', error: /452/ }]);
  t.equal(box.host.reports.length, 0);
  await full.set('queue_minfree', '0');
  // Postfix reads its settings anew once our session has carried as many mails as one may, and ends.
  const emptied = async (): Promise<boolean> => {
    await box.queue.retry();
    return (await box.mails()).length === 0;
  };
  await eventually('there is room', emptied, { timeoutMs: 240_000 });
  await empty(box);
  await eventually('it is through', () => behind.mails.length === 1);
});

t.test('aiosmtpd gets the octets that the client wrote', async (t) => {
  const aio = await startAiosmtpd();
  t.teardown(() => aio.stop());
  const box = await startSubmission(t, [account('work', aio.port)]);
  const message = `${MESSAGE}8-bit \xe9\n.\n..\n.dot\n`;
  t.match((await send(box.none, { message })).replies.final, [250, /taken/]);
  t.equal(aio.mails.length, 1);
  t.ok(aio.mails[0]?.content.includes(crlf(message)), 'octet for octet behind our Received field');
});
