import { randomBytes } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { mailText } from '../faults/mails.js';
import { REBUILD_POINTS } from '../faults/points.js';
import { type Scene, Stage, userDir } from '../faults/stage.js';
import { look, lookAtDisk } from '../faults/state.js';
import { appendMessage } from '../harness/imap-helpers.js';

t.setTimeout(600_000);

const APPENDED = mailText({ id: 'appended' }, 'client');

/** A mail that was acknowledged and that no server has: the daemon is killed before it is uploaded. */
async function appendAndDie({ box }: Scene): Promise<void> {
  await box.start({ MERGEBOX_FAULT: 'append.attempted' });
  const client = await box.imap();
  const ended = box.ended();
  await appendMessage(client, 'INBOX', APPENDED, ['\\Seen']).catch(() => 0);
  client.close();
  await ended;
}

async function overwriteHeader(box: Scene['box']): Promise<void> {
  const file = join(userDir(box), 'mergebox.db');
  const bytes = await readFile(file);
  randomBytes(4_096).copy(bytes);
  await writeFile(file, bytes);
  // What the log has of that page would repair it.
  await writeFile(`${file}-wal`, '');
}

/** Everything is there again, the appended mail exactly once, and no server lost anything. */
async function requireWhole(t: Test, scene: Scene, before: readonly string[]): Promise<void> {
  await scene.box.sync();
  const { client, servers } = await look(scene);
  t.same(
    before.filter((line) => !servers.includes(line)),
    [],
    'no server lost anything',
  );
  t.equal(servers.filter((line) => line.includes('"about appended"')).length, 1, 'uploaded once');
  t.equal(client.filter((line) => line.startsWith('INBOX UID') && line.includes('"about appended"')).length, 1);
  t.equal(client.filter((line) => line.startsWith('INBOX UID')).length, 11, 'as many mails as before, and that one');
  await scene.box.terminate();
  const { faults } = await lookAtDisk(scene);
  t.same(
    faults.filter((fault) => !/^(broken-\S+|rescued): left behind$/.test(fault)),
    [],
  );
  t.same(await readdir(join(userDir(scene.box), 'rescued')).catch(() => []), [], 'nothing waits to be put back');
}

t.test('a damaged database: serve says what to do, rebuild does it, whenever it is killed', async (t) => {
  const stage = await Stage.open((stop) => t.teardown(stop));
  for (const point of [null, ...REBUILD_POINTS]) {
    await t.test(point === null ? 'not killed' : `killed at ${point}`, async (t) => {
      const scene = await stage.scene();
      t.teardown(() => stage.strike(scene));
      const { box } = scene;
      await appendAndDie(scene);
      const before = (await look({ ...scene, box: null })).servers;
      await overwriteHeader(box);

      await t.rejects(box.start(), /serve ended \(1\)[\s\S]*is damaged \([\s\S]*\\?"mergebox rebuild\\?"/);
      t.equal((await box.command(['sync', '--wait'])).code, 1);

      const env = point === null ? {} : { MERGEBOX_FAULT: point };
      const first = await box.command(['rebuild', 'alice'], { env });
      if (point?.startsWith('rebuild.')) {
        t.equal(first.code, null, 'killed');
        t.equal((await box.command(['rebuild', 'alice'])).code, 0);
      } else t.equal(first.code, 0, first.stderr);
      if (point?.startsWith('rescue.')) {
        await box.start(env).catch(() => undefined);
        await box.ended();
      }
      await box.start();
      await requireWhole(t, scene, before);
      const aside = (await readdir(userDir(box))).filter((name) => name.startsWith('broken-'));
      t.ok(aside.length > 0, 'the damaged one is kept');
    });
  }

  await t.test('rebuild leaves a database alone that is not damaged, and one that is in use', async (t) => {
    const scene = await stage.scene();
    t.teardown(() => stage.strike(scene));
    const { box } = scene;
    const idle = await box.command(['rebuild']);
    t.match([idle.code, idle.stdout], [0, /not damaged; nothing was done/]);
    await box.start();
    const busy = await box.command(['rebuild', 'alice']);
    t.match([busy.code, busy.stderr], [1, /in use/]);
    t.match(await box.command(['rebuild', 'nobody']), { code: 2, stderr: /no user "nobody"/ });
    const client = await box.imap();
    const before = (await client.ok('SELECT INBOX')).untagged.filter((line) => /UIDVALIDITY/.test(line));
    client.close();
    await box.terminate();
    const forced = await box.command(['rebuild', '--force', 'alice']);
    t.match([forced.code, forced.stdout], [0, /13 mails keep their UIDs/]);
    await box.start();
    await box.sync();
    const again = await box.imap();
    t.same(
      (await again.ok('SELECT INBOX')).untagged.filter((line) => /UIDVALIDITY/.test(line)),
      before,
    );
    again.close();
  });
});

t.test('a damaged database of one user: the others are served, and it is rebuilt while they are', async (t) => {
  const stage = await Stage.open((stop) => t.teardown(stop), ['alice', 'bob']);
  const scene = await stage.scene();
  t.teardown(() => stage.strike(scene));
  const { box } = scene;
  await box.start();
  await box.sync();
  await box.kill();
  await overwriteHeader(box);
  await box.start();
  const bob = await box.imap('bob');
  t.ok((await bob.ok('SELECT INBOX')).untagged.includes('10 EXISTS'));
  await t.rejects(box.imap('alice'), /NO \[CONTACTADMIN\].*damaged/);
  const status = await box.status();
  t.equal(status.code, 1);
  t.match(JSON.stringify(status.body), /"user":"alice","account":"work","state":"failed: damaged database"/);
  t.match(await box.command(['sync', '--wait']), { code: 1, stdout: /alice\/\*: .*damaged/ });
  t.equal((await box.command(['sync', '--wait', '--user', 'bob'])).code, 0);

  const { code, stdout } = await box.command(['rebuild', 'alice']);
  t.equal(code, 0);
  t.match(stdout, /alice: the old database is kept in .*broken-/);
  await box.sync();
  t.equal((await box.list('INBOX', 'alice')).length, 10);
  t.equal((await box.status()).code, 0);
  t.match((await bob.ok('NOOP')).status, 'OK', 'nobody else noticed');
  bob.close();
});
