import t from 'tap';
import { bodyFingerprints, fingerprints, held, startWorld } from '../harness/world.js';
import { eventually } from '../harness/net.js';
import type { Mergebox } from '../harness/mergebox.js';

interface Status {
  readonly accounts: readonly {
    readonly account: string;
    readonly offline?: { readonly policy: string; readonly wanted: number; readonly kept: number };
  }[];
}

async function offlineOf(box: Mergebox): Promise<Status['accounts']> {
  return ((await box.status()).body as Status).accounts;
}

t.test('bodies that were fetched ahead are read while both servers are down, after a restart too', async (t) => {
  const { work, home, box, mails } = await startWorld(t, {
    mails: 30,
    common: 6,
    account: { bodies: 'all' },
    overrides: { limits: { memoryCacheBytes: 0, diskCacheBytes: 0 } },
  });
  await eventually(
    'all bodies',
    async () => (await offlineOf(box)).every(({ offline }) => offline!.wanted > 0 && offline!.kept === offline!.wanted),
    { everyMs: 200 },
  );
  t.same(
    (await offlineOf(box)).map(({ offline }) => offline!.wanted),
    [held(mails, 0).length, held(mails, 1).length],
  );
  const text = (await box.command(['status'])).stdout;
  t.match(text, new RegExp(`offline: ${held(mails, 0).length} of ${held(mails, 0).length} mails are here \\(all; `));
  await work.kill();
  await home.kill();
  await box.restart();
  const client = await box.imap();
  t.teardown(() => client.close());
  await client.ok('SELECT INBOX');
  const served = new Set((await bodyFingerprints(client)).values());
  t.equal(served.size, mails.length);
  for (const mail of mails)
    t.ok(
      fingerprints(mail).some((print) => served.has(print)),
      'byte for byte',
    );
});

t.test('window, patterns and on-demand bodies with a real server', async (t) => {
  const { work, box } = await startWorld(t, { mails: 0, common: 0, start: false });
  const day = (ago: number): Date => new Date(Date.now() - ago * 86_400_000);
  const letter = (subject: string): string =>
    `From: a@x.example\r\nTo: b@x.example\r\nSubject: ${subject}\r\nDate: Mon, 02 Sep 2024 10:00:00 +0000\r\nMessage-ID: <${subject}@x.example>\r\n\r\nbody\r\n`;
  const direct = await work.imap('alice');
  for (const folder of ['Lists', 'Lists/Cooking', 'Projects']) await direct.ok(`CREATE ${folder}`);
  direct.close();
  for (const [subject, ago] of [
    ['middle', 20],
    ['ancient', 900],
    ['fresh', 1],
    ['older', 40],
  ] as const)
    await work.deliver('alice', 'INBOX', letter(subject), [], day(ago));
  await work.deliver('alice', 'Lists/Cooking', letter('recipe'), [], day(1));
  await work.deliver('alice', 'Projects', letter('plan'), [], day(1));
  const config = await box.readConfig();
  const [user] = config['users'] as { accounts: Record<string, unknown>[] }[];
  Object.assign(user!.accounts[0]!, { since: '30d', exclude: ['Lists'] });
  user!.accounts.splice(1);
  await box.writeConfig(config);
  await box.start();
  await box.sync();
  const bodies = async (): Promise<string[]> => (await work.list('alice', 'INBOX')).map(({ messageId }) => messageId!);
  const before = await bodies();
  const shown = async (name: string): Promise<string[]> =>
    (await box.list(name)).map(({ messageId }) => /<(\S+)@/.exec(messageId!)![1]!).sort();
  t.same(await shown('INBOX'), ['fresh', 'middle']);
  t.same(await shown('Accounts/work/Projects'), ['plan']);
  const client = await box.imap();
  const names = (await client.ok('LIST "" "Accounts/work/*"')).untagged.join('\n');
  t.match(names, 'Projects');
  t.notMatch(names, 'Lists');
  client.close();
  // The window grows and shrinks with the configuration; the server has what it had.
  for (const [change, expected] of [
    [{ since: '100d' }, ['fresh', 'middle', 'older']],
    [{ since: undefined, maxMessages: 2 }, ['fresh', 'older']],
    [{ since: undefined, maxMessages: undefined }, ['ancient', 'fresh', 'middle', 'older']],
  ] as const) {
    Object.assign(user!.accounts[0]!, change);
    await box.writeConfig(config);
    await box.restart();
    await box.sync();
    t.same(await shown('INBOX'), expected, JSON.stringify(change));
  }
  t.same(await bodies(), before);
});
