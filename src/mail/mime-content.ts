import { fieldName, type HeaderField, unfoldedValue } from './header.js';
import { readParams } from './mime-param.js';
import type { MimeContent } from './mime-part.js';
import { ATEXT, TOKEN, TokenReader } from './mime-token.js';

/** More language tags than this are dropped. */
const MAX_LANGUAGES = 100;

/** A `MimeContent` in the making: the first field of each name counts. */
export class ContentReader implements MimeContent {
  type: MimeContent['type'] = null;
  subtype: MimeContent['subtype'] = null;
  params: MimeContent['params'] = [];
  encoding: MimeContent['encoding'] = null;
  id: MimeContent['id'] = null;
  description: MimeContent['description'] = null;
  md5: MimeContent['md5'] = null;
  disposition: MimeContent['disposition'] = null;
  language: MimeContent['language'] = null;
  location: MimeContent['location'] = null;
  /** Whether there was a Content-Type field, usable or not. */
  typed = false;

  /** Takes the field when it is a Content-* one that we know. */
  read(bytes: Buffer, field: HeaderField): void {
    // Most fields are none of ours: look at two octets before making a string.
    const first = bytes[field.start];
    if ((first !== 67 && first !== 99) || bytes[field.start + 7] !== 45) return;
    switch (fieldName(bytes, field)) {
      case 'content-type':
        if (!this.typed) this.#readType(unfoldedValue(bytes, field));
        break;
      case 'content-transfer-encoding':
        this.encoding ??= readEncoding(unfoldedValue(bytes, field));
        break;
      case 'content-disposition':
        this.disposition ??= readDisposition(unfoldedValue(bytes, field));
        break;
      case 'content-language':
        this.language ??= readLanguage(unfoldedValue(bytes, field));
        break;
      case 'content-id':
        this.id ??= unfoldedValue(bytes, field);
        break;
      case 'content-description':
        this.description ??= unfoldedValue(bytes, field);
        break;
      case 'content-md5':
        this.md5 ??= unfoldedValue(bytes, field);
        break;
      case 'content-location':
        this.location ??= unfoldedValue(bytes, field);
        break;
    }
  }

  /** RFC 2045 §5.1; what breaks that grammar counts as absent (§5.2). */
  #readType(value: string): void {
    this.typed = true;
    const reader = new TokenReader(value);
    reader.skipCfws();
    const type = reader.run(TOKEN);
    reader.skipCfws();
    if (type === '' || !reader.take('/')) return;
    reader.skipCfws();
    const subtype = reader.run(TOKEN);
    if (subtype === '') return;
    if (reader.skipCfws() && !reader.done && !reader.sees(';')) return;
    this.type = type;
    this.subtype = subtype;
    this.params = readParams(reader);
  }
}

/** RFC 2045 §6.1: one token and nothing else. */
function readEncoding(value: string): string | null {
  const reader = new TokenReader(value);
  reader.skipCfws();
  const encoding = reader.run(TOKEN);
  return encoding !== '' && reader.skipCfws() && reader.done ? encoding : null;
}

/** RFC 2183 §2. */
function readDisposition(value: string): MimeContent['disposition'] {
  const reader = new TokenReader(value);
  reader.skipCfws();
  const type = reader.run(TOKEN);
  return type !== '' && reader.skipCfws() ? { type, params: readParams(reader) } : null;
}

/** RFC 3282 §2: tags between commas. */
function readLanguage(value: string): readonly string[] | null {
  const reader = new TokenReader(value);
  const tags: string[] = [];
  reader.skipCfws();
  while (reader.seesKind(ATEXT) && tags.length < MAX_LANGUAGES) {
    tags.push(reader.run(ATEXT));
    if (!reader.skipCfws() || !reader.take(',')) break;
    reader.skipCfws();
  }
  return tags.length > 0 ? tags : null;
}
