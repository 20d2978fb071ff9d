import { decodeUtf8 } from './cursor.js';
import { formatString, NIL } from './format.js';
import { MAX_ID_FIELD, MAX_ID_PAIRS, MAX_ID_VALUE } from './limits.js';
import { ParseError } from './parse-error.js';
import type { CommandParser } from './parser.js';

/** What a client says about itself, fields in lower case; a value may be NIL (RFC 2971 §3.3). */
export type IdPairs = ReadonlyMap<string, string | null>;

/** `SP id-params-list`, `id-params-list = "(" [string SP nstring *(SP string SP nstring)] ")" / nil`. */
export function parseId(parser: CommandParser): IdPairs {
  parser.expectSp();
  const pairs = new Map<string, string | null>();
  if (!parser.word('NIL')) {
    parser.expectList('the ID pairs', { min: 0, max: MAX_ID_PAIRS }, () => {
      const field = text(parser.expectString('an ID field'), MAX_ID_FIELD).toLowerCase();
      // RFC 2971 §3.3: a field MUST NOT come twice.
      if (pairs.has(field)) throw new ParseError('An ID field comes twice');
      parser.expectSp();
      const value = parser.expectNstring('an ID value');
      pairs.set(field, value === null ? null : text(value, MAX_ID_VALUE));
    });
  }
  parser.expectEnd();
  return pairs;
}

function text(bytes: Buffer, max: number): string {
  if (bytes.length > max) throw new ParseError(`An ID string is longer than ${max} octets`);
  return decodeUtf8(bytes, 'an ID string');
}

/** The parameters of an ID response: `("name" "Mergebox")`. */
export function formatId(pairs: IdPairs): Buffer {
  if (pairs.size === 0) return Buffer.from(NIL);
  const parts: Buffer[] = [];
  for (const [field, value] of pairs) {
    parts.push(Buffer.from(parts.length === 0 ? '(' : ' '), formatString(field), Buffer.from(' '));
    parts.push(value === null ? Buffer.from(NIL) : formatString(value));
  }
  return Buffer.concat([...parts, Buffer.from(')')]);
}
