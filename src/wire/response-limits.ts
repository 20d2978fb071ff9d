/**
 * Every limit on what a server may put into one response (DESIGN.md invariant 10). Sizes are octets. A server that goes
 * over one breaks the protocol as far as Mergebox is concerned, and its connection is closed.
 */

/**
 * One response with all of it that is not streamed. SEARCH and VANISHED come as one line: with ten octets a UID this is
 * room for a million and a half of them.
 */
export const MAX_RESPONSE = 16_777_216;

/** Literals above this are streamed, never kept: most mail is smaller, and so comes in one piece. */
export const STREAM_ABOVE = 262_144;

/** A literal at all; mail of two gigabytes is beyond what any server takes. */
export const MAX_SERVER_LITERAL = 2_147_483_647;

/** Parentheses inside each other: BODYSTRUCTURE nests once for each level of MIME, and then some. */
export const MAX_NESTING = 1_000;

/** Numbers that one sequence-set in a response may stand for once it is spread out. */
export const MAX_SET_NUMBERS = 5_000_000;

/** Text of a status response that is kept for errors and logs. */
export const MAX_STATUS_TEXT = 1_000;

/** Names in one CAPABILITY, ENABLED or FLAGS response; servers offer some fifty. */
export const MAX_NAMES = 2_000;
