import { FETCH_NAME } from './chars.js';
import type { Section } from './fetch-item.js';
import { formatAstring } from './format.js';
import { MAX_HEADER_FIELDS, MAX_SECTION_DEPTH } from './limits.js';
import { ParseError } from './parse-error.js';
import type { CommandParser } from './parser.js';

/** `section = "[" [section-spec] "]"`, `section-spec = section-msgtext / (section-part ["." section-text])`. */
export function expectSection(parser: CommandParser): Section {
  parser.expectChar('[');
  const section = parser.peekChar(']') ? WHOLE : expectSectionSpec(parser);
  parser.expectChar(']');
  return section;
}

const WHOLE: Section = { part: [], text: 'ALL', fields: [] };

function expectSectionSpec(parser: CommandParser): Section {
  const words = (parser.run(FETCH_NAME) ?? '').toUpperCase().split('.');
  const part = takePart(words);
  const text = words.join('.');
  switch (text) {
    case '':
      if (words.length === 0) return { part, text: 'ALL', fields: [] };
      throw new ParseError('Unknown section');
    case 'HEADER':
    case 'TEXT':
      return { part, text, fields: [] };
    case 'HEADER.FIELDS':
    case 'HEADER.FIELDS.NOT':
      parser.expectSp();
      return { part, text, fields: expectHeaderList(parser) };
    case 'MIME':
      // RFC 9051 §6.4.5.1: MIME MUST be prefixed by a part number.
      if (part.length > 0) return { part, text, fields: [] };
      throw new ParseError('MIME needs a part number');
    default:
      throw new ParseError('Unknown section');
  }
}

/** `section-binary = "[" [section-part] "]"`. */
export function expectSectionBinary(parser: CommandParser): number[] {
  parser.expectChar('[');
  const text = parser.run(FETCH_NAME);
  const words = text === null ? [] : text.split('.');
  const part = takePart(words);
  if (words.length > 0) throw new ParseError('Expected a part number');
  parser.expectChar(']');
  return part;
}

/** `section-part = nz-number *("." nz-number)`: removes the leading numbers from `words`. */
function takePart(words: string[]): number[] {
  const count = words.findIndex((word) => !/^\d+$/.test(word));
  const part = words.splice(0, count === -1 ? words.length : count).map(Number);
  if (part.length > MAX_SECTION_DEPTH) throw new ParseError('A part number is too deep');
  if (part.some((number) => number === 0 || number > 0xffff_ffff)) throw new ParseError('Malformed part number');
  return part;
}

/** `header-list = "(" header-fld-name *(SP header-fld-name) ")"`, `header-fld-name = astring`. */
function expectHeaderList(parser: CommandParser): string[] {
  const fields = new Set<string>();
  parser.expectList('the header names', { min: 1, max: MAX_HEADER_FIELDS }, () => {
    const name = parser.expectAstring('a header name').toString('latin1');
    // RFC 5322 §2.2: printable ASCII without the colon; nothing else can be a field, or be named in the response.
    if (!/^[\x21-\x39\x3b-\x7e]{1,998}$/.test(name)) throw new ParseError('Malformed header name');
    fields.add(name.toUpperCase());
  });
  return [...fields];
}

/** The section as a response names it, without brackets: `1.2.HEADER.FIELDS (FROM TO)`. */
export function formatSection({ part, text, fields }: Section): string {
  const words = text === 'ALL' ? part : [...part, text];
  const list = fields.length === 0 ? '' : ` (${fields.map(formatAstring).join(' ')})`;
  return `${words.join('.')}${list}`;
}
