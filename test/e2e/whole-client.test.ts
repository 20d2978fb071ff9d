import t from 'tap';
import { Mbsync } from '../harness/mbsync.js';
import { held, PASSWORD, startWorld } from '../harness/world.js';

const MAILBOXES = 'INBOX Archive Drafts Sent Trash';

t.test('mbsync keeps a whole copy of the merged mailboxes in step, both ways', async (t) => {
  const { box, work, home, mails } = await startWorld(t);
  const account = () => ({
    port: box.listener('imap', 'implicit').port,
    ca: box.ca,
    user: 'alice',
    password: PASSWORD,
  });
  const mbsync = await Mbsync.create(account(), MAILBOXES);
  t.teardown(() => mbsync.stop());
  /** What tells any change of the merged mailboxes. */
  const far = async (): Promise<string[]> => {
    const client = await box.imap();
    const lines: string[] = [];
    for (const name of MAILBOXES.split(' ')) {
      lines.push(...(await client.ok(`STATUS ${name} (MESSAGES UIDNEXT UNSEEN HIGHESTMODSEQ)`)).untagged);
    }
    await client.logout();
    return lines;
  };
  const noChange = async (t: { same(found: unknown, wanted: unknown, text: string): unknown }): Promise<void> => {
    const before = { far: await far(), near: await mbsync.names() };
    await mbsync.run();
    t.same(await far(), before.far, 'a further run changes nothing at the server');
    t.same(await mbsync.names(), before.near, 'nor locally');
  };
  const upstream = async (server: typeof work, folder: string, messageId: string | null) =>
    (await server.list('alice', folder)).filter((mail) => mail.messageId === messageId);
  const common = held(mails, 0, true);

  await t.test('pull', async (t) => {
    await mbsync.run();
    t.equal((await mbsync.list('INBOX')).length, mails.length);
    const seen = (await mbsync.list('INBOX')).filter(({ flags }) => flags.includes('S')).length;
    t.equal(seen, mails.filter(({ flags }) => flags.includes('\\Seen')).length, 'with its flags');
    await noChange(t);
  });

  await t.test('push of flags, a deletion and a new mail', async (t) => {
    const [flagged, deleted] = [common[0]!, common[1]!];
    await mbsync.setFlags(await mbsync.find('INBOX', `Message-ID: ${flagged.messageId}`), 'FS');
    await mbsync.setFlags(await mbsync.find('INBOX', `Message-ID: ${deleted.messageId}`), 'ST');
    await mbsync.add(
      'Drafts',
      'From: alice@home.example\nSubject: local\nMessage-ID: <local@test.example>\n\nx\n',
      'DS',
    );
    await mbsync.run();
    await box.sync();
    for (const [server, drafts] of [
      [work, 'Drafts'],
      [home, 'INBOX.Drafts'],
    ] as const) {
      t.match(await upstream(server, 'INBOX', flagged.messageId), [{ flags: /\\Flagged/ }], 'flagged');
      t.same(await upstream(server, 'INBOX', deleted.messageId), [], 'deleted');
      t.equal((await upstream(server, drafts, '<local@test.example>')).length, server === home ? 1 : 0);
    }
    await noChange(t);
  });

  await t.test('pull of what changed upstream', async (t) => {
    await home.deliver('alice', 'INBOX', 'Subject: later\nMessage-ID: <later@test.example>\n\nx\n');
    const direct = await work.imap();
    await direct.ok('SELECT INBOX');
    const [copy] = await upstream(work, 'INBOX', common[2]!.messageId);
    await direct.ok(`UID STORE ${copy?.uid} +FLAGS (\\Answered)`);
    const [gone] = await upstream(work, 'INBOX', common[3]!.messageId);
    await direct.ok(`UID STORE ${gone?.uid} +FLAGS (\\Deleted)`);
    await direct.ok(`UID EXPUNGE ${gone?.uid}`);
    await direct.logout();
    await box.sync();
    await mbsync.run();
    const inbox = await mbsync.list('INBOX');
    t.ok(inbox.some(({ text }) => text.includes('<later@test.example>')));
    t.match(await mbsync.find('INBOX', `Message-ID: ${common[2]!.messageId}`), { flags: /R/ });
    t.notOk(inbox.some(({ text }) => text.includes(`Message-ID: ${common[3]!.messageId}`)));
    await noChange(t);
  });

  await t.test('nothing is downloaded again after a restart', async (t) => {
    await box.restart();
    await mbsync.reconfigure(account(), MAILBOXES);
    await noChange(t);
  });
});
