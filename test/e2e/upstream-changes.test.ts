import t, { type Test } from 'tap';
import type { Upstream } from '../../src/upstream/port.js';
import { isMergeboxError } from '../../src/util/errors.js';
import { type Dovecot, type DovecotOptions, startDovecot } from '../harness/dovecot.js';
import { eventually } from '../harness/net.js';
import { bodyOf, flagsIn, mail, refOf, upstreamAt } from './upstream-support.js';

const proof = { actions: [1], reason: 'test' };
const PLAIN = 'IMAP4rev1 LITERAL+ SASL-IR ENABLE IDLE SPECIAL-USE NAMESPACE';

async function setUp(t: Test, options: DovecotOptions = {}): Promise<{ server: Dovecot; upstream: Upstream }> {
  const server = await startDovecot(options);
  t.teardown(() => server.stop());
  const upstream = await upstreamAt(server);
  t.teardown(() => upstream.disconnect());
  return { server, upstream };
}

async function deliver(server: Dovecot, count: number, folder = 'INBOX'): Promise<void> {
  for (let n = 1; n <= count; n += 1) await server.deliver('alice', folder, mail(`mail ${n}`));
}

t.test('connect tells features, listFolders roles, prefix and decoded names', async (t) => {
  const { server, upstream } = await setUp(t, { separator: '.', prefix: 'INBOX.' });
  const features = await upstream.connect();
  t.match(features, { condstore: true, qresync: true, uidplus: true, move: true, idle: true, specialUse: true });
  t.match(features, { prefix: 'INBOX.', delimiter: '.' });
  await upstream.createFolder('INBOX.Entwürfe & mehr', null);
  await upstream.createFolder('INBOX.a.b', null);
  await upstream.subscribe('INBOX.a.b', true);
  const folders = new Map((await upstream.listFolders()).map((folder) => [folder.path, folder]));
  t.match(folders.get('INBOX'), { role: 'inbox', selectable: true, delimiter: '.' });
  for (const role of ['Drafts', 'Sent', 'Archive', 'Junk', 'Trash']) {
    t.equal(folders.get(`INBOX.${role}`)?.role, role.toLowerCase(), role);
  }
  t.match(folders.get('INBOX.Entwürfe & mehr'), { role: null, selectable: true, subscribed: false });
  t.match(folders.get('INBOX.a'), { selectable: false });
  t.match(folders.get('INBOX.a.b'), { subscribed: true });
  await upstream.renameFolder('INBOX.a.b', 'INBOX.Entwürfe & mehr.c');
  await upstream.subscribe('INBOX.a.b', false);
  const ref = await refOf(upstream, 'INBOX.Entwürfe & mehr.c');
  await server.deliver('alice', 'INBOX.Entw&APw-rfe &- mehr.c', mail('in the folder'));
  t.match((await bodyOf(upstream, ref, 1)).toString(), /in the folder/);
  await upstream.deleteFolder('INBOX.Entwürfe & mehr.c', proof);
  t.notOk((await upstream.listFolders()).some(({ path }) => path.endsWith('.c')));
  await t.rejects(
    upstream.read(ref.path, null, async () => 0),
    { code: 'nonexistent' },
  );
  await t.rejects(upstream.deleteFolder('INBOX.nowhere', proof), { code: 'nonexistent' });
  await t.rejects(upstream.createFolder('INBOX.Entwürfe & mehr', null), {
    code: 'refused',
    responseCode: 'ALREADYEXISTS',
  });
  await t.rejects(upstream.createFolder('INBOX.evil\r\nA1 LOGOUT', null), { code: 'nonexistent' });
});

t.test('roles by name and by configuration where the server tells none', async (t) => {
  const folders = {
    Gesendet: null,
    'Éléments envoyés': null,
    Papierkorb: null,
    Entwürfe: null,
    Ablage: null,
    Work: null,
  };
  const server = await startDovecot({ folders: { 'Work/Archive': null, ...folders }, capability: PLAIN });
  t.teardown(() => server.stop());
  const upstream = await upstreamAt(server, { folders: { archive: 'Ablage', sent: 'Work' } });
  t.teardown(() => upstream.disconnect());
  const roles = (await upstream.listFolders())
    .filter(({ role }) => role !== null)
    .map(({ path, role }) => [role, path]);
  t.strictSame(roles.sort(), [
    ['archive', 'Ablage'],
    ['drafts', 'Entwürfe'],
    ['inbox', 'INBOX'],
    ['sent', 'Work'],
    ['trash', 'Papierkorb'],
  ]);
});

