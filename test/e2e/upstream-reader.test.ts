import t from 'tap';
import { startDovecot } from '../harness/dovecot.js';
import { allMessages, bodyOf, mail, upstreamAt } from './upstream-support.js';

t.test('read gives state, UIDs, flags and raw metadata', async (t) => {
  const server = await startDovecot();
  t.teardown(() => server.stop());
  const upstream = await upstreamAt(server);
  t.teardown(() => upstream.disconnect());
  for (let n = 1; n <= 5; n += 1) {
    await server.deliver(
      'alice',
      'INBOX',
      mail(`mail ${n}`),
      n % 2 ? ['\\Seen', 'work'] : [],
      new Date(n * 86_400_000),
    );
  }
  await upstream.read('INBOX', null, async (folder) => {
    t.equal(folder.state.exists, 5);
    t.equal(folder.state.uidNext, 6);
    t.match(folder.state.highestModSeq, /^\d+$/);
    t.strictSame([...(await folder.uids())], [1, 2, 3, 4, 5]);
    t.strictSame(
      (await folder.flags(null)).map(({ uid, flags }) => [uid, flags]),
      [
        [1, '\\Seen work'],
        [2, ''],
        [3, '\\Seen work'],
        [4, ''],
        [5, '\\Seen work'],
      ],
    );
    const messages = await allMessages(folder);
    t.equal(messages.length, 5);
    const third = messages[2]!;
    t.equal(third.uid, 3);
    t.equal(third.internalDate, 3 * 86_400);
    t.equal(third.size, mail('mail 3').length);
    t.match(third.envelope?.toString(), /^\("Tue, 05 May 2020 10:00:00 \+0200" "mail 3" \(\("Ann Example" NIL "ann"/);
    t.match(
      third.structure?.toString(),
      /^\("text" "plain" \("charset" "utf-8"\) NIL NIL "7bit" \d+ 3 NIL NIL NIL NIL\)$/,
    );
    t.equal(third.header.toString(), `${mail('mail 3').split('\r\n\r\n')[0]}\r\n\r\n`);
    const reversed: number[] = [];
    await folder.messages([5, 3, 99, 1], async (page) => void reversed.push(...page.map(({ uid }) => uid)));
    t.strictSame(reversed, [5, 3, 1], 'the order asked for, absent ones left out');
    const ref = { path: 'INBOX', uidValidity: folder.state.uidValidity };
    t.equal((await bodyOf(upstream, ref, 4)).toString(), mail('mail 4'));
  });
});
