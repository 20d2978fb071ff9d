/**
 * Branded numbers, so that the many ids of this domain cannot be mixed up. All are positive integers; MODSEQ stays
 * below 2^53 because Mergebox hands it out itself.
 */
declare const brand: unique symbol;
type Branded<T, B extends string> = T & { readonly [brand]: B };

/** A UID in a mailbox of Mergebox (RFC 9051 §2.3.1.1). */
export type Uid = Branded<number, 'Uid'>;
/** A UID in a folder upstream. */
export type UpstreamUid = Branded<number, 'UpstreamUid'>;
/** A modification sequence of Mergebox (RFC 7162 §3.1). */
export type ModSeq = Branded<number, 'ModSeq'>;
/** The id of an account in the configuration, unique within its user. */
export type AccountId = Branded<string, 'AccountId'>;

export const uid = (n: number): Uid => n as Uid;
export const modSeq = (n: number): ModSeq => n as ModSeq;
export const accountId = (s: string): AccountId => s as AccountId;

/** The merged mailboxes, by SPECIAL-USE role (RFC 6154) and INBOX. */
export const ROLES = ['inbox', 'drafts', 'sent', 'archive', 'junk', 'trash'] as const;
export type Role = (typeof ROLES)[number];

/** The name a client sees for a merged mailbox. */
export const ROLE_NAMES: Readonly<Record<Role, string>> = {
  inbox: 'INBOX',
  drafts: 'Drafts',
  sent: 'Sent',
  archive: 'Archive',
  junk: 'Junk',
  trash: 'Trash',
};

/** The SPECIAL-USE attribute of a role (RFC 6154 §2); INBOX has none. */
export const ROLE_ATTRIBUTES: Readonly<Partial<Record<Role, string>>> = {
  drafts: '\\Drafts',
  sent: '\\Sent',
  archive: '\\Archive',
  junk: '\\Junk',
  trash: '\\Trash',
};
