/** What the queue needs of the user's mailboxes; fits the user service. */
export interface QueueHost {
  /**
   * Whether a copy with this Message-ID (without brackets) is in the account's Sent, and who put it there. With `fresh`
   * the server is asked first; `unknown` when it could not be.
   */
  lookInSent(account: string, messageId: string, fresh: boolean): Promise<SentLook>;
  /** Files a copy in the account's Sent unless one is there; durable when it resolves. */
  fileSent(account: string, message: Buffer, always: boolean): Promise<void>;
  /**
   * Puts a report into the account's INBOX, here and, as soon as it can be reached, at its server; does nothing when one
   * with this Message-ID (without brackets) is there. False when no account of the user may be written to.
   */
  report(account: string, message: Buffer, messageId: string): Promise<boolean>;
  /** Sets \Answered and $Forwarded on what these Message-IDs name. */
  mark(answered: readonly string[], forwarded: readonly string[]): Promise<void>;
  /** Whether the account could be reached lately. */
  reachable(account: string): boolean;
}

/** `server`: the account's server filed it. `ours`: it came through Mergebox, by us or by a client. */
export type SentLook = 'server' | 'ours' | 'absent' | 'unknown';