t.test('storeFlags sets and clears, wants proof for \\Deleted, refuses a stale UIDVALIDITY', async (t) => {
  const { server, upstream } = await setUp(t);
  await deliver(server, 3);
  const ref = await refOf(upstream, 'INBOX');
  await upstream.storeFlags(ref, [1, 2, 77], { add: ['\\Seen', '$Forwarded', 'Work'], remove: ['\\Flagged'] });
  await upstream.storeFlags(ref, [2], { add: ['\\Flagged'], remove: ['\\Seen', 'work'] });
  t.strictSame(
    [...(await flagsIn(upstream, 'INBOX'))],
    [
      [1, '\\Seen $Forwarded Work'],
      [2, '\\Flagged $Forwarded'],
      [3, ''],
    ],
  );
  await t.rejects(upstream.storeFlags(ref, [1], { add: ['\\deleted'], remove: [] }), { code: 'noperm' });
  await upstream.storeFlags(ref, [3], { add: ['\\Deleted'], remove: [] }, proof);
  t.equal((await flagsIn(upstream, 'INBOX')).get(3), '\\Deleted');
  const stale = { ...ref, uidValidity: ref.uidValidity + 1 };
  await t.rejects(upstream.storeFlags(stale, [1], { add: ['\\Answered'], remove: [] }), { code: 'uidvalidity' });
  await t.rejects(upstream.expunge(stale, [1], proof), { code: 'uidvalidity' });
  await t.rejects(upstream.move(stale, [1], 'Trash', proof), { code: 'uidvalidity' });
  await t.rejects(upstream.fetchBody(stale, 1, { start: () => undefined, chunk: () => undefined }), {
    code: 'uidvalidity',
  });
  await t.rejects(upstream.storeFlags(ref, [1], { add: ['no good'], remove: [] }), { code: 'refused' });
  t.equal((await server.list('alice', 'INBOX')).length, 3);
  await upstream.read('INBOX', null, async (folder) => {
    t.ok(folder.flagsOffered?.includes('\\Seen'), 'PERMANENTFLAGS are known once a change was made');
  });
});

for (const [name, capability] of [
  ['with UIDPLUS and MOVE', undefined],
  ['without MOVE', `${PLAIN} UIDPLUS`],
  ['without UIDPLUS and MOVE', PLAIN],
] as const) {
  t.test(`copy, move and expunge touch nothing else, ${name}`, async (t) => {
    const { server, upstream } = await setUp(t, capability === undefined ? {} : { capability });
    const told = capability === undefined || capability.includes('UIDPLUS');
    await deliver(server, 6);
    const ref = await refOf(upstream, 'INBOX');
    const trash = await refOf(upstream, 'Trash');
    await upstream.storeFlags(ref, [6], { add: ['\\Deleted'], remove: [] }, proof);
    const copied = await upstream.copy(ref, [2, 1], 'Archive');
    if (told)
      t.strictSame(
        [...(copied?.uids ?? [])],
        [
          [1, 1],
          [2, 2],
        ],
      );
    else t.equal(copied?.uids.get(1), copied === null ? undefined : 1);
    const moved = await upstream.move(ref, [1, 3, 99], 'Trash', proof);
    if (told) {
      t.strictSame(
        [...(moved?.uids ?? [])],
        [
          [1, 1],
          [3, 2],
        ],
      );
      t.equal(moved?.uidValidity, trash.uidValidity);
    }
    await upstream.expunge(ref, [2], proof);
    const left = await server.list('alice', 'INBOX');
    t.strictSame(
      left.map(({ uid, flags }) => [uid, flags.join()]),
      [
        [4, ''],
        [5, ''],
        [6, '\\Deleted'],
      ],
    );
    const subjects = (await server.list('alice', 'Trash')).map(({ subject, flags }) => [subject, flags.join()]);
    t.strictSame(subjects.sort(), [
      ['mail 1', ''],
      ['mail 3', ''],
    ]);
    t.equal((await server.list('alice', 'Archive')).length, 2);
    await t.rejects(upstream.move(ref, [4], 'Nowhere', proof), { code: 'nonexistent' });
    t.equal((await server.list('alice', 'INBOX')).length, 3, 'a refused move keeps the source');
  });
}

