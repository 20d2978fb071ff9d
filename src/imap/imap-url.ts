import type { FetchItem, FetchPartial, Section } from '../wire/fetch-item.js';
import { ParseError } from '../wire/parse-error.js';
import { CommandParser } from '../wire/parser.js';
import { expectSection } from '../wire/section.js';

/** The octets that an IMAP URL (RFC 5092 §2.2) of this server means. */
export interface MessageUrl {
  /** Null: the selected one. */
  readonly mailbox: string | null;
  readonly uidValidity: number | null;
  readonly uid: number;
  readonly item: FetchItem & { readonly type: 'section' };
}

const URL =
  /^(?:\/?([^;]*?)(?:;UIDVALIDITY=(\d{1,10}))?\/)?;UID=(\d{1,10})(?:\/?;SECTION=([^;]+?))?(?:\/?;PARTIAL=(\d{1,10})(?:\.(\d{1,10}))?)?$/i;

/** A URL as CATENATE takes it (RFC 4469 §2): of this server and its user, relative to it. Null for any other. */
export function parseMessageUrl(url: string): MessageUrl | null {
  const [, name, uidValidity, uid, section, start, count] = URL.exec(url) ?? [];
  if (uid === undefined) return null;
  try {
    const mailbox = name === undefined || name === '' ? null : decodeURIComponent(name);
    return {
      mailbox: mailbox !== null && mailbox.toUpperCase() === 'INBOX' ? 'INBOX' : mailbox,
      uidValidity: uidValidity === undefined ? null : Number(uidValidity),
      uid: Number(uid),
      item: sectionItem(section === undefined ? '' : decodeURIComponent(section), partialOf(start, count)),
    };
  } catch (error) {
    // Malformed escapes, and what is no section.
    if (error instanceof URIError || error instanceof ParseError) return null;
    throw error;
  }
}

function partialOf(start: string | undefined, count: string | undefined): FetchPartial | null {
  if (start === undefined) return null;
  return { start: Number(start), count: count === undefined ? Number.MAX_SAFE_INTEGER : Number(count) };
}

function sectionItem(text: string, partial: FetchPartial | null): MessageUrl['item'] {
  const parser = CommandParser.of(`[${text}]`);
  const section: Section = expectSection(parser);
  parser.expectEnd();
  return { type: 'section', label: '', section, partial, peek: true };
}
