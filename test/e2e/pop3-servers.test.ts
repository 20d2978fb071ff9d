import t from 'tap';
import { startDovecot } from '../harness/dovecot.js';
import { type Mergebox, startMergebox } from '../harness/mergebox.js';
import { POP3_PASSWORD, type Pop3Server, startCourier, startMailutils } from '../harness/pop3-servers.js';
import { uidOf } from '../harness/world.js';

function mail(name: string): string {
  const head = `Received: from a.example by b.example; Mon, 02 Sep 2024 10:00:0${name.length % 10} +0000\nFrom: ada@sender.example\nTo: alice@isp.example`;
  const body = `body of ${name}\n.\n..two dots\n${'From here on\n'.repeat(3)}`;
  return `${head}\nDate: Mon, 02 Sep 2024 10:00:00 +0000\nSubject: ${name}\nMessage-ID: <${name}@test.example>\n\n${body}`;
}

async function names(box: Mergebox, mailbox = 'INBOX'): Promise<string[]> {
  return (await box.list(mailbox)).map(({ subject }) => subject ?? '').sort();
}

for (const start of [startCourier, startMailutils]) {
  t.test(`${start.name.slice(5)}: the whole job`, async (t) => {
    const server: Pop3Server = await start();
    t.teardown(() => server.stop());
    const work = await startDovecot();
    t.teardown(() => work.stop());
    for (const name of ['a', 'b', 'c', 'd']) await server.deliver(mail(name));
    await work.deliver('alice', 'INBOX', mail('b').replaceAll('\n', '\r\n'));
    const isp = {
      ...{ id: 'isp', protocol: 'pop3', server: work, host: '127.0.0.1', port: server.port, tls: 'none' },
      ...{ auth: { username: server.username, password: POP3_PASSWORD }, pollSeconds: 3_600 },
    };
    const box = await startMergebox({
      users: [{ name: 'alice', password: 'correct horse', accounts: [{ id: 'work', server: work }, isp] }],
    });
    t.teardown(() => box.stop());
    await box.sync();
    t.same(await names(box), ['a', 'b', 'c', 'd'], 'what both have is once there');
    const client = await box.imap();
    t.teardown(() => client.close());
    await client.ok('SELECT INBOX');
    const { untagged } = await client.ok(`UID FETCH ${await uidOf(client, '<a@test.example>')} BODY.PEEK[TEXT]`);
    t.match(untagged.join('\n'), 'body of a\r\n.\r\n..two dots\r\n');
    await client.ok(`UID STORE ${await uidOf(client, '<b@test.example>')} +FLAGS (\\Answered)`);
    await client.ok(`UID MOVE ${await uidOf(client, '<b@test.example>')} Trash`);
    await client.ok(`UID STORE ${await uidOf(client, '<c@test.example>')} +FLAGS (\\Deleted)`);
    await client.ok('EXPUNGE');
    await server.deliver(mail('e'));
    await box.sync();
    t.same(await server.subjects(), ['a', 'd', 'e'], 'deleted at the server');
    t.same(await names(box), ['a', 'd', 'e']);
    t.same(await names(box, 'Trash'), ['b']);
    t.same(
      (await work.list('alice', 'Trash')).map(({ flags }) => flags),
      [['\\Answered']],
      'and at the other account',
    );
    const before = await box.list();
    await box.sync();
    t.same(await box.list(), before, 'a further look changes nothing');
    const check = await box.command(['check']);
    t.match(check.stdout, /alice\/isp: pop3 127\.0\.0\.1:\d+ \(none\): logged in; offers .*UIDL/);
    t.match(check.stdout, /: 3 mails of \d+ octets$/m);
    await box.kill();
    await box.start();
    await box.sync();
    t.same(await box.list(), before);
  });
}
