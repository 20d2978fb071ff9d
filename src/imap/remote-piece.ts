import type { Mailbox } from './backend.js';
import type { Piece } from './body-source.js';
import type { FetchPlan, SectionItem } from './fetch-plan.js';

/** Octets of a section that are asked for by themselves; a longer one is better had with the whole mail. */
const MAX_PIECE = 1 << 20;

/** The sections of a FETCH from the server of the mail, where they are a small part of a large one; else null. */
export async function remotePieces(
  mailbox: Mailbox,
  uid: number,
  { items }: FetchPlan,
): Promise<ReadonlyMap<SectionItem, Piece> | null> {
  const sections: SectionItem[] = [];
  for (const item of items) {
    if (item.type === 'binary') return null;
    if (item.type === 'section' && !item.section.fromHeader) sections.push(item.section);
  }
  // What cannot be had in parts is known before anything is asked for.
  if (sections.length === 0 || !sections.every(isParted)) return null;
  const pieces = new Map<SectionItem, Piece>();
  for (const section of sections) {
    const bytes = await remoteBytes(mailbox, uid, section);
    if (bytes === null) return null;
    pieces.set(section, { type: 'bytes', bytes });
  }
  return pieces;
}

function isParted({ path, text, filter, partial }: SectionItem): boolean {
  if (filter !== null) return false;
  if (partial !== null) return partial.count > 0 && partial.count <= MAX_PIECE;
  // BODY[] and BODY[TEXT] of a large mail are no small part of it.
  return path.length > 0 || (text !== null && text !== 'TEXT');
}

async function remoteBytes(
  mailbox: Mailbox,
  uid: number,
  { path, text, partial }: SectionItem,
): Promise<Buffer | null> {
  const name = [...path, ...(text === null ? [] : [text])].join('.');
  const get = async (start: number, count: number): Promise<Buffer | null> => {
    const bytes = (await mailbox.part?.(uid, name, start, count)) ?? null;
    // Some servers give an empty string for a part that is not there, which is NIL.
    return bytes !== null && bytes.length === 0 && path.length > 0 ? null : bytes;
  };
  if (partial !== null) return get(partial.start, partial.count);
  const bytes = await get(0, MAX_PIECE);
  // One that fills the range may go on behind it.
  return bytes === null || bytes.length === MAX_PIECE ? null : bytes;
}
