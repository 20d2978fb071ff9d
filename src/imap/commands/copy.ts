import type { CommandParser } from '../../wire/parser.js';
import type { SequenceSet } from '../../wire/sequence-set.js';
import { SetBuilder } from '../../wire/set-builder.js';
import type { CopyResult } from '../backend.js';
import { defineCommand, SELECTED } from '../command.js';
import { ok } from '../reply.js';
import { tooMany } from './search.js';

/** RFC 9051 §6.4.7, with COPYUID (RFC 4315 §3). */
export const copyCommand = defineCommand({
  name: 'COPY',
  states: SELECTED,
  uid: true,
  parse: parseCopy,
  async run(session, { set, target }, { uid }) {
    const { selected } = session;
    const uids = selected.uids(session.limit(selected.resolve(set, uid)));
    // All or none: a part of them would be copied again by the next try.
    if (session.limitCode !== null) return tooMany(session);
    if (uids.length === 0) return ok('Nothing to copy');
    return ok('COPY completed', copyUid(await selected.mailbox.copy(uids, target)));
  },
});

/** `SP sequence-set SP mailbox`, of COPY and MOVE. */
export function parseCopy(parser: CommandParser): { set: SequenceSet; target: string } {
  parser.expectSp();
  const set = parser.expectSequenceSet();
  parser.expectSp();
  return { set, target: parser.expectMailbox() };
}

/** The response code, or undefined when all messages were gone. */
export function copyUid({ uidValidity, sourceUids, targetUids }: CopyResult): string | undefined {
  if (sourceUids.length === 0) return undefined;
  const from = new SetBuilder();
  const to = new SetBuilder();
  for (const uid of sourceUids) from.add(uid);
  for (const uid of targetUids) to.add(uid);
  return `COPYUID ${uidValidity} ${from} ${to}`;
}
