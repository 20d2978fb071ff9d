/** What a server, a name service or a document may make the probe do; milliseconds and octets. */
export const PROBE_LIMITS = {
  /** One look-up in the DNS. */
  dnsMs: 5_000,
  /** The autoconfig document with all its redirects. */
  httpMs: 8_000,
  /** An autoconfig document; real ones have 1 to 4 KiB. */
  documentBytes: 65_536,
  /** Elements and nesting of that document. */
  elements: 1_000,
  depth: 12,
  redirects: 3,
  /** Connecting to one candidate, TLS included, and hearing what it offers. */
  talkMs: 10_000,
  /** A line of a server, and all it says in one talk. */
  lineBytes: 8_192,
  talkBytes: 131_072,
  /** SRV records looked at per service, servers per document. */
  records: 8,
  /** Candidates talked to at once, and in all. */
  parallel: 8,
  candidates: 60,
  /** Passwords sent to one service: a third wrong one makes some providers lock the account. */
  logins: 2,
} as const;
