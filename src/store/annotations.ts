import { MergeboxError } from '../util/errors.js';
import { mailboxNamed } from './mailboxes.js';
import type { ReadTx, WriteTx } from './store.js';

/** Octets of one value, entries of one mailbox (RFC 5464 lets a server choose): clients keep colours and orders there. */
export const MAX_ANNOTATION = 65_536;
export const MAX_ANNOTATIONS = 100;

/** The row that annotations belong to: 0 for the empty name, which is the server. Throws `nonexistent`. */
async function owner(tx: ReadTx, name: string): Promise<number> {
  return name === '' ? 0 : (await mailboxNamed(tx, name)).id;
}

export async function annotationsOf(tx: ReadTx, name: string): Promise<Map<string, Buffer>> {
  const rows = await tx.all<{ entry: string; value: Buffer }>(
    'SELECT entry, value FROM annotation WHERE mailbox_id = ? ORDER BY entry',
    [await owner(tx, name)],
  );
  return new Map(rows.map((row) => [row.entry, row.value]));
}

/** Throws `toobig`, `limit`. */
export async function setAnnotations(
  tx: WriteTx,
  name: string,
  changes: ReadonlyMap<string, Buffer | null>,
): Promise<void> {
  const mailbox = await owner(tx, name);
  for (const [entry, value] of changes) {
    if (value === null) {
      await tx.run('DELETE FROM annotation WHERE mailbox_id = ? AND entry = ?', [mailbox, entry]);
      continue;
    }
    if (value.length > MAX_ANNOTATION) {
      throw new MergeboxError('toobig', `an annotation may have ${MAX_ANNOTATION} octets`);
    }
    await tx.run(
      `INSERT INTO annotation (mailbox_id, entry, value) VALUES (?, ?, ?)
       ON CONFLICT (mailbox_id, entry) DO UPDATE SET value = excluded.value`,
      [mailbox, entry, value],
    );
  }
  const count = await tx.get<{ n: number }>('SELECT COUNT(*) AS n FROM annotation WHERE mailbox_id = ?', [mailbox]);
  if (count!.n > MAX_ANNOTATIONS) {
    throw new MergeboxError('limit', `a mailbox may have ${MAX_ANNOTATIONS} annotations`);
  }
}
