/**
 * Every bound of the IMAP front end beside those on the grammar (src/wire/limits.ts). A test sits at each of them and
 * one over.
 */
export interface ImapLimits {
  /** Octets of one literal that is not a message: names, search strings, passwords. */
  readonly literalBytes: number;
  /** Octets of one literal before login: a name and a password are short, and nobody has vouched for the peer. */
  readonly loginLiteralBytes: number;
  /** Octets of one annotation (RFC 5464); no more than a literal may have. */
  readonly annotationBytes: number;
  /** Milliseconds after which a running command tells that it does, and again and again (RFC 9585 §5). */
  readonly progressMs: number;
  /** Octets of all literals of one command that are not messages. */
  readonly commandBytes: number;
  /** Messages that one command works on (RFC 9738): what it keeps of each of them is in memory. */
  readonly commandMessages: number;
  /** Octets of one APPEND message (RFC 7889); from the configuration. */
  readonly messageBytes: number;
  /** Octets of all messages that are on their way in at once, as a multiple of the largest; a user gets half of it. */
  readonly messagesInMemory: number;
  /** Malformed or unknown commands until the connection is cut: a client does not guess that often, a scanner does. */
  readonly badCommands: number;
  /** Failed logins on one connection until it is cut; the backend throttles across connections. */
  readonly loginAttempts: number;
  /** Milliseconds from the connection to a login. */
  readonly loginMs: number;
  /** Milliseconds without a command until a logged-in client is cut (RFC 9051 §5.4: at least 30 minutes). */
  readonly idleMs: number;
  /** Milliseconds that a started command or literal may rest half sent: a slow line sends something in a minute. */
  readonly stallMs: number;
  /** Octets a second that a started command must bring beyond `stallMs`: a peer that drips holds a connection for nothing. */
  readonly minBytesPerSecond: number;
  /** Milliseconds for a TLS handshake. */
  readonly handshakeMs: number;
  /** Milliseconds that a client may leave its answers unread while the server has more to send. */
  readonly writeStallMs: number;
  /** Octets of answers waiting in memory for one client; long answers wait long before it is reached. */
  readonly writeBufferBytes: number;
  /** Octets received ahead of the running command before the socket is paused. */
  readonly readAheadBytes: number;
  /** Connections of one user; from the configuration. */
  readonly sessionsPerUser: number;
  /** Connections of one client address, or of one /64 of IPv6; from the configuration. */
  readonly sessionsPerAddress: number;
  /** Connections in all: each is a descriptor, of which files need some as well. */
  readonly sessions: number;
  /** Milliseconds that a graceful close waits for running commands. */
  readonly closeMs: number;
}

export const DEFAULT_LIMITS: ImapLimits = {
  literalBytes: 65_536,
  annotationBytes: 65_536,
  progressMs: 10_000,
  loginLiteralBytes: 4_096,
  commandBytes: 262_144,
  commandMessages: 1_000_000,
  messageBytes: 67_108_864,
  messagesInMemory: 8,
  badCommands: 20,
  loginAttempts: 5,
  loginMs: 60_000,
  idleMs: 1_800_000,
  stallMs: 120_000,
  minBytesPerSecond: 128,
  handshakeMs: 20_000,
  writeStallMs: 120_000,
  writeBufferBytes: 4_194_304,
  readAheadBytes: 131_072,
  sessionsPerUser: 64,
  sessionsPerAddress: 256,
  sessions: 8_192,
  closeMs: 5_000,
};
