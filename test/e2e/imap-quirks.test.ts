import { once } from 'node:events';
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import t from 'tap';
import { makeCertificates } from '../harness/certificates.js';
import type { ImapClient } from '../harness/imap-client.js';
import { PASSWORD, startWorld, type World } from '../harness/world.js';

const lines = async (client: ImapClient, command: string): Promise<readonly string[]> =>
  (await client.ok(command)).untagged;

/** The names a server lists, as sent. */
async function folderNames(server: Pick<World['work'], 'imap'>): Promise<string[]> {
  const client = await server.imap();
  const names = (await lines(client, 'LIST "" "*"')).map((line) =>
    line.slice(line.lastIndexOf(' ') + 1).replaceAll('"', ''),
  );
  await client.logout();
  return names;
}

/** 100 MiB and 1,000 messages for everybody, in Dovecot's words. */
const QUOTA = `mail_plugins = quota
protocol imap {
  mail_plugins = quota imap_quota
}
plugin {
  quota = count:User quota
  quota_rule = *:storage=100M:messages=1000
  quota_vsizes = yes
}`;

t.test('what clients do, over real accounts', async (t) => {
  const { box, work, home, mails } = await startWorld(t, { mails: 20, common: 5, work: { extra: QUOTA } });
  const total = mails.length;

  await t.test('Outlook: RFC822.PEEK marks nothing, <0.0> is empty', async (t) => {
    const client = await box.imap();
    await client.ok('SELECT INBOX');
    await client.ok('UID STORE 1 -FLAGS.SILENT (\\Seen)');
    t.match((await lines(client, 'UID FETCH 1 (RFC822.PEEK)'))[0], /^1 FETCH \(UID 1 RFC822 \{\d+\}/);
    t.match((await lines(client, 'UID FETCH 1 (BODY.PEEK[]<0.0>)'))[0], '1 FETCH (UID 1 BODY[]<0> {0}');
    t.notMatch((await lines(client, 'UID FETCH 1 FLAGS'))[0], '\\Seen');
    await client.logout();
  });

  await t.test('mutt: ENABLE UTF8=ACCEPT whenever ENABLE is offered; names in UTF-8 from then on', async (t) => {
    const client = await box.imap();
    t.match((await lines(client, 'CAPABILITY'))[0], ' ENABLE ');
    t.same(await lines(client, 'ENABLE UTF8=ACCEPT'), ['ENABLED UTF8=ACCEPT']);
    const name = Buffer.from('Accounts/home/Grüße/日本').toString('latin1');
    await client.ok(`CREATE "${name}"`);
    t.ok((await lines(client, 'LIST "" "Accounts/home/*"')).some((line) => line.endsWith(`"${name}"`)));
    await client.logout();
    const old = await box.imap();
    const listed = await lines(old, 'LIST "" "Accounts/home/*"');
    t.ok(
      listed.some((line) => line.endsWith('"Accounts/home/Gr&APwA3w-e/&ZeVnLA-"')),
      'modified UTF-7 for others',
    );
    await old.logout();
    await box.sync();
    t.ok(
      (await folderNames(home)).includes('INBOX.Gr&APwA3w-e.&ZeVnLA-'),
      'with the separator and prefix of its server',
    );
  });

  await t.test(
    'Geary and K-9: the first octets of a part, UID SEARCH *:*, FETCH 1:* of an empty mailbox',
    async (t) => {
      const client = await box.imap();
      await client.ok('SELECT INBOX');
      t.match((await lines(client, 'UID FETCH 1 BODY.PEEK[1]<0.256>'))[0], /BODY\[1\]<0> \{\d+\}/);
      t.same(await lines(client, 'UID SEARCH *:*'), [`SEARCH ${total}`]);
      t.match((await lines(client, 'FETCH 1 (ALL)'))[0], /^1 FETCH \(FLAGS .*ENVELOPE/s);
      await client.ok('SELECT Junk');
      t.same(await lines(client, 'FETCH 1:* (FLAGS)'), []);
      t.same(await lines(client, 'UID SEARCH *:*'), ['SEARCH']);
      await client.ok('CHECK');
      await client.logout();
    },
  );

  await t.test('Apple Mail: ESEARCH RETURN (ALL) always, heavy pipelining, STORE answered by FETCH', async (t) => {
    const client = await box.imap();
    await client.ok('SELECT INBOX');
    const commands = Array.from({ length: 100 }, (_, n) => [
      `UID SEARCH RETURN (ALL) UID ${(n % total) + 1}`,
      `UID FETCH ${(n % total) + 1} (FLAGS BODY.PEEK[HEADER])`,
      `UID STORE ${(n % total) + 1} +FLAGS (\\Seen)`,
      'STATUS Sent (UNSEEN)',
    ]).flat();
    const replies = await Promise.all(commands.map((command) => client.ok(command)));
    for (const [index, { untagged }] of replies.entries()) {
      const uid = (Math.floor(index / 4) % total) + 1;
      if (index % 4 === 0) t.match(untagged[0], new RegExp(`^ESEARCH \\(TAG "[^"]+"\\) UID ALL ${uid}$`));
      if (index % 4 === 2) t.match(untagged[0], new RegExp(`^\\d+ FETCH \\(UID ${uid} FLAGS \\(.*\\\\Seen`));
    }
    await client.logout();
  });

  await t.test(
    'Thunderbird: five connections idle; rights and quotas of every mailbox are answered with OK',
    async (t) => {
      const clients = await Promise.all(Array.from({ length: 5 }, () => box.imap()));
      const [first] = clients;
      const names = (await lines(first!, 'LIST "" "*"')).filter((line) => !line.includes('\\Noselect'));
      for (const line of names) {
        const name = line.slice(line.indexOf('"/" ') + 4);
        for (const command of ['MYRIGHTS', 'GETACL', 'GETQUOTAROOT', 'STATUS']) {
          const reply = await first!.command(
            `${command} ${name}${command === 'STATUS' ? ' (UIDNEXT MESSAGES UNSEEN RECENT)' : ''}`,
          );
          t.equal(reply.status, 'OK', `${command} ${name}`);
        }
      }
      for (const client of clients) await client.ok('SELECT INBOX');
      const idles = await Promise.all(clients.map((client) => client.idle()));
      const told = clients.map((client) => client.until((response) => response === `${total + 1} EXISTS`));
      await work.deliver('alice', 'INBOX', 'Subject: to all five\nMessage-ID: <five@test.example>\n\nx\n');
      await Promise.all(told);
      for (const { done } of idles) await done();
      await Promise.all(clients.map((client) => client.logout()));
    },
  );

  await t.test('QUOTA is that of the account, as its server tells it', async (t) => {
    await box.sync();
    const client = await box.imap();
    const told = await lines(client, 'GETQUOTAROOT INBOX');
    t.equal(told[0], 'QUOTAROOT "INBOX" "work/User quota"');
    const { length } = await work.list('alice', 'INBOX');
    t.match(told[1], new RegExp(`^QUOTA "work/User quota" \\(MESSAGE ${length} 1000 STORAGE \\d+ 102400\\)$`));
    t.same(await lines(client, 'GETQUOTA "work/User quota"'), told.slice(1));
    t.same(await lines(client, 'GETQUOTAROOT Accounts/home/INBOX'), ['QUOTAROOT "Accounts/home/INBOX"']);
    await client.logout();
  });

  await t.test('Evolution: NOTIFY with QRESYNC and LIST-STATUS', async (t) => {
    const client = await box.imap();
    await client.ok('ENABLE CONDSTORE QRESYNC UTF8=ACCEPT');
    const status = await lines(
      client,
      'LIST "" "*" RETURN (SUBSCRIBED CHILDREN STATUS (MESSAGES UNSEEN UIDVALIDITY UIDNEXT HIGHESTMODSEQ))',
    );
    t.ok(status.filter((line) => line.startsWith('STATUS')).length >= 6);
    await client.ok('SELECT INBOX');
    await client.ok(
      'NOTIFY SET (selected (MessageNew (UID RFC822.SIZE RFC822.HEADER FLAGS) MessageExpunge FlagChange)) (subscribed (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange))',
    );
    const fetched = client.until((response) => /FETCH \(UID \d+ RFC822.SIZE \d+ RFC822.HEADER/.test(response));
    await home.deliver('alice', 'INBOX', 'Subject: notified\nMessage-ID: <notified@test.example>\n\nx\n');
    t.match(await fetched, /Subject: notified/);
    const gone = client.until((response) => response.startsWith('VANISHED'));
    const other = await box.imap();
    await other.ok('SELECT INBOX');
    await other.ok('UID STORE 2 +FLAGS.SILENT (\\Deleted)');
    await other.ok('UID EXPUNGE 2');
    t.equal(await gone, 'VANISHED 2');
    const filed = client.until((response) => response.startsWith('STATUS "Archive"'));
    await other.ok('UID COPY 3 Archive');
    t.match(await filed, /MESSAGES 1 .*HIGHESTMODSEQ/);
    await other.logout();
    await client.logout();
  });

  await t.test('Roundcube: a login for every click; LSUB, LIST "" "X/%" level by level', async (t) => {
    for (let click = 0; click < 10; click += 1) {
      const client = await box.imap();
      t.ok((await lines(client, 'LSUB "" "*"')).length >= 6);
      t.match(await lines(client, 'LIST "" "Accounts/%"'), [/Accounts\/home"/, /Accounts\/work"/]);
      await client.ok('STATUS INBOX (MESSAGES UNSEEN)');
      await client.logout();
    }
  });

  await t.test('RENAME of INBOX moves its mail, and INBOX stays', async (t) => {
    const client = await box.imap();
    const before = (await lines(client, 'STATUS INBOX (MESSAGES)')).join();
    await client.ok('RENAME INBOX Old');
    t.match((await lines(client, 'STATUS INBOX (MESSAGES)'))[0], '(MESSAGES 0)');
    t.equal((await lines(client, 'STATUS Old (MESSAGES)')).join(), before.replace('INBOX', 'Old'));
    await box.sync(120);
    t.same(await work.list('alice', 'INBOX'), []);
    t.same(await home.list('alice', 'INBOX'), []);
    t.equal(
      (await work.list('alice', 'Old')).length,
      Number(/MESSAGES (\d+)/.exec(before)![1]),
      'in the default account',
    );
    await home.deliver('alice', 'INBOX', 'Subject: afterwards\nMessage-ID: <afterwards@test.example>\n\nx\n');
    await box.sync();
    t.match((await lines(client, 'STATUS INBOX (MESSAGES)'))[0], '(MESSAGES 1)', 'and goes on receiving');
    t.equal((await client.command('DELETE INBOX')).status, 'NO');
    await client.ok('RENAME Old "Older"');
    await box.sync();
    t.ok((await folderNames(work)).includes('Older'));
    await client.logout();
  });

  await t.test('SIGHUP reads the certificate again; who is connected stays', async (t) => {
    const { port } = box.listener('imap', 'implicit');
    const serial = async (): Promise<string> => {
      const socket = tlsConnect({ host: '127.0.0.1', port, rejectUnauthorized: false, ALPNProtocols: ['imap'] });
      await once(socket, 'secureConnect');
      t.equal(socket.alpnProtocol, 'imap');
      const { serialNumber } = socket.getPeerCertificate();
      socket.destroy();
      return serialNumber;
    };
    const client = await box.imap('alice', 'implicit');
    const old = await serial();
    const dir = await mkdtemp(join(tmpdir(), 'certificates-'));
    t.teardown(() => rm(dir, { recursive: true }));
    const fresh = await makeCertificates(dir);
    const config = (await box.readConfig()) as unknown as { tls: { cert: string; key: string } };
    await copyFile(fresh.cert, config.tls.cert);
    await copyFile(fresh.key, config.tls.key);
    process.kill(box.pid, 'SIGHUP');
    while (!box.log().includes('certificate reloaded')) await new Promise((resolve) => setTimeout(resolve, 20));
    t.not(await serial(), old);
    await client.ok('NOOP');
    await writeFile(config.tls.cert, 'nonsense');
    process.kill(box.pid, 'SIGHUP');
    while (!box.log().includes('certificate not reloaded')) await new Promise((resolve) => setTimeout(resolve, 20));
    t.ok(await serial(), 'an unusable one changes nothing');
    await client.logout();
  });
  t.notMatch(box.log(), PASSWORD);
});
