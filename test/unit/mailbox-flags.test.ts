import t from 'tap';
import { MAX_FLAG_TEXT } from '../../src/mail/flags.js';
import { FakeServer, FULL, mail } from './support/fake-server.js';
import { openWorld } from './support/mail-world.js';

/** Keywords of `octets` as a canonical text. */
const keywords = (octets: number): string[] => [`a${'x'.repeat(99)}`, `b${'y'.repeat(octets - 102)}`];

t.test('STORE and APPEND take flags up to the limit, and none over it', async (t) => {
  const work = new FakeServer(FULL);
  work.create('INBOX', 'inbox').add(mail('one'));
  const world = await openWorld(t, { work });
  await world.settle();
  const uid = await world.uid('INBOX', 'one');
  const store = (mode: 'add' | 'remove', flags: readonly string[]): Promise<unknown> =>
    world.in('INBOX', (mailbox) => mailbox.store([uid], mode, flags));
  await store('add', keywords(MAX_FLAG_TEXT));
  await t.rejects(store('add', ['c']), { code: 'limit' });
  await store('remove', keywords(MAX_FLAG_TEXT).slice(0, 1));
  await store('add', ['c']);
  const append = (flags: readonly string[]): Promise<unknown> =>
    world.mail.append('INBOX', [{ bytes: mail('two'), flags }]);
  await t.rejects(append(keywords(MAX_FLAG_TEXT + 1)), { code: 'limit' });
  await append(keywords(MAX_FLAG_TEXT));
  await world.settle();
});

t.test('a change of more entries than a page of the feed reaches an open listing whole', async (t) => {
  const work = new FakeServer(FULL);
  const inbox = work.create('INBOX', 'inbox');
  const count = 5_001;
  for (let n = 0; n < count; n += 1) inbox.add(mail(`m${n}`));
  const world = await openWorld(t, { work });
  await world.settle(60_000);
  await world.in('INBOX', async (mailbox) => {
    const { listing } = mailbox;
    await mailbox.store([...listing.uids.subarray(0, listing.length)], 'add', ['\\Flagged']);
    const flagged = Array.from({ length: listing.length }, (_, at) => listing.flags(at)).filter((text) =>
      text.includes('\\Flagged'),
    );
    t.equal(flagged.length, count);
  });
});
