/** What a POP3 server may make us hold; octets unless said otherwise. */

/** A reply or a line of a listing: RFC 2449 §4 allows 512, and some servers write more into an error. */
export const MAX_REPLY_LINE = 2_048;

/** Lines of CAPA. */
export const MAX_CAPABILITIES = 200;

/** A unique-id (RFC 1939 §7 allows 70); some servers use longer ones. */
export const MAX_UIDL = 256;

/** All lines of a listing together. */
export const MAX_LISTING = 64 << 20;

/** One mail: larger ones are left at the server. */
export const MAX_MAIL = 1 << 30;

/** A mail up to this size is read whole; a larger one goes to disk as it comes. */
export const WHOLE_MAIL = 1 << 20;

/** Header of a mail that is kept in the database; the rest of a larger one is cut off at a line. */
export const MAX_HEADER = 262_144;

/** Answer to TOP: the header and its blank line. */
export const MAX_TOP = 1 << 20;

/** Mails and octets of one page: what is made durable and recorded together. */
export const PAGE_MAILS = 200;
export const PAGE_BYTES = 4 << 20;

/** Commands in flight with PIPELINING (RFC 2449 §6.6), and the octets of mails that were asked for and have not come. */
export const IN_FLIGHT = 64;
export const IN_FLIGHT_BYTES = 4 << 20;

/** Notes remembered as written. */
export const MAX_NOTED = 10_000;

/** Days that a mail is remembered which the server shows no more. */
export const REMEMBERED_DAYS = 90;

/** How long a session that has listed the maildrop waits for somebody to read it, ms. */
export const LINGER_MS = 1_000;
/** How long a server may take for the answer to QUIT after a session that changed nothing, ms. */
export const QUIT_MS = 5_000;
