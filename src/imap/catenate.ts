import { isMergeboxError, MergeboxError } from '../util/errors.js';
import type { CatenatePart } from '../wire/append.js';
import { formatQuoted } from '../wire/format.js';
import type { Mailbox } from './backend.js';
import { BodySource } from './body-source.js';
import { planFetch } from './fetch-plan.js';
import { type MessageUrl, parseMessageUrl } from './imap-url.js';
import { no, type Reply } from './reply.js';
import type { Session } from './session.js';

/** The message that CATENATE puts together (RFC 4469 §3), or why it cannot. Throws `toobig`, `limit`. */
export async function catenate(session: Session, parts: readonly CatenatePart[]): Promise<Buffer | Reply> {
  const pieces: Buffer[] = [];
  let size = 0;
  for (const part of parts) {
    const room = session.limits.messageBytes - size;
    const piece = 'text' in part ? part.text : await resolve(session, part.url, room);
    if (piece === null)
      return no('That URL names nothing', `BADURL ${formatQuoted((part as { url: string }).url) ?? '""'}`);
    size += piece.length;
    if (size > session.limits.messageBytes) throw tooBig(session);
    pieces.push(piece);
  }
  return Buffer.concat(pieces, size);
}

function tooBig(session: Session): MergeboxError {
  return new MergeboxError('toobig', `a message may have ${session.limits.messageBytes} octets`);
}

/** Null when there is no such message or part. */
async function resolve(session: Session, url: string, room: number): Promise<Buffer | null> {
  const wanted = parseMessageUrl(url);
  if (wanted === null) return null;
  const own = session.selectedOrNull;
  if (wanted.mailbox === null || wanted.mailbox === own?.mailbox.name) {
    return own === null ? null : read(session, own.mailbox, wanted, room);
  }
  let mailbox: Mailbox;
  try {
    mailbox = await session.user.open(wanted.mailbox);
  } catch (error) {
    if (isMergeboxError(error, 'nonexistent')) return null;
    throw error;
  }
  try {
    return await read(session, mailbox, wanted, room);
  } finally {
    mailbox.close();
  }
}

async function read(session: Session, mailbox: Mailbox, wanted: MessageUrl, room: number): Promise<Buffer | null> {
  if (wanted.uidValidity !== null && wanted.uidValidity !== mailbox.uidValidity) return null;
  if (mailbox.listing.indexOf(wanted.uid) < 0) return null;
  const [item] = planFetch([wanted.item], []).items;
  if (item?.type !== 'section') return null;
  const source = new BodySource(await mailbox.body(wanted.uid), null);
  const piece = await source.piece(item.section);
  if (piece === null) return null;
  const length = piece.type === 'bytes' ? piece.bytes.length : piece.end - piece.start;
  if (length > room) throw tooBig(session);
  // What comes from our own mailboxes takes as much memory as what a client sends.
  if (!session.io.takeRoom(length))
    throw new MergeboxError('limit', 'too many messages are stored at once, try again later');
  return piece.type === 'bytes' ? piece.bytes : source.read(piece.start, piece.end);
}
