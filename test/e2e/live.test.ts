import t from 'tap';
import type { Dovecot } from '../harness/dovecot.js';
import type { ImapClient } from '../harness/imap-client.js';
import { flagsOf } from '../harness/imap-helpers.js';
import { eventually } from '../harness/net.js';
import { held, startWorld, uidOf } from '../harness/world.js';

// pollSeconds is far above this: what arrives in time was pushed.
const SOON_MS = 10_000;
const ACCOUNT = { pollSeconds: 3600 };

async function selected(client: ImapClient): Promise<ImapClient> {
  await client.ok('SELECT INBOX');
  return client;
}

/** A flag change or deletion by someone who uses the upstream directly. */
async function direct(server: Dovecot, messageId: string | null, change: string, expunge = false): Promise<void> {
  const client = await selected(await server.imap());
  await client.ok(`UID STORE ${await uidOf(client, messageId)} ${change}`);
  if (expunge) await client.ok('EXPUNGE');
  await client.logout();
}

t.test('what happens upstream reaches clients that are connected', async (t) => {
  const { box, work, home, mails } = await startWorld(t, { account: ACCOUNT });
  const [shared, victim] = held(mails, 0, true) as [(typeof mails)[0], (typeof mails)[0]];
  const watcher = await selected(await box.imap());
  t.teardown(() => watcher.close());
  const sharedUid = await uidOf(watcher, shared.messageId);

  await t.test('new mail at either upstream wakes an idling client', async (t) => {
    let count = mails.length;
    for (const server of [work, home]) {
      const idle = await watcher.idle();
      await server.deliver('alice', 'INBOX', `Subject: wake\nMessage-ID: <wake${server.port}@test.example>\n\nup\n`);
      count += 1;
      t.equal(await watcher.until((each) => / EXISTS$/.test(each), SOON_MS), `${count} EXISTS`);
      t.equal((await idle.done()).status, 'OK');
      t.ok(
        (await uidOf(watcher, `<wake${server.port}@test.example>`)) > sharedUid,
        'its UID is above the earlier ones',
      );
    }
  });

  await t.test('a flag set and cleared upstream is shown, and reaches the other copy', async (t) => {
    for (const [change, expected] of [
      ['+FLAGS (\\Flagged)', true],
      ['-FLAGS (\\Flagged)', false],
    ] as const) {
      const idle = await watcher.idle();
      await direct(work, shared.messageId, change);
      const update = await watcher.until(
        (each) => / FETCH /.test(each) && flagsOf(each).includes('\\Flagged') === expected,
        SOON_MS,
      );
      t.equal((await idle.done()).status, 'OK');
      const { untagged } = await watcher.ok(`UID FETCH ${sharedUid} (FLAGS)`);
      t.equal(flagsOf(untagged[0] ?? '').includes('\\Flagged'), expected);
      t.equal(/^\d+/.exec(update)?.[0], /^\d+/.exec(untagged[0] ?? '')?.[0], 'for the right sequence number');
      await eventually(`\\Flagged ${expected} at home`, async () => {
        const copy = (await home.list('alice', 'INBOX')).find(({ messageId }) => messageId === shared.messageId);
        return copy?.flags.includes('\\Flagged') === expected;
      });
    }
  });

  await t.test('a deletion upstream removes the entry and moves the other copy to Trash', async (t) => {
    const { untagged } = await watcher.ok(`UID FETCH ${await uidOf(watcher, victim.messageId)} (UID)`);
    const sequence = /^\d+/.exec(untagged[0] ?? '')?.[0];
    const idle = await watcher.idle();
    await direct(work, victim.messageId, '+FLAGS (\\Deleted)', true);
    t.equal(await watcher.until((each) => / EXPUNGE$/.test(each), SOON_MS), `${sequence} EXPUNGE`);
    t.equal((await idle.done()).status, 'OK');
    await box.sync();
    const homeIds = async (folder: string): Promise<(string | null)[]> =>
      (await home.list('alice', folder)).map(({ messageId }) => messageId);
    t.notOk((await homeIds('INBOX')).includes(victim.messageId));
    t.ok((await homeIds('INBOX.Trash')).includes(victim.messageId), 'it can be had back');
  });

  await t.test('a mail that is moved upstream moves in the merged mailboxes', async (t) => {
    const moved = held(mails, 0, false).find(({ messageId }) => messageId !== null)!;
    const client = await selected(await work.imap());
    await client.ok(`UID MOVE ${await uidOf(client, moved.messageId)} Archive`);
    await client.logout();
    await box.sync();
    t.ok((await box.list('Archive')).some(({ messageId }) => messageId === moved.messageId));
    t.notOk((await box.list('INBOX')).some(({ messageId }) => messageId === moved.messageId));
    t.same(await box.list('Trash').then((all) => all.filter(({ messageId }) => messageId === moved.messageId)), []);
  });
});

