import type { MimePart } from './mime-part.js';

/** The words that may end a section specification (RFC 9051 §6.4.5.1); null for the part itself. */
export type SectionText = 'HEADER' | 'TEXT' | 'MIME' | null;

/** Octets `[start, end)` of the mail. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/**
 * The part that `path` names (RFC 9051 §6.4.5.1): numbers count the parts of a multipart from 1; a mail that is none
 * has the part 1, which is its body; below a message/rfc822 the count goes on inside that message. Null when there is
 * no such part; the root for the empty path.
 */
export function findPart(root: MimePart, path: readonly number[]): MimePart | null {
  let part: MimePart = root;
  for (const [level, number] of path.entries()) {
    const next: MimePart | null = level === 0 ? partOfMessage(root, number) : partBelow(part, number);
    if (next === null) return null;
    part = next;
  }
  return part;
}

function partBelow(part: MimePart, number: number): MimePart | null {
  if (part.kind === 'multipart') return part.children[number - 1] ?? null;
  const [message] = part.children;
  return message === undefined ? null : partOfMessage(message, number);
}

function partOfMessage(message: MimePart, number: number): MimePart | null {
  if (message.kind === 'multipart') return message.children[number - 1] ?? null;
  return number === 1 ? message : null;
}

/**
 * The octets of `BODY[path.text]`, without copying. Null when the mail has no such section: no such part, or HEADER or
 * TEXT of a part that is not a message/rfc822; the front end answers that with NIL.
 */
export function sectionRange(root: MimePart, path: readonly number[], text: SectionText): ByteRange | null {
  const part = findPart(root, path);
  if (part === null) return null;
  if (path.length === 0) return rangeOfMessage(root, text);
  if (text === null) return { start: part.bodyStart, end: part.bodyEnd };
  if (text === 'MIME') return { start: part.headerStart, end: part.bodyStart };
  const [message] = part.children;
  return part.kind === 'message' && message !== undefined ? rangeOfMessage(message, text) : null;
}

function rangeOfMessage(message: MimePart, text: SectionText): ByteRange | null {
  switch (text) {
    case null:
      return { start: message.headerStart, end: message.bodyEnd };
    case 'HEADER':
      return { start: message.headerStart, end: message.bodyStart };
    case 'TEXT':
      return { start: message.bodyStart, end: message.bodyEnd };
    case 'MIME':
      return null;
  }
}
