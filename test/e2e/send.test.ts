import t from 'tap';
import { startDovecot } from '../harness/dovecot.js';
import { appendMessage } from '../harness/imap-helpers.js';
import { startMergebox } from '../harness/mergebox.js';
import { eventually } from '../harness/net.js';
import { runPython } from '../harness/python.js';
import { startSmtpUpstream } from '../harness/smtp-upstream.js';

const SEND = `
import smtplib, ssl
s = smtplib.SMTP('localhost', p['port'])
s.starttls(context=ssl.create_default_context(cafile=p['ca']))
s.login('alice', p['password'])
try:
    refused = s.sendmail(p['from'], p['to'], p['mail'].encode('utf-8'))
    print(json.dumps({'refused': {k: [v[0], v[1].decode()] for k, v in refused.items()}}))
except smtplib.SMTPResponseException as e:
    print(json.dumps({'code': e.smtp_code, 'text': e.smtp_error.decode()}))
except smtplib.SMTPRecipientsRefused as e:
    print(json.dumps({'code': list(e.recipients.values())[0][0]}))
s.quit()
`;

interface Outcome {
  readonly code?: number;
  readonly text?: string;
  readonly refused?: Record<string, [number, string]>;
}

const mail = (from: string, id: string, extra = ''): string =>
  [
    `From: Alice <${from}>`,
    'To: bob@elsewhere.example',
    `Subject: ${id}`,
    `Message-ID: <${id}@test.example>`,
    'Date: Mon, 2 Mar 2026 10:00:00 +0000',
    ...(extra === '' ? [] : [extra]),
    '',
    'Hello Bob,',
    '..a line that starts with dots',
    '',
  ].join('\r\n');

