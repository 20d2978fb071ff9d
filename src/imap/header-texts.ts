import { fieldName, headerFields, unfoldedValue } from '../mail/header.js';
import { HeaderPicker, pickedValue } from '../mail/header-pick.js';
import { decodeHeader } from '../mail/text.js';
import { foldText } from './search-text.js';

interface Text {
  readonly raw: string;
  folded: string | null;
}

/** The names that one search looks at, worked out once. */
export class WantedFields {
  readonly names: ReadonlyMap<string, number>;
  readonly picker: HeaderPicker;

  /** In lower case. */
  constructor(names: Iterable<string>) {
    this.names = new Map([...new Set(names)].map((name, index) => [name, index]));
    this.picker = new HeaderPicker([...this.names.keys()]);
  }
}

/** The wanted fields of one header, decoded and folded when they are first asked for. */
export class HeaderTexts {
  readonly #header: Buffer;
  readonly #wanted: WantedFields;
  #fields: Text[][] | null = null;

  constructor(header: Buffer, wanted: WantedFields) {
    this.#header = header;
    this.#wanted = wanted;
  }

  /** The first value of that name (lower case, wanted) as written, or null. */
  first(name: string): string | null {
    return this.#of(name)?.[0]?.raw ?? null;
  }

  /** Whether a field of that name (lower case, wanted) has the folded text; the empty text asks for the field alone. */
  contains(name: string, needle: string): boolean {
    const fields = this.#of(name);
    if (fields === undefined) return false;
    for (const field of fields) if (foldedText(field).includes(needle)) return true;
    return false;
  }

  /** Whether any field, name included, has it. */
  anyContains(needle: string): boolean {
    for (const field of headerFields(this.#header)) {
      const value = foldRaw(unfoldedValue(this.#header, field));
      if (`${fieldName(this.#header, field)}: ${value}`.includes(needle)) return true;
    }
    return false;
  }

  #of(name: string): readonly Text[] | undefined {
    this.#fields ??= this.#pick();
    const index = this.#wanted.names.get(name);
    return index === undefined ? undefined : this.#fields[index];
  }

  #pick(): Text[][] {
    const fields: Text[][] = [];
    for (const picked of this.#wanted.picker.pick(this.#header)) {
      const text = { raw: pickedValue(this.#header, picked), folded: null };
      const same = fields[picked.index];
      if (same === undefined) fields[picked.index] = [text];
      else same.push(text);
    }
    return fields;
  }
}

function foldedText(text: Text): string {
  text.folded ??= foldRaw(text.raw);
  return text.folded;
}

/** Most values are plain ASCII, of which nothing has to be decoded. */
function foldRaw(raw: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: plain ASCII is what this is about
  if (/^[\x00-\x7f]*$/.test(raw) && !raw.includes('=?')) return raw.toLowerCase();
  return foldText(decodeHeader(raw));
}
