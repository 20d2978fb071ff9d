import { type TransferEncoding, transferEncoding } from './mime-transfer.js';

/** What a BODYSTRUCTURE tells of a part without parts. */
export interface StructureLeaf {
  /** `type/subtype` in lower case. */
  readonly type: string;
  readonly encoding: TransferEncoding;
  /** As transferred. */
  readonly octets: number;
}

/** Deeper nesting, or more leaves, than any server sends. */
const MAX_DEPTH = 250;
const MAX_LEAVES = 20_000;

const OPEN = 40;
const CLOSE = 41;
const QUOTE = 34;
const BACKSLASH = 92;
const SPACE = 32;

/**
 * The leaves of a `(…)` as a server sent it after BODYSTRUCTURE or BODY, in order; null when it is not one. Those of a
 * message/rfc822 stand for it: servers do not agree on whether the line end behind its last boundary is part of it.
 */
export function structureLeaves(wire: Buffer): readonly StructureLeaf[] | null {
  const reader = new StructureReader(wire);
  return reader.part(0) && reader.done ? reader.leaves : null;
}

/** Reads RFC 9051 §9 `body` and skips what is of no interest; every method is false at what it cannot read. */
class StructureReader {
  readonly leaves: StructureLeaf[] = [];
  readonly #wire: Buffer;
  #at = 0;

  constructor(wire: Buffer) {
    this.#wire = wire;
  }

  get done(): boolean {
    return this.#at === this.#wire.length;
  }

  /** `body = "(" (body-type-1part / body-type-mpart) ")"` */
  part(depth: number): boolean {
    if (depth > MAX_DEPTH || !this.#take(OPEN)) return false;
    if (this.#wire[this.#at] !== OPEN) return this.#onePart(depth) && this.#skipToClose();
    while (this.#wire[this.#at] === OPEN) {
      if (!this.part(depth + 1)) return false;
      // Some servers put a space between parts.
      this.#take(SPACE);
    }
    return this.#skipToClose();
  }

  #onePart(depth: number): boolean {
    const type = this.#string();
    const subtype = this.#string();
    // Parameters, id, description.
    if (!this.#skipItem() || !this.#skipItem() || !this.#skipItem()) return false;
    const encoding = this.#string();
    const octets = Number(this.#string());
    if (type === null || subtype === null || !Number.isSafeInteger(octets) || octets < 0) return false;
    const leaf = { type: leafType(type, subtype), encoding: transferEncoding(encoding), octets };
    // body-type-msg: the envelope and the structure of the message come next.
    if (leaf.type === 'message/rfc822' && this.#wire[this.#at] === OPEN) {
      return this.#skipItem() && this.part(depth + 1);
    }
    if (this.leaves.length >= MAX_LEAVES) return false;
    this.leaves.push(leaf);
    return true;
  }

  #take(octet: number): boolean {
    if (this.#wire[this.#at] !== octet) return false;
    this.#at += 1;
    return true;
  }

  /** A string, number or NIL (empty) and the space behind it; null when there is none. */
  #string(): string | null {
    const start = this.#at;
    if (!this.#skipOne()) return null;
    const text = this.#text(start, this.#at);
    this.#take(SPACE);
    return text;
  }

  #text(start: number, end: number): string {
    const wire = this.#wire;
    const first = wire[start];
    if (first === QUOTE) {
      const inner = wire.toString('latin1', start + 1, end - 1);
      return inner.includes('\\') ? inner.replace(/\\(.)/gs, '$1') : inner;
    }
    if (first === 123 || first === 126) return wire.toString('latin1', wire.indexOf(10, start) + 1, end);
    const atom = wire.toString('latin1', start, end);
    return atom.toUpperCase() === 'NIL' ? '' : atom;
  }

  #skipItem(): boolean {
    if (this.#wire[this.#at] === OPEN) {
      this.#at += 1;
      if (!this.#skipToClose()) return false;
    } else if (!this.#skipOne()) return false;
    this.#take(SPACE);
    return true;
  }

  /** Over whatever stands before the parenthesis that closes the present list, and over it. */
  #skipToClose(): boolean {
    const wire = this.#wire;
    let depth = 1;
    while (this.#at < wire.length) {
      const code = wire[this.#at];
      if (code === OPEN || code === CLOSE) {
        this.#at += 1;
        depth += code === OPEN ? 1 : -1;
        if (depth === 0) return true;
      } else if (code === SPACE) this.#at += 1;
      else if (!this.#skipOne()) return false;
    }
    return false;
  }

  /** Over one string, literal or atom. */
  #skipOne(): boolean {
    const wire = this.#wire;
    const code = wire[this.#at];
    if (code === QUOTE) return this.#skipQuoted();
    if (code === 123 || code === 126) return this.#skipLiteral();
    const start = this.#at;
    let at = start;
    while (at < wire.length && wire[at]! > SPACE && wire[at] !== OPEN && wire[at] !== CLOSE && wire[at] !== QUOTE) {
      at += 1;
    }
    this.#at = at;
    return at > start;
  }

  #skipQuoted(): boolean {
    const wire = this.#wire;
    for (let at = this.#at + 1; at < wire.length; at += 1) {
      const code = wire[at];
      if (code === BACKSLASH) at += 1;
      else if (code === QUOTE) {
        this.#at = at + 1;
        return true;
      }
    }
    return false;
  }

  /** `{n}`, `{n+}` or `~{n}`, CRLF and n octets. */
  #skipLiteral(): boolean {
    const head = this.#wire.toString('latin1', this.#at, this.#at + 20);
    const match = /^~?\{(\d{1,10})\+?\}\r?\n/.exec(head);
    if (match === null) return false;
    const end = this.#at + match[0].length + Number(match[1]);
    if (end > this.#wire.length) return false;
    this.#at = end;
    return true;
  }
}

/** A type that the sender broke is text/plain for one server and empty for another (RFC 2045 §5.2). */
function leafType(type: string, subtype: string): string {
  return type === '' || subtype === '' ? 'text/plain' : `${type}/${subtype}`.toLowerCase();
}
