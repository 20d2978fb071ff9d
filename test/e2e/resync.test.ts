import t from 'tap';
import { startWorld } from '../harness/world.js';

const number = (lines: readonly string[], name: string): string => {
  const found = lines
    .map((line) => new RegExp(`\\[${name} (\\d+)\\]`).exec(line)?.[1])
    .find((each) => each !== undefined);
  if (found === undefined) throw new Error(`no ${name} in ${lines.join('; ')}`);
  return found;
};

t.test('QRESYNC tells exactly what vanished and changed, also after a restart', async (t) => {
  const { box } = await startWorld(t, { mails: 20, common: 5 });
  const before = await box.imap();
  const { untagged } = await before.ok('SELECT INBOX');
  const [validity, modSeq] = [number(untagged, 'UIDVALIDITY'), number(untagged, 'HIGHESTMODSEQ')];
  const other = await box.imap();
  await other.ok('SELECT INBOX');
  await other.ok('UID STORE 3,5:6 +FLAGS.SILENT (\\Deleted)');
  await other.ok('UID EXPUNGE 3,5:6');
  await other.ok('UID STORE 9 +FLAGS.SILENT ($Forwarded)');
  await other.logout();
  await before.logout();
  await box.sync();
  await box.kill();
  await box.start();

  const after = await box.imap();
  await after.ok('ENABLE QRESYNC');
  const resumed = (await after.ok(`SELECT INBOX (QRESYNC (${validity} ${modSeq}))`)).untagged;
  t.equal(number(resumed, 'UIDVALIDITY'), validity);
  t.ok(resumed.includes('VANISHED (EARLIER) 3,5:6'), resumed.join('; '));
  const changed = resumed.filter((line) => / FETCH /.test(line));
  t.equal(changed.length, 1, 'one mail changed');
  t.match(changed[0], /UID 9 /);
  t.match(changed[0], /\$Forwarded/);
  const now = number(resumed, 'HIGHESTMODSEQ');
  await after.ok('UNSELECT');
  const quiet = (await after.ok(`SELECT INBOX (QRESYNC (${validity} ${now}))`)).untagged;
  t.notOk(
    quiet.some((line) => /VANISHED|FETCH/.test(line)),
    'nothing since',
  );
  await after.logout();
});