t.test('a mail leaves by the account that owns its From and is filed in that Sent once', async (t) => {
  const relays = { work: await startSmtpUpstream(), home: await startSmtpUpstream() };
  t.teardown(() => Promise.all([relays.work.stop(), relays.home.stop()]));
  const servers = { work: await startDovecot({}), home: await startDovecot({ separator: '.', prefix: 'INBOX.' }) };
  t.teardown(() => Promise.all([servers.work.stop(), servers.home.stop()]));
  const password = 'correct horse';
  const account = (id: 'work' | 'home') => ({
    id,
    server: servers[id],
    smtp: { host: '127.0.0.1', port: relays[id].port, tls: 'none', auth: false },
  });
  const box = await startMergebox({
    users: [{ name: 'alice', password, accounts: [account('work'), account('home')] }],
  });
  t.teardown(() => box.stop());
  await box.sync();
  const send = (from: string, text: string, to = ['bob@elsewhere.example']): Promise<Outcome> =>
    runPython<Outcome>(SEND, {
      port: box.listener('submission', 'starttls').port,
      ca: box.ca,
      password,
      from,
      to,
      mail: text,
    });
  const subjects = async (): Promise<string[]> => {
    const client = await box.imap();
    await client.ok('SELECT Sent');
    const { untagged } = await client.ok('UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (Subject)])');
    await client.logout();
    return untagged.flatMap((each) => /Subject: (\S+)/i.exec(each)?.[1] ?? []);
  };

  await t.test('each From goes its own way', async (t) => {
    t.same(await send('alice@work.example', mail('alice@work.example', 'from-work', 'Bcc: secret@x.example')), {
      refused: {},
    });
    t.same(await send('alice@home.example', mail('alice@home.example', 'from-home')), { refused: {} });
    t.equal(relays.work.mails.length, 1);
    t.equal(relays.home.mails.length, 1);
    const sent = relays.work.mails[0]!.octets.toString('latin1');
    t.match(sent, /Subject: from-work/);
    t.notMatch(sent, /Bcc/i, 'Bcc stays behind');
    t.match(sent, /\r\n\.\.\.a line that starts with dots\r\n/, 'on the wire a leading dot is doubled, once');
  });

  await t.test('Sent holds each once, also when the client files its own copy', async (t) => {
    await box.sync();
    t.same((await subjects()).sort(), ['from-home', 'from-work']);
    const client = await box.imap();
    const own = mail('alice@work.example', 'from-work', 'Bcc: secret@x.example');
    await appendMessage(client, 'Sent', own, ['\\Seen']);
    await client.logout();
    await box.sync();
    t.same((await subjects()).sort(), ['from-home', 'from-work'], 'still once in the merged Sent');
    const upstream = (await servers.work.list('alice', 'Sent')).map(({ messageId }) => messageId);
    t.same(upstream, ['<from-work@test.example>'], 'and once at work');
    t.equal((await servers.home.list('alice', 'INBOX.Sent')).length, 1, 'and once at home');
  });

  await t.test('a From that is nobody’s here is refused with its name', async (t) => {
    const outcome = await send('mallory@evil.example', mail('mallory@evil.example', 'forged'));
    t.equal(outcome.code, 550);
    t.match(outcome.text, /mallory@evil\.example/);
    const forged = await send('alice@work.example', mail('mallory@evil.example', 'forged-header'));
    t.equal(forged.code, 550);
    t.equal(relays.work.mails.length + relays.home.mails.length, 2, 'nothing left');
  });

  await t.test('a mail whose server is out of reach is queued, leaves later and is filed then', async (t) => {
    const queue = async (...args: string[]): Promise<string> => {
      const { code, stdout, stderr } = await box.command(['queue', ...args]);
      return code === 0 ? stdout : `${code}: ${stderr}`;
    };
    const port = relays.home.port;
    await relays.home.stop();
    t.same(await send('alice@home.example', mail('alice@home.example', 'unreachable')), { refused: {} });
    t.match(
      await queue('list'),
      /alice\/home +waiting .*\n +<alice@home\.example> to <bob@elsewhere\.example>\n.*ECONNREFUSED/,
    );
    t.match(await queue('list'), /\n1 mails\n$/);
    const [listed] = JSON.parse(await queue('list', '--json')) as { id: number; user: string }[];
    const id = String(listed?.id);
    t.match(await queue('show', id), /subject: +unreachable\n.*to: +<bob@elsewhere\.example> waiting\n$/s);
    t.match((await box.status()).body, { queue: { waiting: 1, held: 0 } });
    t.match(await queue('hold', id), /is held/);
    t.match(await queue('show', id, '--user', 'alice'), /state: +held: held by hand/);
    t.match((await box.status()).body, { queue: { waiting: 0, held: 1 } });
    t.notOk((await subjects()).includes('unreachable'), 'what was not sent is not filed');
    relays.home = await startSmtpUpstream({ port });
    t.match(await queue('retry', id), /is tried again/);
    await eventually('it left', () => relays.home.mails.length === 1);
    await box.sync();
    t.ok((await subjects()).includes('unreachable'), 'what was sent is');
    t.match(await queue('list'), /^0 mails\n$/);
    t.match(await queue('show', id), /^1: mergebox: no mail \d+ in the queue/);
    t.match(await queue('drop'), /^2: .*which mail/);
  });

  await t.test('a dropped mail goes nowhere', async (t) => {
    await relays.home.stop();
    await send('alice@home.example', mail('alice@home.example', 'regretted'));
    const { stdout } = await box.command(['queue', 'list', '--json']);
    const [listed] = JSON.parse(stdout) as { id: number }[];
    t.equal((await box.command(['queue', 'drop', String(listed?.id)])).code, 0);
    t.match((await box.command(['queue', 'list'])).stdout, /^0 mails/);
  });

  await t.test('what the server refuses is the client’s at once', async (t) => {
    const refusing = await startSmtpUpstream({
      answer: (verb) => (verb === 'RCPT' ? '550 5.1.1 no such user' : undefined),
    });
    t.teardown(() => refusing.stop());
    const config = await box.readConfig();
    const [user] = config['users'] as { accounts: { smtp: { port: number } }[] }[];
    user!.accounts[0]!.smtp.port = refusing.port;
    await box.writeConfig(config);
    await box.restart();
    const outcome = await send('alice@work.example', mail('alice@work.example', 'refused'));
    t.match(outcome, { code: 550, text: /no such user/ });
    t.match((await box.command(['queue', 'list'])).stdout, /^0 mails/);
  });
});
