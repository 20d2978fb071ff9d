import t from 'tap';
import type { ImapClient } from '../harness/imap-client.js';
import { flagsOf } from '../harness/imap-helpers.js';
import { held, startWorld, uidOf, type World } from '../harness/world.js';

/** Kills the daemon with no chance to tidy up, starts it again, and selects INBOX. */
async function crash(world: World, client: ImapClient): Promise<ImapClient> {
  await world.box.kill();
  client.close();
  await world.box.start();
  const next = await world.box.imap();
  await next.ok('SELECT INBOX');
  return next;
}

async function identity(client: ImapClient): Promise<{ uidValidity: string | undefined; uids: Map<string, string> }> {
  const { untagged } = await client.ok('SELECT INBOX');
  const fetched = (await client.ok('UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (Message-ID)])')).untagged;
  const uids = fetched.flatMap((each) => {
    const id = /Message-ID:\s*(<[^>]*>)/i.exec(each)?.[1];
    return id === undefined ? [] : [[id, /\bUID (\d+)/.exec(each)?.[1] ?? ''] as const];
  });
  return { uidValidity: /UIDVALIDITY (\d+)/.exec(untagged.join('\n'))?.[1], uids: new Map(uids) };
}

t.test('kill -9 after any answered command loses nothing', async (t) => {
  const world = await startWorld(t);
  const { box, work, home, mails } = world;
  const [stored, moved, expunged] = held(mails, 0, true).map(({ messageId }) => messageId);
  let client = await box.imap();
  const before = await identity(client);

  await client.ok(`UID STORE ${await uidOf(client, stored!)} +FLAGS (\\Flagged $Work)`);
  client = await crash(world, client);
  const { untagged } = await client.ok(`UID FETCH ${await uidOf(client, stored!)} (FLAGS)`);
  t.ok(
    ['\\Flagged', '$Work'].every((flag) => flagsOf(untagged[0] ?? '').includes(flag)),
    'STORE',
  );

  await client.ok(`UID MOVE ${await uidOf(client, moved!)} Archive`);
  client = await crash(world, client);
  await t.rejects(uidOf(client, moved!), /^0 entries/, 'MOVE: gone here');
  t.ok(
    (await box.list('Archive')).some(({ messageId }) => messageId === moved),
    'MOVE: there',
  );

  await client.ok('APPEND INBOX (\\Seen) {}', 'Subject: kept\r\nMessage-ID: <kept@test.example>\r\n\r\nbytes\r\n');
  client = await crash(world, client);
  const kept = await uidOf(client, '<kept@test.example>');
  t.match((await client.ok(`UID FETCH ${kept} (BODY.PEEK[TEXT])`)).untagged[0], /bytes/, 'APPEND');

  await client.ok(`UID STORE ${await uidOf(client, expunged!)} +FLAGS (\\Deleted)`);
  client = await crash(world, client);
  await client.ok(`UID EXPUNGE ${await uidOf(client, expunged!)}`);
  client = await crash(world, client);
  await t.rejects(uidOf(client, expunged!), /^0 entries/, 'EXPUNGE');

  await box.sync();
  for (const [server, archive] of [
    [work, 'Archive'],
    [home, 'INBOX.Archive'],
  ] as const) {
    const inbox = await server.list('alice', 'INBOX');
    const ids = inbox.map(({ messageId }) => messageId);
    t.match(inbox.find(({ messageId }) => messageId === stored)?.flags, /\\Flagged/);
    t.notOk(ids.includes(moved!) || ids.includes(expunged!));
    t.same(
      (await server.list('alice', archive)).map(({ messageId }) => messageId),
      [moved],
    );
    t.equal(ids.filter((id) => id === '<kept@test.example>').length, server === work ? 1 : 0, 'uploaded once');
  }
  const after = await identity(client);
  t.equal(after.uidValidity, before.uidValidity);
  for (const [id, uid] of after.uids) if (before.uids.has(id)) t.equal(uid, before.uids.get(id), `UID of ${id}`);
  t.equal(after.uids.size, before.uids.size - 2 + 1);
  client.close();
});

t.test('a restart in good order keeps UIDs and UIDVALIDITY, and exits 0', async (t) => {
  const { box } = await startWorld(t, { mails: 15, common: 4 });
  const first = await box.imap();
  const before = await identity(first);
  first.close();
  t.equal(await box.terminate(), 0);
  await box.start();
  await box.sync();
  const second = await box.imap();
  t.same(await identity(second), before);
  second.close();
});

t.test('an upstream that is down at start delays nothing and catches up', async (t) => {
  const world = await startWorld(t, {
    start: false,
    mails: 20,
    common: 5,
    overrides: { limits: { firstSyncSeconds: 3 } },
  });
  const { box, work, home, mails } = world;
  await work.kill();
  await box.start();
  const { code } = await box.command(['sync', '--wait', '--timeout', '5', '--account', 'home']);
  t.equal(code, 0, 'the other account syncs');
  const shown = await box.list();
  t.equal(shown.length, held(mails, 1).length);
  t.equal((await box.status()).code, 1, 'status says so');
  await work.start();
  await box.sync();
  t.equal((await box.list()).length, mails.length);
  t.equal((await box.status()).code, 0);

  await t.test('and, once known, is served from what is known', async (t) => {
    await work.kill();
    await box.restart();
    const client = await box.imap();
    const { untagged } = await client.ok('SELECT INBOX');
    t.ok(untagged.includes(`${mails.length} EXISTS`));
    const uid = await uidOf(client, held(mails, 0, false).find(({ messageId }) => messageId !== null)!.messageId);
    await client.ok(`UID STORE ${uid} +FLAGS (\\Flagged)`);
    const answer = await client.ok(`UID FETCH ${uid} (FLAGS ENVELOPE BODYSTRUCTURE)`);
    t.ok(flagsOf(answer.untagged[0] ?? '').includes('\\Flagged'), 'a change is answered and owed');
    client.close();
    await home.deliver('alice', 'INBOX', 'Subject: meanwhile\nMessage-ID: <meanwhile@test.example>\n\nx\n');
    await work.start();
    await box.sync();
    const flagged = (await work.list('alice', 'INBOX')).filter(({ flags }) => flags.includes('\\Flagged'));
    t.ok(flagged.length > 0, 'and paid');
    t.ok((await box.list()).some(({ messageId }) => messageId === '<meanwhile@test.example>'));
  });
});
