import type { WriteTx } from './store.js';

/** What a content really measures, where a server's RFC822.SIZE told otherwise: mail programs rely on it to the octet. */
export async function correctSize(tx: WriteTx, messageId: number, size: number): Promise<void> {
  if ((await tx.run('UPDATE message SET size = ? WHERE id = ? AND size <> ?', [size, messageId, size])) === 0) return;
  const shown = await tx.all<{ id: number }>(
    `SELECT mailbox_id AS id FROM entry WHERE message_id = ? UNION
     SELECT mailbox.id FROM copy JOIN mailbox ON mailbox.folder_id = copy.folder_id WHERE copy.message_id = ?`,
    [messageId, messageId],
  );
  await tx.run('UPDATE entry SET size = ?, mod_seq = ? WHERE message_id = ?', [size, tx.modSeq, messageId]);
  await tx.run('UPDATE copy SET size = ?, mod_seq = ? WHERE message_id = ?', [size, tx.modSeq, messageId]);
  for (const { id } of shown) tx.touch(id);
}
