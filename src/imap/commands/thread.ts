import { formatThreads, threadByReferences, threadBySubject } from '../../mail/thread.js';
import { parseThread, type ThreadArguments } from '../../wire/sort.js';
import { type Call, defineCommand, SELECTED } from '../command.js';
import { ok, type Reply } from '../reply.js';
import type { Session } from '../session.js';
import { threadMails } from '../sort-fields.js';
import { searchWith, tooMany, unavailableReply } from './search.js';

/** THREAD (RFC 5256 §3). */
export const threadCommand = defineCommand({
  name: 'THREAD',
  states: SELECTED,
  uid: true,
  holdsExpunge: true,
  parse: parseThread,
  run: (session, args, call) => searchWith(session, args, (result) => thread(session, args, call, result)),
});

async function thread(
  session: Session,
  { algorithm }: ThreadArguments,
  call: Call,
  { uids, unavailable }: { readonly uids: readonly number[]; readonly unavailable: number },
): Promise<Reply> {
  const { selected, out } = session;
  if (session.limitCode !== null) return tooMany(session);
  const breathe = (): Promise<void> => out.breathe();
  const mails = await threadMails(selected, uids, call.uid, breathe);
  const threads =
    algorithm === 'ORDEREDSUBJECT'
      ? await threadBySubject(mails, breathe)
      : await threadByReferences(mails, algorithm === 'REFS', breathe);
  out.text(`* THREAD${threads.length > 0 ? ' ' : ''}${formatThreads(threads)}\r\n`);
  return unavailable === 0 ? ok('THREAD completed') : unavailableReply(unavailable);
}
