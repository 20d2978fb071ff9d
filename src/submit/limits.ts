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
  /** Received fields of our own at which it is in one: a mail that a person sends on has one or two. */
  passes: 3,
  /** Octets of a Subject that reports and listings quote. */
  subject: 1_000,
  /** Octets of a message that is kept in the queue's database; a larger one is a file, which costs an fsync of its own. */
  inDatabase: 65_536,
  /** Octets of messages that are coming in and held in memory, for all clients together. */
  contentMemory: 67_108_864,
  /** Seconds that FUTURERELEASE may put a message off (RFC 4865 §3). */
  releaseSeconds: 5_184_000,
  /** Recipients of one upstream transaction (RFC 5321 §4.5.3.1.8: 100 always work). */
  recipientsAtOnce: 100,
  /** Commands sent to an upstream server before their replies are read (RFC 2920 §3.1). */
  pipelined: 50,
  /** Milliseconds that an upstream session is kept for the next message. */
  sessionIdleMs: 10_000,
  /** Messages that one upstream session carries at most. */
  sessionMails: 100,
  /** Octets of the original header that a report quotes. */
  reportHeader: 65_536,
  /** Octets of a message that a report quotes in full when RET=FULL asks for it. */
  reportFull: 1_048_576,
  /** Octets of one reply of an upstream server. */
  replyBytes: 65_536,
  /** Characters of an upstream's text that are passed on (RFC 5321 §4.5.3.1.5: a reply line has 512 octets). */
  replyText: 440,
} as const;

/** Milliseconds to wait for an upstream server (RFC 5321 §4.5.3.2, shortened where a retry costs nothing). */
export const RELAY_TIMEOUTS = {
  /** Name lookup, TCP and TLS together. */
  connectMs: 30_000,
  greetingMs: 30_000,
  commandMs: 120_000,
  /** From the final dot to the reply: given up too early, the message may arrive twice (RFC 5321 §4.5.3.2.6). */
  finalMs: 600_000,
} as const;

export type RelayTimeouts = { readonly [K in keyof typeof RELAY_TIMEOUTS]: number };
