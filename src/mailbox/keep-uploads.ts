import type { Group } from '../store/groups.js';
import type { MailboxRow } from '../store/rows.js';
import type { ReadTx, WriteTx } from '../store/store.js';
import { unkeptUploads } from '../store/transfer.js';
import type { MailContext } from './context.js';

/** One command writes no more than this itself; the engines keep the rest. */
const MAX_MAILS = 100;
const MAX_OCTETS = 32 << 20;

/**
 * Runs the transaction of a COPY or MOVE. Bytes of mail that it takes to another account are kept with it where they
 * are at hand (`kept`: SHA-256 by message); elsewhere the account's engine fetches them first of all.
 */
export async function keepingUploads<T>(
  context: MailContext,
  plan: (tx: ReadTx) => Promise<{ readonly groups: readonly Group[]; readonly target: MailboxRow }>,
  commit: (tx: WriteTx, kept: ReadonlyMap<number, string>) => Promise<T>,
): Promise<T> {
  const wanted = await context.store.read(async (tx) => {
    const { groups, target } = await plan(tx);
    return unkeptUploads(tx, groups, target);
  });
  if (wanted.length === 0) return context.store.write((tx) => commit(tx, new Map()));
  return context.pinned.lease(async (lease) => {
    const kept = new Map<number, string>();
    let octets = 0;
    for (const id of wanted.slice(0, MAX_MAILS)) {
      const body = await context.bodies.atHand(id);
      if (body === null || octets + body.size > MAX_OCTETS) continue;
      octets += body.size;
      kept.set(id, await lease.add(await body.read(0, body.size)));
    }
    if (kept.size > 0) await lease.settle();
    return context.store.write((tx) => commit(tx, kept));
  });
}