t.test('append keeps all flags whatever folder is selected, and tells the UID', async (t) => {
  const { server, upstream } = await setUp(t);
  await deliver(server, 1);
  const inbox = await refOf(upstream, 'INBOX');
  await upstream.storeFlags(inbox, [1], { add: ['\\Seen'], remove: [] });
  const archive = await refOf(upstream, 'Archive');
  const bytes = Buffer.from(mail('appended'));
  const told = await upstream.append('Archive', { bytes, flags: '\\Flagged \\Seen $Label1', internalDate: 86_400 });
  t.strictSame(told, { uidValidity: archive.uidValidity, uid: 1 });
  t.strictSame(await bodyOf(upstream, archive, 1), bytes);
  await upstream.read('Archive', null, async (folder) => {
    await folder.messages([1], async ([message]) => {
      t.match(message, { flags: '\\Flagged \\Seen $Label1', internalDate: 86_400, size: bytes.length });
    });
  });
  t.match(await upstream.append('INBOX', { bytes, flags: '', internalDate: 0 }), { uid: 2 });
  await t.rejects(upstream.append('Nowhere', { bytes, flags: '', internalDate: 0 }), { code: 'nonexistent' });
  const large = Buffer.from(mail('large', 300_000));
  t.match(await upstream.append('Archive', { bytes: large, flags: '', internalDate: 1 }), { uid: 2 });
  t.ok((await bodyOf(upstream, archive, 2)).equals(large), 'a large body comes back as it went');
});

t.test('watch wakes on delivery, flags and expunge, also after work in another folder', async (t) => {
  const { server, upstream } = await setUp(t);
  await deliver(server, 2);
  let events = 0;
  const next = (what: string): Promise<boolean> => {
    const seen = events;
    return eventually(what, () => events > seen, { everyMs: 5, timeoutMs: 5_000 });
  };
  const stop = await upstream.watch(
    'INBOX',
    () => {
      events += 1;
    },
    (error) => t.fail(error.message),
  );
  const direct = await server.imap();
  t.teardown(() => direct.close());
  await direct.ok('SELECT INBOX');
  await new Promise((resolve) => setTimeout(resolve, 200));
  let waiting = next('delivery');
  await server.deliver('alice', 'INBOX', mail('news'));
  await waiting;
  waiting = next('a flag');
  await direct.ok('UID STORE 1 +FLAGS (\\Seen)');
  await waiting;
  waiting = next('an expunge');
  await direct.ok('UID STORE 2 +FLAGS.SILENT (\\Deleted)');
  await direct.ok('UID EXPUNGE 2');
  await waiting;
  // Work elsewhere: the watched folder is left, and something arrives in it meanwhile.
  const trash = await refOf(upstream, 'Trash');
  await server.deliver('alice', 'Trash', mail('rubbish'));
  await new Promise((resolve) => setTimeout(resolve, 50));
  waiting = next('an arrival while away');
  const work = upstream.storeFlags(trash, [1], { add: ['\\Seen'], remove: [] });
  await server.deliver('alice', 'INBOX', mail('meanwhile'));
  await work;
  await waiting;
  await new Promise((resolve) => setTimeout(resolve, 200));
  waiting = next('delivery after the return');
  await server.deliver('alice', 'INBOX', mail('later'));
  await waiting;
  stop();
  const seen = events;
  await server.deliver('alice', 'INBOX', mail('unheard'));
  await upstream.connect();
  t.equal(events, seen, 'silent once stopped');
});

t.test('a lost connection ends the watch once, and the next call connects again', async (t) => {
  const { server, upstream } = await setUp(t);
  await deliver(server, 1);
  const lost: Error[] = [];
  await upstream.watch(
    'INBOX',
    () => undefined,
    (error) => void lost.push(error),
  );
  await server.kill();
  await eventually('the loss to be told', () => lost.length > 0, { everyMs: 5 });
  await t.rejects(upstream.connect(), { code: 'connection' });
  await t.rejects(upstream.status(['INBOX']), { code: 'connection' });
  await server.start();
  t.equal((await upstream.connect()).idle, true);
  t.equal((await upstream.status(['INBOX'])).get('INBOX')?.exists, 1);
  t.equal(lost.length, 1);
  t.ok(isMergeboxError(lost[0], 'connection'));
});
