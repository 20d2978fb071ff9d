import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inspect } from 'node:util';
import t from 'tap';
import { makeCertificates } from '../harness/certificates.js';
import { startDovecot } from '../harness/dovecot.js';
import { eventually, freePorts } from '../harness/net.js';
import { allMessages, bodyOf, mail, refOf, upstreamAt } from './upstream-support.js';

t.test('read gives state, UIDs, flags and raw metadata', async (t) => {
  const server = await startDovecot();
  t.teardown(() => server.stop());
  const upstream = await upstreamAt(server);
  t.teardown(() => upstream.disconnect());
  for (let n = 1; n <= 5; n += 1) {
    await server.deliver(
      'alice',
      'INBOX',
      mail(`mail ${n}`),
      n % 2 ? ['\\Seen', 'work'] : [],
      new Date(n * 86_400_000),
    );
  }
  await upstream.read('INBOX', null, async (folder) => {
    t.equal(folder.state.exists, 5);
    t.equal(folder.state.uidNext, 6);
    t.match(folder.state.highestModSeq, /^\d+$/);
    t.strictSame([...(await folder.uids())], [1, 2, 3, 4, 5]);
    t.strictSame(
      (await folder.flags(null)).map(({ uid, flags }) => [uid, flags]),
      [
        [1, '\\Seen work'],
        [2, ''],
        [3, '\\Seen work'],
        [4, ''],
        [5, '\\Seen work'],
      ],
    );
    const messages = await allMessages(folder);
    t.equal(messages.length, 5);
    const third = messages[2]!;
    t.equal(third.uid, 3);
    t.equal(third.internalDate, 3 * 86_400);
    t.equal(third.size, mail('mail 3').length);
    t.match(third.envelope?.toString(), /^\("Tue, 05 May 2020 10:00:00 \+0200" "mail 3" \(\("Ann Example" NIL "ann"/);
    t.match(
      third.structure?.toString(),
      /^\("text" "plain" \("charset" "utf-8"\) NIL NIL "7bit" \d+ 3 NIL NIL NIL NIL\)$/,
    );
    t.equal(third.header.toString(), `${mail('mail 3').split('\r\n\r\n')[0]}\r\n\r\n`);
    const reversed: number[] = [];
    await folder.messages([5, 3, 99, 1], async (page) => void reversed.push(...page.map(({ uid }) => uid)));
    t.strictSame(reversed, [5, 3, 1], 'the order asked for, absent ones left out');
    const ref = { path: 'INBOX', uidValidity: folder.state.uidValidity };
    t.equal((await bodyOf(upstream, ref, 4)).toString(), mail('mail 4'));
  });
});

t.test('TLS in both forms verifies the server by its authority', async (t) => {
  for (const tls of ['implicit', 'starttls'] as const) {
    const server = await startDovecot({ tls });
    t.teardown(() => server.stop());
    await server.deliver('alice', 'INBOX', mail('over TLS'));
    const upstream = await upstreamAt(server);
    t.teardown(() => upstream.disconnect());
    t.match(await upstream.connect(), { idle: true }, tls);
    const ref = await refOf(upstream, 'INBOX');
    t.match((await bodyOf(upstream, ref, 1)).toString(), /over TLS/, tls);
    const other = await makeCertificates(await t.testdir({ [tls]: {} }));
    for (const ca of [null, await readFile(other.ca, 'utf8')]) {
      const stranger = await upstreamAt(server, { ca });
      await t.rejects(stranger.connect(), { code: 'connection', message: /certificate|self.signed/i }, 'changes');
      await t.rejects(
        stranger.status(['INBOX']),
        { code: 'connection', message: /certificate|self.signed/i },
        'reader',
      );
    }
    const named = await upstreamAt({ ...server.endpoint(), host: 'localhost', port: server.port, tls, ca: server.ca });
    t.equal((await named.status(['INBOX'])).size, 1, 'by name, with SNI');
    await named.disconnect();
    const intruder = await upstreamAt(server, { password: 'wrong' });
    t.teardown(() => intruder.disconnect());
    await t.rejects(intruder.connect(), { code: 'authentication' });
    await t.rejects(intruder.status(['INBOX']), { code: 'authentication' });
    const told = await Promise.allSettled([intruder.connect(), intruder.status(['INBOX'])]);
    t.notMatch(inspect(told, { depth: 9 }), 'wrong', 'no password in errors');
  }
});

t.test('nothing that listens is a connection error', async (t) => {
  const [port = 0] = await freePorts(1);
  const upstream = await upstreamAt({ host: '127.0.0.1', port, tls: 'none' });
  await t.rejects(upstream.connect(), { code: 'connection' });
  await t.rejects(upstream.status(['INBOX']), { code: 'connection' });
  await t.rejects(
    upstream.read('INBOX', null, async () => 0),
    { code: 'connection' },
  );
});

for (const [name, capability] of [
  ['QRESYNC', undefined],
  ['CONDSTORE', 'IMAP4rev1 ENABLE CONDSTORE UIDPLUS MOVE IDLE ESEARCH UNSELECT'],
  ['CONDSTORE without ENABLE', 'IMAP4rev1 CONDSTORE'],
  ['none of both', 'IMAP4rev1'],
] as const) {
  t.test(`incremental reading with ${name}`, async (t) => {
    const server = await startDovecot(capability === undefined ? {} : { capability });
    t.teardown(() => server.stop());
    const upstream = await upstreamAt(server);
    t.teardown(() => upstream.disconnect());
    for (let n = 1; n <= 6; n += 1) await server.deliver('alice', 'INBOX', mail(`mail ${n}`));
    const first = await upstream.read('INBOX', null, async ({ state, resync }) => {
      t.equal(resync, null);
      return state;
    });
    const since = { path: 'INBOX', uidValidity: first.uidValidity, modSeq: first.highestModSeq };
    t.equal(since.modSeq === null, name === 'none of both');
    const direct = await server.imap();
    t.teardown(() => direct.close());
    await direct.ok('SELECT INBOX');
    await direct.ok('UID STORE 2 +FLAGS (\\Seen)');
    await direct.ok('UID STORE 3,5:6 +FLAGS (\\Deleted)');
    await direct.ok('EXPUNGE');
    await server.deliver('alice', 'INBOX', mail('news'), ['\\Flagged']);
    await upstream.read('INBOX', since, async (folder) => {
      t.match(folder.state, { exists: 4, uidNext: 8, uidValidity: first.uidValidity });
      t.strictSame([...(await folder.uids())], [1, 2, 4, 7]);
      if (name === 'QRESYNC') {
        t.strictSame(folder.resync?.vanished, [
          [3, 3],
          [5, 6],
        ]);
        t.strictSame(folder.resync?.changed, [
          { uid: 2, flags: '\\Seen' },
          { uid: 7, flags: '\\Flagged' },
        ]);
      } else t.equal(folder.resync, null);
      const changed = (await folder.flags(since.modSeq)).map(({ uid }) => uid);
      t.strictSame(changed, name === 'none of both' ? [1, 2, 4, 7] : [2, 7]);
    });
    await upstream.read('INBOX', { ...since, uidValidity: since.uidValidity + 1 }, async ({ resync }) => {
      t.equal(resync, null, 'a cursor of another UIDVALIDITY');
    });
    t.strictSame((await upstream.status(['INBOX'])).get('INBOX')?.exists, 4);
  });
}

t.test('status looks at many folders at once and leaves out what is not there', async (t) => {
  const server = await startDovecot();
  t.teardown(() => server.stop());
  const upstream = await upstreamAt(server);
  t.teardown(() => upstream.disconnect());
  const names = Array.from({ length: 120 }, (_, index) => `Folder "${index}" ü`);
  for (const name of names) await upstream.createFolder(name, null);
  await upstream.append(names[7]!, { bytes: Buffer.from(mail('one')), flags: '', internalDate: 0 });
  await upstream.read(names[7]!, null, async () => 0);
  await upstream.append(names[7]!, { bytes: Buffer.from(mail('two')), flags: '', internalDate: 0 });
  const states = await upstream.status([...names, 'nowhere', 'INBOX', 'evil\r\n']);
  t.equal(states.size, 121);
  t.match(states.get(names[7]!), { exists: 2, uidNext: 3 }, 'also of the folder that is open');
  t.match(states.get(names[8]!), { exists: 0, uidNext: 1 });
  t.match(states.get('INBOX')?.highestModSeq, /^\d+$/);
  t.equal((await upstream.status([])).size, 0);
});

t.test('messages come page by page in the order asked for, with the owner setting the pace', async (t) => {
  const server = await startDovecot();
  t.teardown(() => server.stop());
  const upstream = await upstreamAt(server);
  t.teardown(() => upstream.disconnect());
  for (const dir of ['cur', 'new', 'tmp']) await mkdir(join(server.maildir('alice'), dir), { recursive: true });
  for (let n = 1; n <= 1_200; n += 1) {
    await writeFile(join(server.maildir('alice'), 'cur', `${1_600_000_000 + n}.M1P1.test:2,`), mail(`m${n}`, 1));
  }
  await server.adopt(server.maildir('alice'));
  await upstream.read('INBOX', null, async (folder) => {
    const uids = [...(await folder.uids())].reverse();
    const seen: number[] = [];
    let busy = 0;
    await folder.messages(uids, async (page) => {
      busy += 1;
      t.equal(busy, 1, 'one page at a time');
      t.ok(page.length <= 500);
      await new Promise((resolve) => setTimeout(resolve, 5));
      for (const message of page) {
        if (!message.envelope?.includes(`"m${message.uid}"`)) t.fail(`envelope of ${message.uid}`);
        seen.push(message.uid);
      }
      busy -= 1;
    });
    t.strictSame(seen, uids);
    await t.rejects(
      folder.messages(uids, () => Promise.reject(new Error('the owner has a problem'))),
      /the owner has a problem/,
    );
    t.equal((await folder.uids()).length, 1_200, 'the connection lives on');
  });
  const ref = await refOf(upstream, 'INBOX');
  let served = 0;
  await upstream.read('INBOX', null, async (folder) => {
    const pull = folder.messages([...(await folder.uids())], async () => undefined);
    for (let uid = 1; uid <= 20; uid += 1) served += (await bodyOf(upstream, ref, uid)).length > 0 ? 1 : 0;
    await pull;
  });
  t.equal(served, 20);
});

t.test('a body that arrived after its folder was opened is found, one that is gone is nonexistent', async (t) => {
  const server = await startDovecot();
  t.teardown(() => server.stop());
  const upstream = await upstreamAt(server);
  t.teardown(() => upstream.disconnect());
  await server.deliver('alice', 'INBOX', mail('one'));
  const ref = await refOf(upstream, 'INBOX');
  t.match((await bodyOf(upstream, ref, 1)).toString(), /Subject: one/);
  await server.deliver('alice', 'INBOX', mail('two'));
  t.match((await bodyOf(upstream, ref, 2)).toString(), /Subject: two/);
  await upstream.expunge(ref, [1], { actions: [1], reason: 'test' });
  await t.rejects(bodyOf(upstream, ref, 1), { code: 'nonexistent' });
  await t.rejects(bodyOf(upstream, { path: 'nowhere', uidValidity: 1 }, 1), { code: 'nonexistent' });
  t.notOk((await server.list('alice', 'INBOX'))[0]?.flags.includes('\\Seen'), 'reading marks nothing');
});

t.test('a server killed in the middle of a fetch is a clean error, and reading goes on after its return', async (t) => {
  const server = await startDovecot();
  t.teardown(() => server.stop());
  const upstream = await upstreamAt(server);
  t.teardown(() => upstream.disconnect());
  const large = Buffer.from(mail('large', 2_000_000));
  await server.deliver('alice', 'INBOX', large);
  for (let n = 0; n < 5; n += 1) await server.deliver('alice', 'INBOX', mail(`m${n}`));
  const ref = await refOf(upstream, 'INBOX');
  let received = 0;
  const killed = upstream.fetchBody(ref, 1, {
    start: (size) => t.equal(size, large.length),
    chunk: async (bytes) => {
      if (received === 0) await server.kill();
      received += bytes.length;
    },
  });
  await t.rejects(killed, { code: 'connection' });
  t.ok(received > 0 && received < large.length);
  await t.rejects(upstream.read('INBOX', null, allMessages), { code: 'connection' });
  await server.start();
  t.equal((await upstream.read('INBOX', null, allMessages)).length, 6);
  t.ok((await bodyOf(upstream, ref, 1)).equals(large));
  await upstream.read('INBOX', null, async (folder) => {
    await server.kill();
    await t.rejects(folder.uids(), { code: 'connection' });
    await server.start();
    await t.rejects(folder.uids(), { code: 'connection' }, 'a reader does not outlive its connection');
  });
  t.equal((await upstream.read('INBOX', null, (folder) => folder.uids())).length, 6);
});

t.test('connections that nobody needs are closed, and opened again when somebody does', async (t) => {
  const server = await startDovecot();
  t.teardown(() => server.stop());
  const upstream = await upstreamAt(server, { timing: { idleCloseMs: 50, probeAfterMs: 0 } });
  t.teardown(() => upstream.disconnect());
  const processes = async (): Promise<number> => {
    const log = await server.log();
    return (log.match(/Login: user/g)?.length ?? 0) - (log.match(/: Disconnected|: Connection closed/g)?.length ?? 0);
  };
  await upstream.connect();
  await upstream.status(['INBOX']);
  await upstream.status(['INBOX']);
  await eventually('idle connections to close', async () => (await processes()) === 0);
  t.equal((await upstream.status(['INBOX'])).size, 1);
  t.equal((await upstream.connect()).idle, true);
});
