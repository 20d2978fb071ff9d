import { type AppendArguments, type AppendedMessage, parseAppend } from '../../wire/append.js';
import { formatSet } from '../../wire/set-builder.js';
import type { AppendMessage } from '../backend.js';
import { catenate } from '../catenate.js';
import { AUTHENTICATED, defineCommand } from '../command.js';
import { checkFlags } from '../flags.js';
import { no, ok, type Reply } from '../reply.js';
import type { Session } from '../session.js';

/** RFC 9051 §6.3.12, with several messages (RFC 3502), CATENATE (RFC 4469) and APPENDUID (RFC 4315). */
export const appendCommand = defineCommand({
  name: 'APPEND',
  states: AUTHENTICATED,
  parse(parser): AppendArguments {
    const args = parseAppend(parser);
    for (const { flags } of args.messages) checkFlags(flags);
    return args;
  },
  async run(session, { mailbox, messages }) {
    const taken = await appendable(session, messages);
    if ('status' in taken) return taken;
    const { uidValidity, uids } = await session.user.append(mailbox, taken);
    return ok('APPEND completed', `APPENDUID ${uidValidity} ${formatSet(uids)}`);
  },
});

/** The messages as a mailbox takes them, or why none of them is. */
export async function appendable(
  session: Session,
  given: readonly AppendedMessage[],
): Promise<readonly AppendMessage[] | Reply> {
  const messages: AppendedMessage[] = [];
  for (const message of given) {
    const bytes = message.parts === null ? message.bytes : await catenate(session, message.parts);
    if ('status' in bytes) return bytes;
    messages.push({ ...message, bytes });
  }
  // RFC 3502 §6.3.11: an empty message in MULTIAPPEND takes the whole command back.
  if (messages.some(({ bytes }) => bytes.length === 0)) return no('A message is empty', 'CANNOT');
  // RFC 3516 §4.4: an upstream may not hold binary content, so that no mailbox of ours does.
  const holdsNul = messages.find(({ bytes }) => bytes.includes(0));
  if (holdsNul !== undefined) return no('A message holds NUL', holdsNul.binary ? 'UNKNOWN-CTE' : 'CANNOT');
  // RFC 6855 §4.
  if (!session.utf8 && messages.some(({ utf8 }) => utf8)) return no('ENABLE UTF8=ACCEPT first', 'CANNOT');
  return messages.map(({ bytes, flags, internalDate }) => ({
    bytes,
    flags,
    ...(internalDate === null ? {} : { internalDate }),
  }));
}
