/**
 * Every limit on what a peer may put into one command (DESIGN.md invariant 10). Sizes are octets. How large a literal
 * may be is not here: the caller decides when the reader announces one, since it depends on login and command.
 */

/**
 * All text of one command outside its literals, line ends not counted. RFC 7162 §4 asks for 8,192 at least; clients
 * send UID sets of some tens of kilobytes.
 */
export const MAX_LINE = 65_536;

/** Tags are a few characters in every client; a longer one is noise, and it is echoed in the answer. */
export const MAX_TAG = 128;

/** The longest command name (UNAUTHENTICATE has 14); longer ones are no command, and the name is echoed in logs. */
export const MAX_COMMAND_NAME = 32;

/** Literals of one command; CATENATE and MULTIAPPEND need dozens, SEARCH a handful. */
export const MAX_LITERALS = 1_000;

/** A literal where the grammar has a string (a mailbox, a search text, a password); messages are read by `literal`. */
export const MAX_STRING_LITERAL = 65_536;

/** NOT, OR and parentheses inside each other; people nest three deep, and each level is a stack frame. */
export const MAX_SEARCH_DEPTH = 100;

/** Search keys in one command: every one of them is looked at for every message. */
export const MAX_SEARCH_KEYS = 2_000;

/** Items of one FETCH after macros are spread out; the grammar knows about twenty, sections come on top. */
export const MAX_FETCH_ITEMS = 200;

/** Header names in one HEADER.FIELDS list: the largest client list has about forty. */
export const MAX_HEADER_FIELDS = 500;

/** Levels of a section's part number, as deep as the MIME reader goes. */
export const MAX_SECTION_DEPTH = 100;

/** Ranges in a set: what fits into a line of `MAX_LINE` with numbers of two digits. */
export const MAX_SET_RANGES = 20_000;

/** Octets of one flag or keyword: kept per message, and upstream servers cap theirs near this. */
export const MAX_FLAG = 255;

/** Flags in one list. Servers cap keywords per mailbox at some hundreds. */
export const MAX_FLAGS = 500;

/** Octets of a mailbox name in UTF-8: file systems and most servers stop at 255 per level or 1,000 in all. */
export const MAX_MAILBOX_NAME = 1_000;

/** Octets of a LIST pattern; a pattern is matched against every mailbox. */
export const MAX_LIST_PATTERN = 1_000;

/** Wildcards in one LIST pattern, for the same reason. */
export const MAX_LIST_WILDCARDS = 50;

/** Patterns in one LIST-EXTENDED command. */
export const MAX_LIST_PATTERNS = 100;

/** Items or options in one parenthesised list of atoms (STATUS items, LIST options, ENABLE capabilities). */
export const MAX_OPTIONS = 100;

/** Messages in one MULTIAPPEND. */
export const MAX_APPEND_MESSAGES = 500;

/** Parts of one message in CATENATE: a text, and every attachment of the mail it is made from. */
export const MAX_CATENATE_PARTS = 200;

/** RFC 2971 §3.3: at most 30 field-value pairs, fields of 30 octets, values of 1,024. */
export const MAX_ID_PAIRS = 30;
export const MAX_ID_FIELD = 30;
export const MAX_ID_VALUE = 1_024;

/** Body parts inside each other when BODY is derived from BODYSTRUCTURE; each level is a stack frame. */
export const MAX_STRUCTURE_DEPTH = 500;
