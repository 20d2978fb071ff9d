import { blankLine } from './header.js';

const LF = 10;
const CRLF = Buffer.from('\r\n');

/** One name to match: lower-case octets, and the slot chain of names with the same hash. */
interface Name {
  readonly octets: Uint8Array;
  readonly next: Name | null;
}

/** ASCII lower case of every octet. */
const LOWER = Uint8Array.from({ length: 256 }, (_, code) => (code >= 65 && code <= 90 ? code + 32 : code));

/**
 * `HEADER.FIELDS (…)` and `HEADER.FIELDS.NOT (…)` (RFC 9051 §6.4.5.1), compiled once and applied to many headers: the
 * matching field lines as they are, in their order, and the blank line when the header has one.
 */
export class HeaderFilter {
  readonly #slots: (Name | null)[];
  readonly #mask: number;
  readonly #not: boolean;

  /** Names compare without case; `not` takes the fields that are *not* named. */
  constructor(names: readonly string[], not: boolean) {
    let size = 8;
    while (size < names.length * 4) size *= 2;
    this.#slots = new Array<Name | null>(size).fill(null);
    this.#mask = size - 1;
    this.#not = not;
    for (const name of names) {
      const octets = Buffer.from(name.trim().toLowerCase(), 'utf8');
      const slot = hashOf(octets) & this.#mask;
      this.#slots[slot] = { octets, next: this.#slots[slot] ?? null };
    }
  }

  /** The wire form for one header block; `header` may go on behind its blank line. The result is a copy. */
  apply(header: Buffer): Buffer {
    const end = header.length;
    const ranges: number[] = [];
    let size = 0;
    let at = 0;
    let complete = true;
    while (at < end && blankLine(header, at, end) === 0) {
      const start = at;
      const wanted = this.#matches(header, start, end) !== this.#not;
      at = nextField(header, start, end);
      if (!wanted) continue;
      size += at - start;
      complete = header[at - 1] === LF;
      if (ranges.length > 0 && ranges[ranges.length - 1] === start) ranges[ranges.length - 1] = at;
      else ranges.push(start, at);
    }
    return join(header, ranges, size + (complete ? 0 : 2) + (at < end ? 2 : 0));
  }

  /** Whether the name of the field at `start` is one of ours; hashes it on the way to its colon. */
  #matches(header: Buffer, start: number, end: number): boolean {
    let hash = 0;
    let at = start;
    let nameEnd = start;
    let hashAtNameEnd = 0;
    for (; at < end; at += 1) {
      const code = header[at]!;
      if (code === 58) break;
      if (code === LF) return false;
      hash = (hash * 31 + LOWER[code]!) | 0;
      // White space before the colon is not part of the name (RFC 5322 §4.5).
      if (code !== 32 && code !== 9) {
        nameEnd = at + 1;
        hashAtNameEnd = hash;
      }
    }
    if (at === end) return false;
    for (let name = this.#slots[hashAtNameEnd & this.#mask] ?? null; name !== null; name = name.next) {
      if (sameName(header, start, nameEnd - start, name.octets)) return true;
    }
    return false;
  }
}

function hashOf(octets: Uint8Array): number {
  let hash = 0;
  for (const code of octets) hash = (hash * 31 + code) | 0;
  return hash;
}

function sameName(header: Buffer, start: number, length: number, octets: Uint8Array): boolean {
  if (octets.length !== length) return false;
  for (let i = 0; i < length; i += 1) if (LOWER[header[start + i]!] !== octets[i]) return false;
  return true;
}

/** Behind the field at `start`. Byte by byte: for lines of usual length that beats a native search per line. */
function nextField(header: Buffer, start: number, end: number): number {
  let at = start;
  while (at < end) {
    if (header[at] === LF) {
      const next = header[at + 1];
      if (next !== 32 && next !== 9) return at + 1;
    }
    at += 1;
  }
  return end;
}

/** The ranges, with CRLF for whatever `size` has beyond them: a last line cut off before its end, the blank line. */
function join(header: Buffer, ranges: readonly number[], size: number): Buffer {
  const out = Buffer.allocUnsafe(size);
  let to = 0;
  for (let i = 0; i < ranges.length; i += 2) to += header.copy(out, to, ranges[i]!, ranges[i + 1]!);
  while (to < size) to += CRLF.copy(out, to);
  return out;
}

/** `HeaderFilter` for one use. */
export function filterHeader(header: Buffer, names: readonly string[], not: boolean): Buffer {
  return new HeaderFilter(names, not).apply(header);
}
