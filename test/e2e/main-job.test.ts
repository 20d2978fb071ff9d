import t from 'tap';
import { runCommand } from '../harness/command-line.js';
import { flagsOf } from '../harness/imap-helpers.js';
import { runPython } from '../harness/python.js';
import { bodyFingerprints, fingerprints, held, PASSWORD, startWorld, uidOf } from '../harness/world.js';

/** Logs in over TLS with the certificate checked, and leaves `c` selected on INBOX. */
const LOGIN = `
import imaplib, ssl
c = imaplib.IMAP4_SSL('localhost', p['port'], ssl_context=ssl.create_default_context(cafile=p['ca']))
c.login('alice', p['password'])
def ok(r):
    assert r[0] == 'OK', r
    return r[1]
ok(c.select('INBOX'))
def find(id):
    uids = ok(c.uid('SEARCH', None, 'HEADER', 'Message-ID', '"%s"' % id))[0].split()
    assert len(uids) == 1, (id, uids)
    return uids[0].decode()
`;

t.test('two upstreams with some common mail are one INBOX', async (t) => {
  const { box, work, home, mails } = await startWorld(t);
  const python = <T>(script: string, more: Record<string, unknown> = {}): Promise<T> =>
    runPython<T>(LOGIN + script, {
      port: box.listener('imap', 'implicit').port,
      ca: box.ca,
      password: PASSWORD,
      ...more,
    });
  const ids = async (server: typeof work, folder: string): Promise<(string | null)[]> =>
    (await server.list('alice', folder)).map(({ messageId }) => messageId);
  const homeFolder = (name: string): string => `INBOX.${name}`;
  const common = held(mails, 0, true);
  const workOnly = held(mails, 0, false).filter(({ messageId }) => messageId !== null);
  const homeOnly = held(mails, 1, false).filter(({ messageId }) => messageId !== null);

  await t.test('INBOX shows the union once, octet for octet, by date of arrival', async (t) => {
    const client = await box.imap();
    const { untagged } = await client.ok('SELECT INBOX');
    t.ok(untagged.includes(`${mails.length} EXISTS`), `${mails.length} EXISTS`);
    const bodies = await bodyFingerprints(client);
    const byPrint = new Map(mails.flatMap((mail, at) => fingerprints(mail).map((print) => [print, at] as const)));
    const shown = [...bodies.entries()].sort(([a], [b]) => a - b).map(([, print]) => byPrint.get(print));
    t.same(
      [...shown].sort((a, b) => Number(a) - Number(b)),
      mails.map((_, at) => at),
      'every distinct mail once, with octets that some account received',
    );
    const dates = (await client.ok('UID FETCH 1:* (INTERNALDATE)')).untagged.map((each) =>
      Date.parse((/INTERNALDATE "([^"]*)"/.exec(each)?.[1] ?? '').replace(/-/g, ' ')),
    );
    t.same(
      dates,
      [...dates].sort((a, b) => a - b),
      'UIDs follow INTERNALDATE over both accounts',
    );
    await client.logout();
  });

  await t.test('keywords tell which accounts hold a copy', async (t) => {
    const client = await box.imap();
    await client.ok('SELECT INBOX');
    const flags = async (id: string | null): Promise<string[]> => {
      const { untagged } = await client.ok(`UID FETCH ${await uidOf(client, id)} (FLAGS)`);
      return flagsOf(untagged[0] ?? '')
        .filter((flag) => flag.startsWith('$account_'))
        .sort();
    };
    t.same(await flags(common[0]!.messageId), ['$account_home', '$account_work']);
    t.same(await flags(workOnly[0]!.messageId), ['$account_work']);
    t.same(await flags(homeOnly[0]!.messageId), ['$account_home']);
    const { untagged } = await client.ok('UID SEARCH KEYWORD $account_home');
    const found = untagged.find((each) => each.startsWith('SEARCH')) ?? '';
    t.equal(found.split(' ').length - 1, held(mails, 1).length, 'and can be searched for');
    await client.logout();
  });

  await t.test('imaplib: reading and flagging reach every copy', async (t) => {
    const unread = common.find(({ flags }) => !flags.includes('\\Seen')) ?? common[0]!;
    const result = await python<{ flags: string; size: number }>(
      `
uid = find(p['id'])
ok(c.uid('STORE', uid, '-FLAGS', '(\\\\Seen)'))
body = ok(c.uid('FETCH', uid, '(BODY[])'))
ok(c.uid('STORE', uid, '+FLAGS', '(\\\\Flagged)'))
flags = ok(c.uid('FETCH', uid, '(FLAGS)'))[0].decode()
c.logout()
print(json.dumps({'flags': flags, 'size': len(body[0][1])}))
`,
      { id: unread.messageId },
    );
    t.match(result.flags, /\\Seen/, 'BODY[] sets \\Seen');
    t.match(result.flags, /\\Flagged/);
    await box.sync();
    for (const server of [work, home]) {
      const copy = (await server.list('alice', 'INBOX')).find(({ messageId }) => messageId === unread.messageId);
      t.ok(copy?.flags.includes('\\Seen') && copy.flags.includes('\\Flagged'), `${copy?.flags} upstream`);
    }
  });

  await t.test('imaplib: a move to Archive moves each copy inside its own account', async (t) => {
    const [shared, single] = [common[1]!, homeOnly[1]!];
    const after = await python<{ inbox: number; archive: number }>(
      `
uids = ','.join(find(id) for id in p['ids'])
ok(c.uid('MOVE', uids, 'Archive'))
inbox = len(ok(c.uid('SEARCH', None, 'ALL'))[0].split())
archive = int(ok(c.select('Archive'))[0])
c.logout()
print(json.dumps({'inbox': inbox, 'archive': archive}))
`,
      { ids: [shared.messageId, single.messageId] },
    );
    t.same(after, { inbox: mails.length - 2, archive: 2 }, 'at once for the client');
    await box.sync();
    t.same(await ids(work, 'Archive'), [shared.messageId]);
    t.same(new Set(await ids(home, homeFolder('Archive'))), new Set([shared.messageId, single.messageId]));
    for (const [server, mail] of [
      [work, shared],
      [home, shared],
      [home, single],
    ] as const) {
      t.notOk((await ids(server, 'INBOX')).includes(mail.messageId), 'gone from INBOX');
    }
  });

  await t.test('imaplib: a deletion removes every copy and nothing else', async (t) => {
    const victim = common[2]!;
    const before = { work: await ids(work, 'INBOX'), home: await ids(home, 'INBOX') };
    await python(
      `
ok(c.uid('STORE', find(p['id']), '+FLAGS', '(\\\\Deleted)'))
ok(c.expunge())
c.logout()
print('null')
`,
      { id: victim.messageId },
    );
    await box.sync();
    t.same(
      await ids(work, 'INBOX'),
      before.work.filter((id) => id !== victim.messageId),
    );
    t.same(
      await ids(home, 'INBOX'),
      before.home.filter((id) => id !== victim.messageId),
    );
  });

  await t.test('curl: list, read and append', async (t) => {
    const url = `imaps://localhost:${box.listener('imap', 'implicit').port}`;
    const curl = async (...args: string[]): Promise<string> => {
      const { code, stdout, stderr } = await runCommand('curl', [
        ...['--silent', '--show-error', '--cacert', box.ca, '--user', `alice:${PASSWORD}`],
        ...args,
      ]);
      t.equal(code, 0, stderr || args.join(' '));
      return stdout;
    };
    const list = await curl(`${url}/`);
    for (const name of ['INBOX', 'Drafts', 'Sent', 'Archive', 'Junk', 'Trash']) t.match(list, name);
    const client = await box.imap();
    await client.ok('EXAMINE INBOX');
    const uid = await uidOf(client, workOnly[2]!.messageId);
    client.close();
    t.match(await curl(`${url}/INBOX;UID=${uid};SECTION=HEADER`), workOnly[2]!.messageId ?? '');
    const message = 'From: alice@work.example\r\nSubject: by curl\r\nMessage-ID: <curl@test.example>\r\n\r\nhello\r\n';
    const file = `${box.dir}/append.eml`;
    await import('node:fs/promises').then(({ writeFile }) => writeFile(file, message));
    await curl('--upload-file', file, `${url}/INBOX`);
    t.ok(
      (await box.list()).some(({ messageId }) => messageId === '<curl@test.example>'),
      'shown at once',
    );
    await box.sync();
    const uploaded = (await work.list('alice', 'INBOX')).filter(({ messageId }) => messageId === '<curl@test.example>');
    t.equal(uploaded.length, 1, 'uploaded once, to the default account');
    t.notOk((await ids(home, 'INBOX')).includes('<curl@test.example>'));
    t.equal((await box.list()).filter(({ messageId }) => messageId === '<curl@test.example>').length, 1, 'shown once');
  });

  await t.test('a draft goes to the account that its From address belongs to', async (t) => {
    const message = 'From: Alice <alice@home.example>\nSubject: draft\nMessage-ID: <draft@test.example>\n\nhello\n';
    const uid = await box.append('Drafts', message, ['\\Draft', '\\Seen']);
    t.ok(uid > 0, 'APPENDUID');
    await box.sync();
    t.match(await home.list('alice', homeFolder('Drafts')), [{ messageId: '<draft@test.example>' }]);
    t.same(await work.list('alice', 'Drafts'), []);
  });

  await t.test('mirrors reach every upstream folder', async (t) => {
    const client = await home.imap();
    await client.ok('CREATE INBOX.Projects');
    client.close();
    await home.deliver('alice', 'INBOX.Projects', 'Subject: mirrored\nMessage-ID: <mirror@test.example>\n\nx\n');
    await box.sync();
    const merged = await box.imap();
    const names = (await merged.ok('LIST "" "Accounts/home/*"')).untagged.map(
      (each) => /"?(Accounts\/[^"]*)"?$/.exec(each)?.[1],
    );
    const name = names.find((each) => each?.endsWith('Projects'));
    t.ok(name, `${names}`);
    t.match(await box.list(name), [{ messageId: '<mirror@test.example>', subject: 'mirrored' }]);
    await merged.logout();
  });

  await t.test('a second sync changes nothing anywhere', async (t) => {
    const state = async (): Promise<unknown> => ({
      work: await work.list('alice', 'INBOX'),
      home: await home.list('alice', 'INBOX'),
      merged: await box.list(),
    });
    const before = await state();
    await box.sync();
    t.same(await state(), before);
  });
});
