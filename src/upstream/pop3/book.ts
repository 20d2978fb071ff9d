/**
 * What became of a mail that the server showed once:
 * - `here`: in INBOX, or about to be
 * - `filed`: taken from INBOX to a folder that lives here; the server keeps it until it is deleted there
 * - `left`: deleted here; whatever the server still shows of it is never fetched again
 * - `retired`: deleted at the server by `leaveOnServer`, and in INBOX all the same
 */
export type MailState = 'here' | 'filed' | 'left' | 'retired';

/** A row of an account's message id store: tells where a mail in INBOX came from. */
export interface KnownMail {
  /** In INBOX; given once and for all. */
  readonly uid: number;
  /** What the server calls it; null when that name stands for another mail now. */
  readonly uidl: string | null;
  /** As LIST told. */
  readonly octets: number | null;
  /** SHA-256 (hex) of its bytes, and its keys (mail/identity.ts); null until it was read. */
  readonly content: string | null;
  readonly headerKey: string | null;
  readonly matchKey: string | null;
  /** Seconds since the Unix epoch: when the server showed it first, and since when it shows it no more. */
  readonly seen: number;
  readonly missing: number | null;
  readonly state: MailState;
}

/** The message id store of one account; each call is one transaction. */
export interface MailBook {
  all(): Promise<KnownMail[]>;
  /** Removes the rows with these UIDs, then writes `rows` over what their UIDs had. */
  save(rows: readonly KnownMail[], removed?: readonly number[]): Promise<void>;
}
