import type { MimeParam } from './mime-part.js';
import { TOKEN, type TokenReader } from './mime-token.js';

/** More parameters than this in one field are dropped. */
const MAX_PARAMS = 500;

/** One section of a parameter that RFC 2231 §3 spreads over several, or marks as encoded (§4). */
interface Section {
  readonly name: string;
  readonly index: number;
  readonly extended: boolean;
  readonly value: string;
}

/**
 * The parameters from `reader` to the end of the field. Sections are joined under the parameter's name, with `*` behind
 * it when any of them is encoded, and stand behind the plain parameters in the order of their names, as Dovecot has it.
 */
export function readParams(reader: TokenReader): readonly MimeParam[] {
  const plain: MimeParam[] = [];
  const sections = new Map<string, Section[]>();
  let count = 0;
  while (!reader.done && count < MAX_PARAMS) {
    const param = readParam(reader);
    if (param === null) {
      // Broken: look for the next semicolon from the octet behind.
      reader.at += 1;
      continue;
    }
    count += 1;
    const section = sectionOf(param);
    if (section === null) plain.push(param);
    else {
      const key = section.name.toLowerCase();
      const known = sections.get(key);
      if (known === undefined) sections.set(key, [section]);
      else known.push(section);
    }
  }
  if (sections.size === 0) return plain;
  for (const key of [...sections.keys()].sort()) plain.push(...joined(sections.get(key)!));
  return plain;
}

/** `";" attribute "=" value` (RFC 2045 §5.1), or null when it does not stand there. */
function readParam(reader: TokenReader): MimeParam | null {
  if (!reader.take(';') || !reader.skipCfws()) return null;
  const name = reader.run(TOKEN);
  if (!reader.skipCfws() || !reader.take('=')) return null;
  if (!reader.skipCfws() || reader.done) return [name, ''];
  if (reader.sees('"')) {
    const value = reader.quotedString();
    return value === null ? null : [name, value];
  }
  const value = reader.sees('=') ? rawValue(reader) : reader.run(TOKEN);
  return reader.skipCfws() ? [name, value] : null;
}

/** `name==?utf-8?b?…?=`: an encoded-word where none is allowed (RFC 2047 §5), but senders do it. */
function rawValue(reader: TokenReader): string {
  const start = reader.at;
  while (!reader.done && !' \t\r\n;'.includes(reader.text[reader.at]!)) reader.at += 1;
  return reader.text.slice(start, reader.at);
}

/** RFC 2231 §3, §4: `name*`, `name*0`, `name*0*`; anything else is a plain parameter. */
function sectionOf([name, value]: MimeParam): Section | null {
  const star = name.indexOf('*');
  if (star < 0) return null;
  const match = /^\*(\d{0,9})(\*?)$/.exec(name.slice(star));
  if (match === null) return null;
  const [, digits = '', mark = ''] = match;
  if (digits === '') return mark === '' ? { name: name.slice(0, star), index: 0, extended: true, value } : null;
  return { name: name.slice(0, star), index: Number(digits), extended: mark !== '', value };
}

function joined(sections: Section[]): MimeParam[] {
  sections.sort((a, b) => a.index - b.index);
  if (sections.some((section, at) => section.index !== at)) {
    return sections.map(({ name, index, extended, value }) => [`${name}*${index}${extended ? '*' : ''}`, value]);
  }
  const { name, extended } = sections[0]!;
  if (!sections.some((section) => section.extended)) {
    return [[name, sections.map((section) => section.value).join('')]];
  }
  const text = sections.map((section) => (section.extended ? section.value : section.value.replaceAll('%', '%25')));
  // Encoded text starts with charset'language' (RFC 2231 §4.1); both stay empty when the first section is plain.
  return [[`${name}*`, (extended ? '' : "''") + text.join('')]];
}
