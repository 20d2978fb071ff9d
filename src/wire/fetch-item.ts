import type { PartialRange } from './partial-range.js';

/** Items that stand for themselves in request and response. */
export type FetchAttribute =
  | 'FLAGS'
  | 'UID'
  | 'INTERNALDATE'
  | 'RFC822.SIZE'
  | 'ENVELOPE'
  | 'BODY'
  | 'BODYSTRUCTURE'
  | 'MODSEQ'
  /** RFC 8474, RFC 8514, RFC 8970. */
  | 'EMAILID'
  | 'THREADID'
  | 'SAVEDATE'
  | 'PREVIEW'
  | 'PREVIEW (LAZY)';

/** `<start.count>` of a section; `count` 0 is tolerated and yields an empty string. */
export interface FetchPartial {
  readonly start: number;
  readonly count: number;
}

/** Which octets of a message a section names (RFC 9051 §6.4.5.1). */
export interface Section {
  /** Part numbers, outermost first; empty for the whole message. */
  readonly part: readonly number[];
  /** `ALL` is the part itself, without a text specifier. MIME only comes with a part. */
  readonly text: 'ALL' | 'HEADER' | 'HEADER.FIELDS' | 'HEADER.FIELDS.NOT' | 'TEXT' | 'MIME';
  /** Names in upper case, without repetitions; only for the two FIELDS texts. */
  readonly fields: readonly string[];
}

export type FetchItem =
  | { readonly type: 'attribute'; readonly name: FetchAttribute }
  /**
   * BODY[…], BODY.PEEK[…], RFC822, RFC822.HEADER, RFC822.TEXT and RFC822.PEEK. `label` is the name in the response
   * (`BODY[1.HEADER.FIELDS (FROM TO)]<0>`). Without `peek`, \Seen is set.
   */
  | {
      readonly type: 'section';
      readonly label: string;
      readonly section: Section;
      readonly partial: FetchPartial | null;
      readonly peek: boolean;
    }
  /** BINARY[…] and BINARY.PEEK[…] (RFC 9051 §6.4.5): the part with its transfer encoding undone. */
  | {
      readonly type: 'binary';
      readonly label: string;
      readonly part: readonly number[];
      readonly partial: FetchPartial | null;
      readonly peek: boolean;
    }
  | { readonly type: 'binarySize'; readonly label: string; readonly part: readonly number[] };

/** FETCH modifiers (RFC 7162 §3.1.4.1, §3.2.6, RFC 9394 §3.3). */
export interface FetchModifiers {
  readonly changedSince: number | null;
  readonly vanished: boolean;
  readonly partial: PartialRange | null;
}
