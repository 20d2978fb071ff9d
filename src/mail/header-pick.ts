import { blankLine, unfoldedValue } from './header.js';

const LF = 10;
const COLON = 58;
/** ASCII lower case of every octet. */
const LOWER = Uint8Array.from({ length: 256 }, (_, code) => (code >= 65 && code <= 90 ? code + 32 : code));

/** A name to look for, by its first octet in lower case. */
interface Name {
  readonly octets: Uint8Array;
  readonly index: number;
}

/** Where one field's value is, behind its colon. */
export interface PickedField {
  /** Position of its name among those of the picker. */
  readonly index: number;
  readonly valueStart: number;
  readonly end: number;
}

/**
 * Finds a few fields in many headers: one pass over the octets, nothing is made of the fields that are not wanted.
 * Names compare without case; white space before the colon is no part of them (RFC 5322 §4.5).
 */
export class HeaderPicker {
  readonly #byFirst: (readonly Name[] | undefined)[] = [];

  /** `names` in lower case, each once. */
  constructor(names: readonly string[]) {
    for (const [index, name] of names.entries()) {
      const octets = Buffer.from(name, 'latin1');
      const first = octets[0];
      if (first === undefined) continue;
      this.#byFirst[first] = [...(this.#byFirst[first] ?? []), { octets, index }];
    }
  }

  /** The wanted fields in their order; `header` may go on behind its blank line. */
  pick(header: Buffer): PickedField[] {
    const fields: PickedField[] = [];
    const end = header.length;
    const byFirst = this.#byFirst;
    let at = 0;
    while (at < end) {
      const first = header[at]!;
      if ((first === LF || first === 13) && blankLine(header, at, end) > 0) break;
      const names = byFirst[LOWER[first]!];
      const found = names === undefined ? null : match(header, at, names);
      // Behind the line, and for a field that is wanted behind its folded lines.
      do {
        while (at < end && header[at] !== LF) at += 1;
        at += 1;
      } while (at < end && (header[at] === 32 || header[at] === 9));
      if (found !== null) fields.push({ index: found.index, valueStart: found.valueStart, end: Math.min(at, end) });
    }
    return fields;
  }
}

function match(header: Buffer, start: number, names: readonly Name[]): { index: number; valueStart: number } | null {
  for (const { octets, index } of names) {
    const { length } = octets;
    let i = 1;
    while (i < length && LOWER[header[start + i] ?? 0] === octets[i]) i += 1;
    if (i < length) continue;
    let at = start + length;
    while (header[at] === 32 || header[at] === 9) at += 1;
    if (header[at] === COLON) return { index, valueStart: at + 1 };
  }
  return null;
}

/** The value of a picked field as `unfoldedValue` gives it. */
export function pickedValue(header: Buffer, { valueStart, end }: PickedField): string {
  return unfoldedValue(header, { start: valueStart, nameEnd: valueStart, valueStart, end });
}
