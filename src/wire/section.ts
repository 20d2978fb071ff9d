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
  const next = parser.peek();
  const part = next >= 0x30 && next <= 0x39 ? expectSectionPart(parser) : [];
  if (part.length > 0 && parser.peekChar(']')) return { part, text: 'ALL', fields: [] };
  const text = parser.run(FETCH_NAME)?.toUpperCase();
  switch (text) {
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

/** `section-part = nz-number *("." nz-number)`, with the dot in front of a text specifier. */
export function expectSectionPart(parser: CommandParser): number[] {
  const part: number[] = [];
  for (;;) {
    if (part.length === MAX_SECTION_DEPTH) throw new ParseError('A part number is too deep');
    part.push(parser.expectNzNumber('a part number'));
    if (!parser.char('.')) return part;
    const next = parser.peek();
    if (next < 0x30 || next > 0x39) return part;
  }
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
