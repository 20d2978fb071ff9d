import t from 'tap';
import { groupsOf } from '../../src/store/groups.js';
import { mailboxNamed } from '../../src/store/mailboxes.js';
import type { ReadTx, WriteTx } from '../../src/store/store.js';
import { transferGroups } from '../../src/store/transfer.js';
import { FakeServer, mail } from './support/fake-server.js';
import { type MailWorld, openWorld } from './support/mail-world.js';

const UNDONE = new Error('undone');

/** What a transaction would make of all tables that mail is in; nothing of it stays. */
async function outcome(world: MailWorld, change: (tx: WriteTx) => Promise<unknown>): Promise<unknown> {
  let seen: unknown = null;
  const undone = world.store.write(async (tx) => {
    const answer = await change(tx);
    seen = { answer, tables: await tables(tx) };
    throw UNDONE;
  });
  const why: unknown = await undone.catch((error: unknown) => error);
  if (why !== UNDONE) throw why;
  return seen;
}

async function tables(tx: ReadTx): Promise<unknown> {
  const found: Record<string, unknown> = {};
  for (const [table, order] of [
    ['entry', 'id'],
    ['copy', 'id'],
    ['action', 'id'],
    ['message', 'id'],
    ['mailbox', 'id'],
    ['expunged', 'mailbox_id, mod_seq, uid'],
  ]) {
    const rows = await tx.all<Record<string, unknown>>(`SELECT * FROM ${table} ORDER BY ${order}`);
    // The clock goes on between two runs.
    found[table!] = rows.map(({ created: _, saved: __, ...row }) => row);
  }
  return found;
}

t.test('transferGroups: many at once become what one after the other becomes', async (t) => {
  const [a, b] = [new FakeServer(), new FakeServer()];
  for (const server of [a, b]) {
    for (const [path, role] of [
      ['INBOX', 'inbox'],
      ['Archive', 'archive'],
      ['Trash', 'trash'],
      ['Projects', null],
    ] as const) {
      if (role === null) server.create(path);
      else server.create(path, role);
    }
    for (let n = 0; n < 8; n += 1) server.folder('INBOX').add(mail(`common ${n}`));
  }
  for (let n = 0; n < 8; n += 1) a.folder('INBOX').add(mail(`only a ${n}`));
  const world = await openWorld(t, { a, b });
  await world.settle();
  for (const source of ['INBOX', 'Accounts/a/INBOX', 'Accounts/b/INBOX']) {
    for (const target of ['Archive', 'Trash', 'Accounts/a/Archive', 'Accounts/a/Projects', 'Accounts/b/Projects']) {
      for (const mode of ['copy', 'move'] as const) {
        const run = (size: number) => async (tx: WriteTx) => {
          const from = await mailboxNamed(tx, source);
          const to = await mailboxNamed(tx, target);
          const groups = [
            ...(
              await groupsOf(
                tx,
                from,
                Array.from({ length: 40 }, (_, n) => n + 1),
              )
            ).values(),
          ];
          const uids: number[] = [];
          for (let at = 0; at < groups.length; at += size) {
            uids.push(...(await transferGroups(tx, world.book, groups.slice(at, at + size), to, mode, 'test')));
          }
          return uids;
        };
        t.same(await outcome(world, run(100)), await outcome(world, run(1)), `${mode} from ${source} to ${target}`);
      }
    }
  }
});
