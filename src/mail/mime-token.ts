/**
 * A reader over the value of one structured header field (RFC 5322 §3.2, RFC 2045 §5.1), as a binary string. It takes
 * what senders really write: octets above 127 are letters, comments nest, folding may stand anywhere. Every method
 * leaves `at` behind what it took and answers false when the grammar broke there. Each step moves forward, so reading
 * a value is linear whatever is in it.
 */
export class TokenReader {
  readonly text: string;
  at = 0;
  /** Content of the comment skipped last, without its parentheses; empty when there was none. */
  lastComment = '';

  constructor(text: string) {
    this.text = text;
  }

  get done(): boolean {
    return this.at >= this.text.length;
  }

  /** Whether the next octet is this character. */
  sees(character: string): boolean {
    return this.text.charCodeAt(this.at) === character.charCodeAt(0);
  }

  /** Takes the character when it is next. */
  take(character: string): boolean {
    if (!this.sees(character)) return false;
    this.at += 1;
    return true;
  }

  /** CFWS (RFC 5322 §3.2.2); false for a comment that never ends. */
  skipCfws(): boolean {
    for (;;) {
      const code = this.text.charCodeAt(this.at);
      if (code === 32 || code === 9 || code === 13 || code === 10) this.at += 1;
      else if (code === 40) {
        if (!this.#skipComment()) return false;
      } else return true;
    }
  }

  #skipComment(): boolean {
    const { text } = this;
    let depth = 0;
    let content = '';
    let start = this.at + 1;
    for (let at = this.at; at < text.length; at += 1) {
      const code = text.charCodeAt(at);
      if (code === 40) depth += 1;
      else if (code === 41) {
        depth -= 1;
        if (depth === 0) {
          this.lastComment = content + text.slice(start, at);
          this.at = at + 1;
          return true;
        }
      } else if (code === 92) {
        content += text.slice(start, at);
        start = at + 1;
        at += 1;
      }
    }
    this.lastComment = '';
    this.at = text.length;
    return false;
  }

  /** The longest run of octets of `kind` (see `ATEXT` and `TOKEN`), perhaps empty. */
  run(kind: number): string {
    const { text } = this;
    const start = this.at;
    let at = start;
    while (at < text.length && (KINDS[text.charCodeAt(at) & 255]! & kind) !== 0) at += 1;
    this.at = at;
    return text.slice(start, at);
  }

  /** Whether the next octet is of `kind`. */
  seesKind(kind: number): boolean {
    return !this.done && (KINDS[this.text.charCodeAt(this.at) & 255]! & kind) !== 0;
  }

  /** A quoted-string (RFC 5322 §3.2.4), unescaped and unfolded, and the CFWS behind it; null when it never ends. */
  quotedString(): string | null {
    const { text } = this;
    let content = '';
    let start = this.at + 1;
    for (let at = start; at < text.length; at += 1) {
      const code = text.charCodeAt(at);
      if (code === 34) {
        content += text.slice(start, at);
        this.at = at + 1;
        return this.skipCfws() ? content : null;
      }
      if (code === 92) {
        content += text.slice(start, at);
        start = at + 1;
        at += 1;
      } else if (code === 10) {
        content += text.slice(start, at > start && text.charCodeAt(at - 1) === 13 ? at - 1 : at);
        start = at + 1;
      }
    }
    this.at = text.length;
    return null;
  }
}

/** RFC 5322 §3.2.3 atext, and every octet above 127. */
export const ATEXT = 1;
/** RFC 2045 §5.1 token, and every octet above 127. */
export const TOKEN = 2;
/** atext or a dot. */
export const ATEXT_OR_DOT = 5;

const KINDS = kinds();

function kinds(): Uint8Array {
  const table = new Uint8Array(256);
  for (let code = 33; code < 256; code += 1) {
    if (code === 127) continue;
    const character = String.fromCharCode(code);
    if (!'()<>[]:;@\\,."'.includes(character)) table[code]! |= ATEXT;
    if (!'()<>@,;:\\"/[]?='.includes(character)) table[code]! |= TOKEN;
  }
  table[46]! |= 4;
  return table;
}
