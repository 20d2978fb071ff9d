/** Characters of a subject that are looked at: longer ones differ long before. */
const MAX_SUBJECT = 1_000;

/** `subj-blob` of RFC 5256 §5. */
const BLOB = /\[[^[\]]*\] */y;
/** `subj-refwd`, with the blobs in front of it that belong to `subj-leader`. */
const LEADER = /(?:\[[^[\]]*\] *)*(?:re|fwd?) *(?:\[[^[\]]*\] *)?:/iy;
const TRAILER = /(?:\(fwd\)| )$/i;

/** A subject without what replies and forwards add to it. */
export interface BaseSubject {
  readonly base: string;
  /** Whether anything was removed that says reply or forward (RFC 5256 §3 step 5). */
  readonly isReply: boolean;
}

/** RFC 5256 §2.1 over decoded text; white space is made single, letters keep their case. */
export function baseSubject(decoded: string): BaseSubject {
  let text = decoded.slice(0, MAX_SUBJECT).replace(/[\t\r\n ]+/g, ' ');
  let isReply = false;
  for (;;) {
    // Steps 2 to 5.
    const trimmed = withoutTrailers(text);
    const rest = withoutLeaders(trimmed.text);
    isReply ||= trimmed.removed || rest.removed;
    // Step 6.
    if (!/^\[fwd:.*\]$/i.test(rest.text)) return { base: rest.text, isReply };
    isReply = true;
    text = rest.text.slice(5, -1);
  }
}

function withoutTrailers(text: string): { text: string; removed: boolean } {
  let end = text.length;
  let removed = false;
  for (;;) {
    const match = TRAILER.exec(text.slice(Math.max(0, end - 5), end));
    if (match === null) return { text: text.slice(0, end), removed };
    end -= match[0].length;
    removed ||= match[0] !== ' ';
  }
}

function withoutLeaders(text: string): { text: string; removed: boolean } {
  let at = 0;
  let removed = false;
  for (;;) {
    while (text[at] === ' ') at += 1;
    LEADER.lastIndex = at;
    if (LEADER.test(text)) {
      at = LEADER.lastIndex;
      removed = true;
      continue;
    }
    BLOB.lastIndex = at;
    // Step 4: a blob goes unless nothing would be left.
    if (!BLOB.test(text) || BLOB.lastIndex >= text.length) return { text: text.slice(at), removed };
    at = BLOB.lastIndex;
  }
}
