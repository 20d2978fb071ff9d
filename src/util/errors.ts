/**
 * Every failure that Mergebox reports on purpose carries one of these stable codes; docs/errors.md explains each.
 * A code says what the caller may do about it, not where it happened.
 */
export type ErrorCode =
  /** The configuration file is unreadable or wrong. */
  | 'config'
  /** A mailbox, message or folder of that name or number does not exist (RFC 5530 NONEXISTENT). */
  | 'nonexistent'
  /** A CREATE or RENAME target exists already (RFC 5530 ALREADYEXISTS). */
  | 'alreadyexists'
  /** The operation can never succeed on this object (RFC 5530 CANNOT). */
  | 'cannot'
  /** The caller may not do this (RFC 5530 NOPERM). */
  | 'noperm'
  /** COPY, MOVE or APPEND to a mailbox that could be created first (RFC 9051 §7.1 TRYCREATE). */
  | 'trycreate'
  /** A configured limit was reached (RFC 5530 LIMIT). */
  | 'limit'
  /** A message is larger than allowed (RFC 7889 TOOBIG). */
  | 'toobig'
  /** The disk or an upstream quota is full (RFC 5530 OVERQUOTA). */
  | 'overquota'
  /** Something needed is out of reach for now: an upstream, a lock, the disk (RFC 5530 UNAVAILABLE). */
  | 'unavailable'
  /** Bytes from a peer that break its protocol. */
  | 'protocol'
  /** Wrong credentials. */
  | 'authentication'
  /** The peer understood and refused; the text is its own. */
  | 'refused'
  /** UIDVALIDITY is not the one the operation was meant for. */
  | 'uidvalidity'
  /** A deadline passed. */
  | 'timeout'
  /** The connection broke or could not be made. */
  | 'connection'
  /** The operation was called off. */
  | 'aborted'
  /** The database is damaged or from a newer version. */
  | 'corrupt';

/** The base of every deliberate error: `message` says what was being done, to what, and what to do about it. */
export class MergeboxError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'MergeboxError';
    this.code = code;
  }
}

/** True when `error` is a MergeboxError, with one of `codes` when any are given. */
export function isMergeboxError(error: unknown, ...codes: readonly ErrorCode[]): error is MergeboxError {
  return error instanceof MergeboxError && (codes.length === 0 || codes.includes(error.code));
}

/** One line of text for a log or a status page, whatever was thrown. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
