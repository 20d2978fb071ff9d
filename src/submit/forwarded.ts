import { fieldValue } from '../mail/header.js';
import { parseMime } from '../mail/mime.js';
import type { MimePart } from '../mail/mime-part.js';
import { SUBMIT_LIMITS } from './limits.js';
import { messageIds } from './message.js';

/** Attached mails that are looked for. */
const MOST = 10;

/**
 * The Message-IDs of the mails attached to a mail (message/rfc822), as far as its beginning shows them: what
 * somebody forwards as an attachment.
 */
export function attachedIds(content: Buffer): readonly string[] {
  const start = content.subarray(0, SUBMIT_LIMITS.inDatabase);
  if (!start.includes('message/rfc822')) return [];
  const found: string[] = [];
  const look = (part: MimePart): void => {
    const [inner] = part.children;
    if (part.kind === 'message' && inner !== undefined && found.length < MOST) {
      const id = fieldValue(start.subarray(inner.headerStart, inner.bodyStart), 'message-id');
      found.push(...messageIds(id ?? undefined));
      return;
    }
    for (const child of part.children) look(child);
  };
  look(parseMime(start));
  return found;
}
