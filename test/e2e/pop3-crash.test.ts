import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { MaildirWriter } from '../../bench/mail/maildir.js';
import { Store } from '../../src/store/store.js';
import { openAccounts } from '../../src/store/accounts.js';
import { startDovecot } from '../harness/dovecot.js';
import { invariantFaults } from '../harness/invariants.js';
import { startMergebox } from '../harness/mergebox.js';
import { eventually } from '../harness/net.js';
import { bodyFingerprints } from '../harness/world.js';

const MAILS = 240;

function mail(number: number): string {
  const head = `From: ada@sender.example\nTo: alice@isp.example\nDate: Mon, 02 Sep 2024 10:00:00 +0000\nSubject: m${number}`;
  return `${head}\nMessage-ID: <m${number}@test.example>\n\n${`line ${number}\n.\n`.repeat(100 + (number % 50) * 20)}`;
}

const onTheWire = (text: string): string => createHash('sha256').update(text.replaceAll('\n', '\r\n')).digest('hex');

t.test('kill -9 during the download and during DELE: everything is there once, or gone', async (t) => {
  const isp = await startDovecot({ pop3: true });
  t.teardown(() => isp.stop());
  const writer = new MaildirWriter(isp.maildir('alice'));
  const all = Array.from({ length: MAILS }, (_, number) => mail(number));
  for (const [number, text] of all.entries()) writer.add(Buffer.from(text), 1_725_000_000 + number, []);
  await isp.adopt(isp.maildir('alice'));
  const account = { id: 'isp', server: isp, protocol: 'pop3', port: isp.pop3Port, pollSeconds: 3_600 };
  const box = await startMergebox({ users: [{ name: 'alice', password: 'correct horse', accounts: [account] }] });
  t.teardown(() => box.stop());
  const kept = join(box.dir, 'data', 'users', 'alice', 'pinned');
  const files = async (): Promise<string[]> => readdir(kept).catch(() => []);
  for (const some of [1, 60, 150]) {
    await eventually('some mails to be here', async () => (await files()).length >= some, { everyMs: 2 });
    await box.kill();
    await box.start();
  }
  await box.sync();
  const client = await box.imap();
  await client.ok('SELECT INBOX');
  const prints = await bodyFingerprints(client);
  t.same([...prints.values()].sort(), all.map(onTheWire).sort(), 'every mail once, byte for byte');
  t.equal((await files()).length, MAILS, 'and nothing else is kept');

  const doomed = [...prints.keys()].filter((_, index) => index % 2 === 0);
  const left = [...prints].filter(([uid]) => !doomed.includes(uid)).map(([, print]) => print);
  for (let from = 0; from < doomed.length; from += 40) {
    const set = doomed.slice(from, from + 40).join();
    const again = from === 0 ? client : await box.imap();
    await again.ok('SELECT INBOX');
    await again.ok(`UID STORE ${set} +FLAGS.SILENT (\\Deleted)`);
    await again.ok(`UID EXPUNGE ${set}`);
    await new Promise((resolve) => setTimeout(resolve, from / 4));
    await box.kill();
    await box.start();
  }
  await box.sync();
  t.equal((await isp.list('alice', 'INBOX')).length, left.length, 'as many are deleted as were to be');
  const last = await box.imap();
  t.teardown(() => last.close());
  await last.ok('SELECT INBOX');
  t.same([...(await bodyFingerprints(last)).values()].sort(), [...left].sort(), 'and these');
  const before = await box.list();
  await box.sync();
  t.same(await box.list(), before);
  await box.terminate();
  t.same(await faults(join(box.dir, 'data', 'users', 'alice')), []);
});

async function faults(dir: string): Promise<string[]> {
  const store = await Store.open(dir);
  try {
    const policy = { authority: 'both', onUpstreamDelete: 'trash', addresses: [], folders: {} } as const;
    const book = await openAccounts(store, [{ name: 'isp', ...policy, isDefault: true, local: true }]);
    return await invariantFaults(store, { book, pinned: new Set(await readdir(join(dir, 'pinned'))) });
  } finally {
    await store.close();
  }
}
