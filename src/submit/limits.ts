/** What a submitting client or an upstream server may ask of Mergebox at most, each with its reason. */
export const SUBMIT_LIMITS = {
  /** Connections to one listener; above it clients get 421 and come back. */
  clients: 500,
  /** Connections of one client address; mail programs use one or two, an office behind one address a few dozen. */
  clientsPerAddress: 50,
  /** Failed logins of one connection; then it is closed (smtp-server itself would let it go on for ever). */
  failedLogins: 3,
  /** 4xx and 5xx replies to one connection; then it is closed. A mailing to many wrong addresses fits. */
  badReplies: 200,
  /** Milliseconds until a connection has to be logged in. */
  loginMs: 60_000,
  /** Milliseconds without input until a connection is closed (RFC 5321 §4.5.3.2.7: at least 5 minutes). */
  idleMs: 300_000,
  /** Milliseconds that the content of one message may take to come in. */
  dataMs: 1_800_000,
  /** Recipients of one message (RFC 5321 §4.5.3.1.8: at least 100). */
  recipients: 1_000,
  /** RCPT commands of one message, refused and repeated ones included. */
  recipientCommands: 2_000,
  /** Octets of a header block; all fields are looked at. */
  headerBytes: 1_048_576,
  /** Octets of a From field. */
  fromBytes: 65_536,
  /** Mailboxes in a From field. */
  fromMailboxes: 100,
  /** Received fields at which a message is taken to be in a loop (RFC 5321 §6.3: at least 100 is too generous here). */
  received: 50,
  /** Octets of messages held in memory at once, as a multiple of the largest message. */
  messagesInMemory: 4,
  /** Octets of one reply of an upstream server. */
  replyBytes: 65_536,
  /** Characters of an upstream's text that are passed on (RFC 5321 §4.5.3.1.5: a reply line has 512 octets). */
  replyText: 440,
} as const;

/** Milliseconds to wait for an upstream server (RFC 5321 §4.5.3.2, shortened where a client is waiting meanwhile). */
export const RELAY_TIMEOUTS = {
  /** Name lookup, TCP and TLS together. */
  connectMs: 30_000,
  greetingMs: 30_000,
  commandMs: 120_000,
  /** From the final dot to the reply. */
  finalMs: 280_000,
} as const;

export type RelayTimeouts = { readonly [K in keyof typeof RELAY_TIMEOUTS]: number };
