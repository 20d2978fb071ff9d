import type { FetchItem } from './fetch-item.js';
import type { PartialRange } from './partial-range.js';
import type { SequenceSet } from './sequence-set.js';

/** One condition of SEARCH (RFC 9051 §6.4.4); all keys of a list must hold. */
export type SearchKey =
  | { readonly type: 'all' }
  /** Sequence numbers, or `$` (`set.saved`). */
  | { readonly type: 'sequence'; readonly set: SequenceSet }
  | { readonly type: 'uid'; readonly set: SequenceSet }
  /** ANSWERED, UNSEEN, KEYWORD, UNKEYWORD, …: `flag` in the RFC's spelling, keywords as given. */
  | { readonly type: 'flag'; readonly flag: string; readonly present: boolean }
  /** RECENT, and OLD with `present` false; NEW is an `and` of RECENT and UNSEEN (RFC 3501 §6.4.4). */
  | { readonly type: 'recent'; readonly present: boolean }
  /** BCC, CC, FROM, SUBJECT, TO: a substring of that envelope field. */
  | { readonly type: 'envelope'; readonly field: EnvelopeField; readonly value: Buffer }
  /** HEADER: `name` in lower case; an empty value asks only that the field is there. */
  | { readonly type: 'header'; readonly name: string; readonly value: Buffer }
  | { readonly type: 'body'; readonly value: Buffer }
  | { readonly type: 'text'; readonly value: Buffer }
  /** More, or fewer, octets than `size`. */
  | { readonly type: 'larger'; readonly size: number }
  | { readonly type: 'smaller'; readonly size: number }
  /**
   * BEFORE, ON, SINCE and their SENT… and SAVED… forms (RFC 8514): `day` is midnight UTC in seconds since the Unix
   * epoch of a date whose time and zone are to be disregarded.
   */
  | { readonly type: 'date'; readonly field: DateField; readonly relation: DateRelation; readonly day: number }
  /** INTERNALDATE within, or not within, the last `seconds` (RFC 5032). */
  | { readonly type: 'younger'; readonly seconds: number }
  | { readonly type: 'older'; readonly seconds: number }
  /** MODSEQ at least `modSeq` (RFC 7162 §3.1.5); the optional metadata entry names a flag, which we need not tell apart. */
  | { readonly type: 'modseq'; readonly modSeq: number; readonly entry: ModSeqEntry | null }
  /** RFC 8474 §6. */
  | { readonly type: 'emailid'; readonly id: string }
  | { readonly type: 'threadid'; readonly id: string }
  /** RFC 8514 §4. */
  | { readonly type: 'savedatesupported' }
  | { readonly type: 'and'; readonly keys: readonly SearchKey[] }
  /** At least two keys: a chain `OR a OR b c` is one list. */
  | { readonly type: 'or'; readonly keys: readonly SearchKey[] }
  | { readonly type: 'not'; readonly key: SearchKey };

export type EnvelopeField = 'bcc' | 'cc' | 'from' | 'subject' | 'to';
export type DateField = 'internal' | 'sent' | 'saved';
export type DateRelation = 'before' | 'on' | 'since';

export interface ModSeqEntry {
  readonly name: string;
  readonly type: 'priv' | 'shared' | 'all';
}

/** What `RETURN (…)` asks for (RFC 4731 §3.1, RFC 5182 §2.1, RFC 9394 §3.1, RFC 5267 §4); `RETURN ()` is `{ all: true }`. */
export interface SearchReturn {
  readonly min: boolean;
  readonly max: boolean;
  readonly all: boolean;
  readonly count: boolean;
  readonly save: boolean;
  /** Null when not asked for; never together with `all`. */
  readonly partial: PartialRange | null;
  /** Tell what the result gains and loses later, and these items of what it gains (RFC 5465 §7); null: do not. */
  readonly update: { readonly fetch: readonly FetchItem[] | null } | null;
}

/** The arguments of SEARCH and UID SEARCH. */
export interface SearchArguments {
  /** Null without RETURN: answer with the untagged SEARCH of RFC 3501. */
  readonly returns: SearchReturn | null;
  /** Whether the grammar asks for a charset (SORT, THREAD). */
  readonly charsetRequired?: true;
  /** Upper case; null when not given, which means US-ASCII or UTF-8. */
  readonly charset: string | null;
  /** All of the keys in one: an `and`, or the only key. */
  readonly key: SearchKey;
  /** Whether a MODSEQ key stands anywhere (RFC 7162 §3.1.5: the answer then carries MODSEQ). */
  readonly usesModSeq: boolean;
}
