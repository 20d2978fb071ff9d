/** What Mergebox keeps or asks of one upstream folder; octets unless said otherwise. */

/** Messages of one folder: more than any server serves well, and a bound for what a hostile one can make us hold. */
export const MAX_MESSAGES = 2_000_000;

/** Folders of one account: each is looked at in every round. */
export const MAX_FOLDERS = 20_000;

/** Arrivals during one command that do not count as a server making things up. */
export const ARRIVALS_SLACK = 10_000;

/** Header of a message that is kept; the rest of a larger one is cut off at a line. */
export const MAX_HEADER = 262_144;

/** Larger ones are dropped: our own MIME reader makes them when they are needed. */
export const MAX_ENVELOPE = 131_072;
export const MAX_STRUCTURE = 524_288;

/** Messages asked for in one command: the first page, and the bounds between which later ones adapt. */
export const PAGE_START = 250;
export const PAGE_MIN = 10;
export const PAGE_MAX = 500;
/** What a page should come to. */
export const PAGE_BYTES = 2_097_152;
/** Page commands in flight: one is read, one is on its way, one is being prepared by the server. */
export const PAGES_IN_FLIGHT = 3;

/** STATUS commands in flight. */
export const STATUS_IN_FLIGHT = 50;

/** Characters of a UID set in one command: servers cap lines at 8,000 or more (RFC 7162 §4). */
export const MAX_SET_TEXT = 4_000;

/** Distinct flag texts remembered per connection. */
export const MAX_FLAG_TEXTS = 5_000;
