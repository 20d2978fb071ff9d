import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { literalOf } from '../harness/imap-helpers.js';
import { startWorld } from '../harness/world.js';

/** A mail of eight megabytes whose text is short. */
function large(subject: string): string {
  const attachment = `${'QUJD'.repeat(19)}\r\n`.repeat(110_000);
  return [
    'From: a@x.example',
    'To: b@x.example',
    `Subject: ${subject}`,
    'Date: Mon, 02 Sep 2024 10:00:00 +0000',
    `Message-ID: <${subject}@x.example>`,
    'MIME-Version: 1.0',
    'Content-Type: multipart/mixed; boundary=b',
    '',
    '--b',
    'Content-Type: text/plain',
    '',
    `The text of ${subject}.`,
    '--b',
    'Content-Type: application/octet-stream',
    'Content-Transfer-Encoding: base64',
    '',
    `${attachment}--b--`,
    '',
  ].join('\r\n');
}

t.test('a part of a large mail comes without the rest, and the same octets as with it', async (t) => {
  const { work, box } = await startWorld(t, { mails: 0, common: 0 });
  await work.deliver('alice', 'INBOX', large('one'));
  await box.sync();
  const client = await box.imap();
  t.teardown(() => client.close());
  await client.ok('SELECT INBOX');
  const cached = async (): Promise<number> => {
    const dir = join(box.dir, 'data/users/alice/cache');
    const files = await readdir(dir, { recursive: true, withFileTypes: true });
    const sizes = files
      .filter((each) => each.isFile())
      .map(async (each) => (await stat(join(each.path, each.name))).size);
    return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
  };
  const asked = [
    'BODY.PEEK[1]',
    'BODY.PEEK[2]<100.50>',
    'BODY.PEEK[]<0.60>',
    'BODY.PEEK[2.MIME]',
    'BODY.PEEK[1]<5.3>',
    'BODY.PEEK[]<9999999.10>',
  ];
  const parts: string[] = [];
  for (const item of asked) {
    const { untagged } = await client.ok(`FETCH 1 (${item})`);
    parts.push(untagged.join('').replace(/^\d+ FETCH /, ''));
  }
  t.match(parts[0], 'The text of one.');
  t.equal(await cached(), 0, 'the mail was not fetched');
  const { untagged } = await client.ok('FETCH 1 (BODY.PEEK[])');
  t.equal(literalOf(untagged.join('')).length, large('one').length);
  t.ok((await cached()) > large('one').length, 'now it was');
  for (const [index, item] of asked.entries()) {
    const whole = (await client.ok(`FETCH 1 (${item})`)).untagged.join('').replace(/^\d+ FETCH /, '');
    t.equal(whole, parts[index], item);
  }
  await work.deliver('alice', 'INBOX', large('two'));
  await box.sync();
  await client.ok('NOOP');
  t.match((await client.ok('FETCH 2 (BODY.PEEK[7])')).untagged.join(''), /BODY\[7\] NIL/);
});
