import t from 'tap';
import { startCyrus } from '../harness/cyrus.js';
import { startDovecot } from '../harness/dovecot.js';
import { ImapClient } from '../harness/imap-client.js';
import { literalOf } from '../harness/imap-helpers.js';
import { Mbsync } from '../harness/mbsync.js';
import { runPython } from '../harness/python.js';

const MAIL = 'From: a@example.org\nSubject: first\nMessage-ID: <one@example.org>\n\nhello {3}\n';

t.test('a private Dovecot delivers, lists, survives kill and restart on its port', async (t) => {
  const server = await startDovecot({ pop3: true, lmtp: true });
  t.teardown(() => server.stop());
  const uid = await server.deliver('alice', 'INBOX', MAIL, ['\\Flagged'], new Date('2020-05-06T07:08:09Z'));
  t.equal(uid, 1);
  const { port } = server;
  await server.kill();
  t.notOk(server.running);
  await t.rejects(server.imap('alice'), 'nothing listens after a kill');
  await server.start();
  t.equal(server.port, port);
  t.match(await server.list('alice', 'INBOX'), [
    { uid: 1, flags: ['\\Flagged'], messageId: '<one@example.org>', subject: 'first' },
  ]);
  const client = await server.imap();
  await client.ok('SELECT INBOX');
  const { untagged } = await client.ok('UID FETCH 1 (INTERNALDATE BODY.PEEK[])');
  t.equal(literalOf(untagged[0] ?? '').toString(), MAIL.replace(/\n/g, '\r\n'));
  t.match(untagged[0], '"06-May-2020 07:08:09 +0000"');
  const idle = await client.idle();
  await server.deliver('alice', 'INBOX', MAIL);
  t.equal(await client.until((response) => / EXISTS$/.test(response)), '2 EXISTS');
  t.equal((await idle.done()).status, 'OK');
  t.match((await client.ok('LIST (SPECIAL-USE) "" "*"')).untagged.join('\n'), /\\Archive/);
  await client.logout();
});

for (const [names, sent] of [
  ['modern', 'Sent'],
  ['classic', 'INBOX.Sent'],
] as const) {
  t.test(`a private Cyrus with ${names} names delivers, lists, survives kill and restart on its port`, async (t) => {
    const server = await startCyrus({ names, without: ['QRESYNC'] });
    t.teardown(() => server.stop());
    await server.deliver('alice', 'INBOX', MAIL, ['\\Flagged'], new Date('2020-05-06T07:08:09Z'));
    await server.kill();
    await t.rejects(server.imap('alice'), 'nothing listens after a kill');
    await server.start();
    t.match(await server.list('alice', 'INBOX'), [
      { uid: 1, flags: ['\\Flagged'], messageId: '<one@example.org>', subject: 'first' },
    ]);
    const client = await server.imap();
    const { untagged } = await client.ok('LIST (SPECIAL-USE) "" "*"');
    t.ok(
      untagged.some((line) => /\\Sent/i.test(line) && line.endsWith(` ${sent}`)),
      untagged.join('\n'),
    );
    t.notMatch((await client.ok('CAPABILITY')).untagged.join(' '), /QRESYNC/);
    await client.ok('SELECT INBOX');
    const idle = await client.idle();
    await server.deliver('alice', 'INBOX', MAIL);
    t.equal(await client.until((response) => / EXISTS$/.test(response)), '2 EXISTS');
    t.equal((await idle.done()).status, 'OK');
    client.close();
    const stranger = await ImapClient.connect(server.endpoint());
    await t.rejects(stranger.login('alice', 'wrong'));
    stranger.close();
  });
}

t.test('TLS in both forms, a prefix, a separator and hidden extensions', async (t) => {
  for (const tls of ['implicit', 'starttls'] as const) {
    const server = await startDovecot({
      tls,
      separator: '.',
      prefix: 'INBOX.',
      capability: 'IMAP4rev1 IDLE',
      storage: 'sdbox',
      users: { bob: 'two words "quoted"' },
    });
    t.teardown(() => server.stop());
    const client = await server.imap('bob');
    t.notMatch((await client.ok('CAPABILITY')).untagged[0], /CONDSTORE/);
    t.match((await client.ok('LIST "" "*"')).untagged.join('\n'), /"\." "?INBOX\.Trash/);
    t.equal((await client.command('SELECT nowhere')).status, 'NO');
    client.close();
    const stranger = await ImapClient.connect(server.endpoint());
    t.equal((await stranger.command('LOGIN bob wrong')).status, 'NO');
    stranger.close();
  }
});

t.test('mbsync and imaplib against a Dovecot with a private authority', async (t) => {
  const server = await startDovecot({ tls: 'implicit' });
  t.teardown(() => server.stop());
  await server.deliver('alice', 'INBOX', MAIL, ['\\Seen']);
  const mbsync = await Mbsync.create({ port: server.port, ca: server.ca, user: 'alice', password: 'secret' });
  t.teardown(() => mbsync.stop());
  await mbsync.run();
  const mail = await mbsync.find('INBOX', 'hello');
  t.equal(mail.flags, 'S');
  await mbsync.setFlags(mail, 'FS');
  await mbsync.add('Archive', 'Subject: pushed\n\nx\n', 'S');
  await mbsync.run();
  t.equal((await mbsync.names()).length, 2);
  t.match(await server.list('alice', 'INBOX'), [{ flags: ['\\Flagged', '\\Seen'] }]);
  t.match(await server.list('alice', 'Archive'), [{ subject: 'pushed' }]);

  const answer = await runPython<{ count: string }>(
    `
import imaplib, ssl
c = imaplib.IMAP4_SSL('localhost', p['port'], ssl_context=ssl.create_default_context(cafile=p['ca']))
c.login('alice', 'secret')
print(json.dumps({'count': c.select('INBOX')[1][0].decode()}))
`,
    { port: server.port, ca: server.ca },
  );
  t.same(answer, { count: '1' });
  await t.rejects(runPython('raise Exception("boom")', {}), /boom/);
});
