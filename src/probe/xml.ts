import { MergeboxError } from '../util/errors.js';
import { PROBE_LIMITS } from './limits.js';

export interface Element {
  readonly name: string;
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: readonly Element[];
  /** Character data directly in it, trimmed. */
  readonly text: string;
}

interface Open {
  readonly name: string;
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: Element[];
  text: string;
}

const NAME = '[A-Za-z_][A-Za-z0-9_.:-]{0,99}';
const TOKEN = new RegExp(
  [
    '<!--(?:[^-]|-(?!-))*-->',
    '<\\?(?!xml[\\s?])[A-Za-z][^?]*(?:\\?(?!>)[^?]*)*\\?>',
    '<!\\[CDATA\\[(?<cdata>[^\\]]*(?:\\](?!\\]>)[^\\]]*)*)\\]\\]>',
    `</(?<close>${NAME})\\s*>`,
    `<(?<open>${NAME})(?<attributes>(?:\\s+${NAME}\\s*=\\s*(?:"[^"<]*"|'[^'<]*'))*)\\s*(?<empty>/?)>`,
    '(?<text>[^<]+)',
  ].join('|'),
  'y',
);
const ATTRIBUTE = new RegExp(`(${NAME})\\s*=\\s*(?:"([^"<]*)"|'([^'<]*)')`, 'g');
const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/**
 * Reads a small XML 1.0 document in UTF-8: elements, attributes, text, CDATA, comments. What such documents have no use
 * for and attackers do (DOCTYPE, entities of their own, depth, size) is refused with `protocol`, in linear time.
 */
export function parseXml(bytes: Buffer): Element {
  if (bytes.length > PROBE_LIMITS.documentBytes) throw faulty('it is too large');
  const text = decode(bytes);
  const root: Open = { name: '', attributes: new Map(), children: [], text: '' };
  const open: Open[] = [root];
  let elements = 0;
  TOKEN.lastIndex = /^\s*(?:<\?xml\s[^?>]*\?>)?/.exec(text)?.[0].length ?? 0;
  while (TOKEN.lastIndex < text.length) {
    const at = TOKEN.lastIndex;
    const groups = TOKEN.exec(text)?.groups;
    if (groups === undefined) throw faulty(`it cannot be read at character ${at}`);
    const inside = open.at(-1)!;
    if (groups['open'] !== undefined) {
      elements += 1;
      if (elements > PROBE_LIMITS.elements || open.length > PROBE_LIMITS.depth)
        throw faulty('it has too many elements');
      const element: Open = {
        name: groups['open'],
        attributes: attributesOf(groups['attributes']),
        children: [],
        text: '',
      };
      inside.children.push(element);
      if (groups['empty'] === '') open.push(element);
    } else if (groups['close'] !== undefined) {
      if (open.length === 1 || inside.name !== groups['close']) throw faulty(`</${groups['close']}> closes nothing`);
      inside.text = inside.text.trim();
      open.pop();
    } else inside.text += groups['cdata'] ?? unescaped(groups['text'] ?? '');
  }
  const [only, ...more] = root.children;
  if (open.length > 1 || only === undefined || more.length > 0 || root.text.trim() !== '') {
    throw faulty('it is not one whole element');
  }
  return only;
}

function decode(bytes: Buffer): string {
  try {
    // Takes a byte order mark off.
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw faulty('it is not UTF-8');
  }
}

function attributesOf(text: string | undefined): ReadonlyMap<string, string> {
  const attributes = new Map<string, string>();
  for (const [, name = '', double, single] of (text ?? '').matchAll(ATTRIBUTE)) {
    if (attributes.has(name)) throw faulty(`the attribute ${name} stands twice`);
    attributes.set(name, unescaped(double ?? single ?? ''));
  }
  return attributes;
}

function unescaped(text: string): string {
  return text.replace(/&([^;&\s]{0,12});?|&/g, (whole, name: string | undefined) => {
    const plain = ENTITIES[name ?? ''];
    if (plain !== undefined && whole.endsWith(';')) return plain;
    const digits = /^#(?:x([0-9A-Fa-f]{1,6})|([0-9]{1,7}))$/.exec(name ?? '');
    const code = digits === null ? Number.NaN : Number.parseInt(digits[1] ?? digits[2]!, digits[1] ? 16 : 10);
    if (!whole.endsWith(';') || !(code >= 9 && code <= 0x10ffff)) throw faulty('it has an unknown entity');
    return String.fromCodePoint(code);
  });
}

function faulty(why: string): MergeboxError {
  return new MergeboxError('protocol', `read the autoconfig document: ${why}`);
}
