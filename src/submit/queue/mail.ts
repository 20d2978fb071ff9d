/**
 * What becomes of one recipient. `sent`: the final dot went out and its answer is not recorded; after a crash nobody
 * knows whether the server took the mail.
 */
export type RecipientState = 'waiting' | 'sent' | 'delivered' | 'failed';

export interface Recipient {
  readonly address: string;
  readonly state: RecipientState;
  /** ORCPT (RFC 3461 §4.2) as `type;address`, xtext undone. */
  readonly orcpt?: string;
  /** NOTIFY (RFC 3461 §4.1); absent when the client gave none. */
  readonly notify?: readonly string[];
  /** The last reply for this recipient, as `code text`. */
  readonly reply?: string;
  /** Enhanced status code (RFC 3463) of that reply or of our own verdict. */
  readonly status?: string;
  /** The server that took it promised no reports (no DSN in its EHLO). */
  readonly relayed?: boolean;
  /** The submitter was told of its end. */
  readonly told?: boolean;
}

/**
 * `waiting`: recipients are left to try at `nextTry`. `sending`: a final dot went out, its answer is not recorded.
 * `settling`: no recipient is left, but a copy, a flag or a report is owed. `held`: a person must decide.
 */
export type MailState = 'waiting' | 'sending' | 'settling' | 'held';

/** What never changes about a queued mail. */
export interface Envelope {
  /** Address of the From field that chose the account. */
  readonly from: string;
  /** With angle brackets, as in the header. */
  readonly messageId: string;
  readonly subject: string;
  readonly utf8: boolean;
  readonly eightBit: boolean;
  /** The header holds UTF-8. */
  readonly headerUtf8: boolean;
  readonly requireTls: boolean;
  readonly ret: 'FULL' | 'HDRS' | null;
  /** ENVID (RFC 3461 §4.4), xtext undone. */
  readonly envid: string | null;
  /** MT-PRIORITY (RFC 6710) as the client gave it. */
  readonly mtPriority: number | null;
  /** The Received field added in front of everything. */
  readonly trace: string;
  /** Date and Message-ID, where the client gave none. */
  readonly added: string;
  /** `[start, end)` of the octets that must not leave (Bcc). */
  readonly hidden: readonly (readonly [number, number])[];
  /** Octets of the header as the client gave it. */
  readonly headerEnd: number;
  /** Name of the spool file; null when the content is in the database. */
  readonly spool: string | null;
  /** Message-IDs of mail that this one answers, and that it forwards. */
  readonly answers: readonly string[];
  readonly forwards: readonly string[];
}

/** A mail that was answered 250, or is about to be. Times are milliseconds since the Unix epoch. */
export interface QueuedMail {
  readonly id: number;
  readonly created: number;
  /** The account whose From it has; its Sent gets the copy. */
  readonly account: string;
  /** Leaves through the user's relay rather than through the account's own server. */
  readonly viaRelay: boolean;
  /** Envelope sender; empty for the null sender. */
  readonly sender: string;
  readonly state: MailState;
  /** From -9 to 9, higher first (RFC 6710). */
  readonly priority: number;
  readonly nextTry: number;
  /** When waiting began: `created`, or the release of a mail that was to be sent later. */
  readonly since: number;
  readonly attempts: number;
  /** The last failure, for people. */
  readonly error: string | null;
  /** Octets of the content as the client gave it. */
  readonly size: number;
  readonly envelope: Envelope;
  readonly recipients: readonly Recipient[];
  /** A delay notice was made. */
  readonly warned: boolean;
  /** The copy in Sent is there, or is not wanted. */
  readonly filed: boolean;
  /** Looks that were taken at Sent: for a mail whose fate is unknown, or before the copy is filed. */
  readonly looks: number;
  /** When what is owed besides delivery is tried next; 0 when nothing is. */
  readonly dutyAt: number;
  /** \Answered and $Forwarded were set. */
  readonly marked: boolean;
  /** Reports made so far; part of their Message-IDs, so that a crash makes none twice. */
  readonly reports: number;
  /** An answer to the final dot was lost and the mail was sent again: the receiver may have it twice. */
  readonly repeated: boolean;
}

/** Recipients that are still to be tried. */
export function isOpen(mail: QueuedMail): boolean {
  return mail.recipients.some(({ state }) => state === 'waiting' || state === 'sent');
}

export function hasState(mail: QueuedMail, state: RecipientState): boolean {
  return mail.recipients.some((each) => each.state === state);
}

/** Failures, and acceptances by servers that report nothing further, of which the submitter has still to be told. */
export function untold(mail: QueuedMail): readonly Recipient[] {
  return mail.recipients.filter((each) => each.told !== true && (wantsFailure(each) || wantsRelayed(each)));
}

function wantsFailure({ state, notify }: Recipient): boolean {
  return state === 'failed' && (notify === undefined || notify.includes('FAILURE'));
}

/** RFC 3461 §5.2.2 (b): NOTIFY=SUCCESS and a server without DSN. */
function wantsRelayed({ state, notify, relayed }: Recipient): boolean {
  return state === 'delivered' && relayed === true && (notify?.includes('SUCCESS') ?? false);
}

/** Whether the submitter may hear of a delay (RFC 3461 §4.1: unless NOTIFY leaves DELAY out). */
export function wantsDelay({ state, notify }: Recipient): boolean {
  return state === 'waiting' && (notify === undefined || notify.includes('DELAY'));
}
