/** A parameter as name and value, binary strings; RFC 2231 continuations are joined, their encoding is kept. */
export type MimeParam = readonly [name: string, value: string];

/** What the Content-* fields of one part say (RFC 2045, 2183, 3282, 2557, 1864); binary strings, null when absent. */
export interface MimeContent {
  /** As written; null, like `subtype`, when there is no usable Content-Type (text/plain then, RFC 2045 §5.2). */
  readonly type: string | null;
  readonly subtype: string | null;
  readonly params: readonly MimeParam[];
  /** Content-Transfer-Encoding as written. */
  readonly encoding: string | null;
  readonly id: string | null;
  readonly description: string | null;
  readonly md5: string | null;
  readonly disposition: { readonly type: string; readonly params: readonly MimeParam[] } | null;
  readonly language: readonly string[] | null;
  readonly location: string | null;
}

/**
 * How a part is built: a leaf; a multipart, with `children` (none when it has no boundary); or a message/rfc822, whose
 * one child is that message. Beyond the limits below, multiparts and messages are leaves too.
 */
export type MimeKind = 'leaf' | 'multipart' | 'message';

/** One part of a mail; offsets are into the mail's bytes. The root is the mail itself. */
export interface MimePart {
  readonly kind: MimeKind;
  /** The part's own header is `[headerStart, bodyStart)`, its blank line included. */
  readonly headerStart: number;
  readonly bodyStart: number;
  /** Behind the body; the line end before a boundary belongs to the boundary (RFC 2046 §5.1.1). */
  readonly bodyEnd: number;
  readonly content: MimeContent;
  /** Whether this is text, by its type or for want of one; only then, and for messages, `lines` is counted. */
  readonly text: boolean;
  /** Line ends in the body. */
  readonly lines: number;
  readonly children: readonly MimePart[];
}

/** Levels of parts, the root's included: what is nested deeper stays inside a leaf. Each level costs a peer a line. */
export const MAX_MIME_DEPTH = 100;
/** Parts of a mail, the root included; what comes after the last one stays inside it. */
export const MAX_MIME_PARTS = 10_000;
