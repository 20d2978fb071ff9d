import { chmod, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { mailText } from '../faults/mails.js';
import { dataOf, type Scene, Stage, userDir } from '../faults/stage.js';
import { look, lookAtDisk } from '../faults/state.js';
import { eventually } from '../harness/net.js';
import { limitFileSize, SmallDisk } from '../harness/small-disk.js';
import { uidOf } from '../harness/world.js';

t.setTimeout(600_000);

/** How the disk is made to take nothing more, and to take it again. */
interface Means {
  readonly how: string;
  readonly code: RegExp;
  readonly full: (scene: Scene) => Promise<void>;
  readonly free: (scene: Scene) => Promise<void>;
}

const LIMITED: Means = {
  how: 'RLIMIT_FSIZE',
  code: /^\[(OVERQUOTA|UNAVAILABLE)\]/,
  full: ({ box }) => limitFileSize(box.pid, 1_024),
  free: ({ box }) => limitFileSize(box.pid, null),
};

/** While nothing can be written: changes are refused with a reason, mail is readable. */
async function whileFull(t: Test, scene: Scene, { code, full, free, how }: Means): Promise<void> {
  const { box, work, login } = scene;
  const client = await box.imap();
  await client.ok('SELECT INBOX');
  const uid = await uidOf(client, '<both1@test.example>');
  await full(scene);

  const refused = await client.command('APPEND INBOX {}', mailText({ id: 'appended' }, 'client'));
  t.match([refused.status, refused.text], ['NO', code], how);
  t.match(refused.text, /disk|space|too large|data directory/i, 'and why');
  for (const command of [
    `UID STORE ${uid} +FLAGS (\\Flagged)`,
    `UID MOVE ${uid} Archive`,
    `UID COPY ${uid} Archive`,
    'CREATE Accounts/work/New',
  ]) {
    const { status, text } = await client.command(command);
    t.match([status, text], ['NO', code], command);
  }
  const reader = await box.imap();
  t.ok((await reader.ok('SELECT INBOX')).untagged.includes('10 EXISTS'), 'INBOX opens');
  const { untagged } = await reader.ok('UID FETCH 1:* (FLAGS BODY[])');
  t.equal(untagged.filter((line) => /\{\d+\}/.test(line)).length, 10, 'mail that nobody had read is read');
  await reader.ok('SELECT Archive');
  t.match((await reader.ok('FETCH 1 (BODY.PEEK[])')).untagged[0], /large 2419 \.{9}/, 'a large one too');
  reader.close();

  await work.deliver(login, 'INBOX', mailText({ id: 'meanwhile' }, 'work'));
  t.equal((await box.command(['sync', '--wait', '--timeout', '5'])).code, 1, 'nothing new is taken, and sync says so');
  t.match(JSON.stringify((await box.status()).body), /disk|data directory/, 'and status why');

  await free(scene);
  await client.ok(`UID STORE ${uid} +FLAGS (\\Flagged)`);
  await client.ok('APPEND INBOX {}', mailText({ id: 'appended' }, 'client'));
  client.close();
  await box.sync();
  const { client: seen, servers } = await look(scene);
  for (const id of ['appended', 'meanwhile']) {
    t.equal(seen.filter((line) => line.startsWith('INBOX UID') && line.includes(`"about ${id}"`)).length, 1, id);
    t.equal(servers.filter((line) => line.includes(`"about ${id}"`)).length, 1, id);
  }
  t.equal(servers.filter((line) => line.includes('"about both1"') && line.includes('\\Flagged')).length, 2);
  await box.terminate();
  t.same((await lookAtDisk(scene)).faults, [], 'nothing is damaged, nothing is left behind');
}

async function withDisk(
  t: Test,
  stage: Stage,
  use: (scene: Scene, disk: SmallDisk | null) => Promise<void>,
): Promise<void> {
  let disk: SmallDisk | null = null;
  const scene = await stage.scene(false, async (dir) => {
    disk = await SmallDisk.mount(dir, 24);
  });
  const mounted = disk as SmallDisk | null;
  t.teardown(async () => {
    await scene.box.kill();
    await mounted?.unmount();
    await stage.strike(scene);
  });
  await use(scene, mounted);
}

t.test(
  'a full disk: changes are refused with a reason, mail is readable, and all goes on when there is room',
  async (t) => {
    const stage = await Stage.open((stop) => t.teardown(stop));
    await t.test('a limit on the size of files', async (t) => {
      const scene = await stage.scene();
      t.teardown(() => stage.strike(scene));
      await scene.box.start();
      await scene.box.sync();
      await whileFull(t, scene, LIMITED);
    });
    await t.test('a file system without room', (t) =>
      withDisk(t, stage, async (scene, disk) => {
        await scene.box.start();
        await scene.box.sync();
        const filled: Means | null = disk && {
          how: 'tmpfs',
          code: /^\[OVERQUOTA\]/,
          full: () => disk.fill(),
          free: () => disk.empty(),
        };
        await whileFull(t, scene, filled ?? LIMITED);
      }),
    );
    await t.test('a start without room', (t) =>
      withDisk(t, stage, async (scene, disk) => {
        const { box } = scene;
        if (disk === null) {
          t.comment('nothing may be mounted here: a directory that cannot be written to stands in for it');
          await chmod(userDir(box), 0o500);
        } else await disk.fill();
        const ended = await box.start().then(
          () => 'started',
          (error: Error) => error.message,
        );
        // Root writes where it may not.
        if (disk !== null || process.getuid?.() !== 0)
          t.match(ended, /serve ended \(1\)[\s\S]*(disk is full|permission denied)/);
        await chmod(userDir(box), 0o700);
        await disk?.empty();
        if (!box.running) await box.start();
        await box.sync();
        t.equal((await box.list()).length, 10);
        // In the middle of its work, and no room for what a start writes.
        await disk?.fill();
        await box.kill();
        await disk?.empty();
        await box.start();
        await box.sync();
        t.equal((await box.list()).length, 10);
        await box.terminate();
        t.same((await lookAtDisk(scene)).faults, []);
      }),
    );
  },
);

t.test('a read-only data directory: serve ends with a reason and works again when it is writable', async (t) => {
  const stage = await Stage.open((stop) => t.teardown(stop));
  await withDisk(t, stage, async (scene, disk) => {
    const { box } = scene;
    // Where nothing may be mounted, its rights are taken; that stops nobody who is root.
    const readOnly = async (yes: boolean): Promise<void> =>
      disk === null ? chmod(dataOf(box), yes ? 0o500 : 0o700) : disk.readOnly(yes);
    await readOnly(true);
    const ended = await box.start().then(
      () => 'started',
      (error: Error) => error.message,
    );
    if (disk !== null || process.getuid?.() !== 0)
      t.match(ended, /serve ended \(1\)[\s\S]*(read-only|permission denied)/i);
    await readOnly(false);
    if (!box.running) await box.start();
    await box.sync();
    t.equal((await box.list()).length, 10);
    await box.kill();
    await readOnly(true);
    await box.start().catch(() => undefined);
    await readOnly(false);
    if (!box.running) await box.start();
    await box.sync();
    await box.terminate();
    t.same((await lookAtDisk(scene)).faults, [], 'a start that failed has damaged nothing');
  });
});

t.test('the write-ahead log stays small, whatever is written beside readers', async (t) => {
  const stage = await Stage.open((stop) => t.teardown(stop));
  const scene = await stage.scene();
  t.teardown(() => stage.strike(scene));
  const { box } = scene;
  await box.start();
  await box.sync();
  const readers = await Promise.all([box.imap(), box.imap()]);
  for (const reader of readers) await reader.ok('SELECT INBOX');
  const writer = await box.imap();
  await writer.ok('SELECT INBOX');
  let highest = 0;
  for (let n = 0; n < 300; n += 1) {
    await Promise.all([
      writer.ok(`UID STORE 1:* ${n % 2 === 0 ? '+' : '-'}FLAGS ($Round${n % 7})`),
      ...readers.map((reader) => reader.ok('UID FETCH 1:* (FLAGS ENVELOPE)')),
    ]);
    highest = Math.max(highest, (await stat(join(userDir(box), 'mergebox.db-wal'))).size);
  }
  t.ok(highest < 16 << 20, `${highest} octets`);
  for (const each of [...readers, writer]) each.close();
  await eventually('all to be told upstream', async () => (await box.status()).code === 0);
  await box.terminate();
  t.notOk((await readdir(userDir(box))).includes('mergebox.db-wal'), 'and is gone after an orderly end');
});