t.test('two clients at once see each other', async (t) => {
  const { box, mails } = await startWorld(t, { mails: 20, common: 5, account: ACCOUNT });
  const [one, two] = [await selected(await box.imap()), await selected(await box.imap('alice', 'implicit'))];
  t.teardown(() => {
    one.close();
    two.close();
  });
  const uid = await uidOf(one, held(mails, 0, true)[0]!.messageId);
  const idle = await two.idle();

  await one.ok(`UID STORE ${uid} +FLAGS ($Important)`);
  const fetched = await two.until((each) => / FETCH /.test(each), SOON_MS);
  t.ok(flagsOf(fetched).includes('$Important'));

  await one.ok('APPEND INBOX (\\Seen) {}', 'Subject: shared\r\nMessage-ID: <shared@test.example>\r\n\r\nx\r\n');
  t.equal(await two.until((each) => / EXISTS$/.test(each), SOON_MS), `${mails.length + 1} EXISTS`);

  await one.ok(`UID STORE ${uid} +FLAGS (\\Deleted)`);
  await one.ok(`UID EXPUNGE ${uid}`);
  t.match(await two.until((each) => / EXPUNGE$/.test(each), SOON_MS), /^\d+ EXPUNGE$/);
  await idle.done();
  const uids = async (client: ImapClient): Promise<string> =>
    (await client.ok('UID SEARCH ALL')).untagged.filter((each) => each.startsWith('SEARCH')).join();
  t.equal(await uids(two), await uids(one));
});

t.test('a sequence number holds until the client may be told otherwise', async (t) => {
  const { box } = await startWorld(t, { mails: 12, common: 3, account: ACCOUNT });
  const [one, two] = [await selected(await box.imap()), await selected(await box.imap())];
  t.teardown(() => {
    one.close();
    two.close();
  });
  const uidAt = async (client: ImapClient, sequence: number): Promise<string | undefined> =>
    /UID (\d+)/.exec(
      (await client.ok(`FETCH ${sequence} (UID)`)).untagged.find((each) => / FETCH /.test(each)) ?? '',
    )?.[1];
  const fifth = await uidAt(two, 5);
  await one.ok('STORE 2 +FLAGS (\\Deleted)');
  await one.ok('EXPUNGE');
  // RFC 9051 §7.5.1: no EXPUNGE during FETCH, STORE or SEARCH.
  const reply = await two.ok('FETCH 5 (UID)');
  t.notOk(reply.untagged.some((each) => /EXPUNGE$/.test(each)));
  t.equal(/UID (\d+)/.exec(reply.untagged.find((each) => / FETCH /.test(each)) ?? '')?.[1], fifth);
  const noop = await two.ok('NOOP');
  t.same(
    [...reply.untagged, ...noop.untagged].filter((each) => /EXPUNGE$/.test(each)),
    ['2 EXPUNGE'],
  );
  t.equal(await uidAt(two, 4), fifth, 'afterwards it has moved down');
});
