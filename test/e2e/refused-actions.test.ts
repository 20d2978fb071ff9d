import { readFile } from 'node:fs/promises';
import t from 'tap';
import { startDovecot } from '../harness/dovecot.js';
import { startMergebox } from '../harness/mergebox.js';
import { eventually } from '../harness/net.js';
import { PASSWORD, uidOf } from '../harness/world.js';

const QUOTA = [
  'mail_plugins = $mail_plugins quota',
  'protocol imap {\n  mail_plugins = $mail_plugins imap_quota\n}',
  'plugin {\n  quota = maildir:User quota\n  quota_rule = *:messages=2\n}',
].join('\n');

interface Refused {
  readonly id: number;
  readonly kind: string;
  readonly error: string;
  readonly reason: string;
  readonly onlyCopy: boolean;
  readonly retry: string;
}

const letter = (name: string): string =>
  `From: alice@work.example\nSubject: ${name}\nMessage-ID: <${name}@test.example>\n\n${name} in full\n`;

t.test(
  'a full mailbox: the upload waits visibly, is retried and dropped by command, and nothing is lost',
  async (t) => {
    const work = await startDovecot({ tls: 'none', extra: QUOTA });
    t.teardown(() => work.stop());
    for (const name of ['one', 'two']) await work.deliver('alice', 'INBOX', letter(name));
    const box = await startMergebox({
      users: [{ name: 'alice', password: PASSWORD, accounts: [{ id: 'work', server: work, pollSeconds: 1 }] }],
    });
    t.teardown(() => box.stop());
    await box.sync();

    const refused = async (): Promise<Refused[]> => {
      const { body } = await box.status();
      return (body as { accounts: { refused: Refused[] }[] }).accounts.flatMap((account) => account.refused);
    };
    const append = async (name: string): Promise<Refused> => {
      await box.append('INBOX', letter(name), ['\\Seen']);
      return eventually('the refusal', async () => (await refused())[0]);
    };

    const parked = await append('three');
    t.match(parked, {
      kind: 'append',
      error: /OVERQUOTA/,
      onlyCopy: true,
      reason: /client: APPEND to INBOX by alice, session/,
    });
    t.ok(
      (await box.list()).some(({ subject }) => subject === 'three'),
      'the client that was told OK still sees it',
    );
    t.equal((await box.status()).code, 1);
    const { stdout } = await box.command(['status']);
    t.match(stdout, /refused \d+: append to "INBOX"[\s\S]*OVERQUOTA[\s\S]*mergebox retry work \d+ --user alice/);
    t.match(await box.command(['sync', '--wait', '--timeout', '20']), { code: 1, stdout: /1 actions were refused/ });

    const direct = await work.imap();
    t.teardown(() => direct.close());
    await direct.ok('SELECT INBOX');
    await direct.ok(`UID STORE ${await uidOf(direct, '<one@test.example>')} +FLAGS (\\Deleted)`);
    await direct.ok('EXPUNGE');
    const args = parked.retry.split(' ').slice(1);
    t.match(await box.command(args), { code: 0, stdout: 'alice/work: trying again\n' });
    await box.sync();
    const subjects = async (): Promise<(string | null)[]> =>
      (await work.list('alice', 'INBOX')).map(({ subject }) => subject).sort();
    t.same(await subjects(), ['three', 'two']);

    const second = await append('four');
    t.match(await box.command(['drop', 'work', '999']), { code: 1, stderr: /no refused action 999/ });
    t.match(await box.command(['drop', 'work']), { code: 2, stderr: /which action/ });
    const dropped = await box.command(['drop', 'work', String(second.id)]);
    t.equal(dropped.code, 0);
    const file = / is now in (\S+)\n$/.exec(dropped.stdout)?.[1] ?? '';
    t.equal((await readFile(file)).toString(), letter('four').replace(/\n/g, '\r\n'), 'the bytes were saved first');
    await box.sync();
    t.notOk((await box.list()).some(({ subject }) => subject === 'four'));
    t.equal((await box.status()).code, 0);
    t.same(await subjects(), ['three', 'two']);
    await direct.logout();
  },
);
