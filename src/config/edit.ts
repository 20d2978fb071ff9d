import { JsonError, parseJson } from './json.js';

/** Where a value stands in the text: `start` at its first character, `end` behind its last. */
interface Span {
  readonly start: number;
  readonly end: number;
}

/**
 * The JSON text with `value` added at the end of the list at `path` (made when its object lacks it), everything else,
 * blanks and line ends included, left as it stands. Throws JsonError for what is no JSON, RangeError when the path
 * leads nowhere.
 */
export function appendToList(text: string, path: readonly (string | number)[], value: unknown): string {
  parseJson(text);
  const list = find(text, path);
  if (list !== null) {
    if (text[list.start] !== '[') throw new RangeError(`${path.join('.')} is no list`);
    return insert(text, list, (indent) => jsonLines(value, indent));
  }
  const key = path.at(-1);
  const parent = find(text, path.slice(0, -1));
  if (parent === null || typeof key !== 'string' || text[parent.start] !== '{') {
    throw new RangeError(`there is no ${path.join('.')}`);
  }
  return insert(text, parent, (indent) => `${JSON.stringify(key)}: ${jsonLines([value], indent)}`);
}

/** Puts one more member before the end of a list or object, indented as its neighbours are. */
function insert(text: string, { start, end }: Span, member: (indent: string) => string): string {
  const inside = text.slice(start + 1, end - 1);
  const trailing = /\s*$/.exec(inside)![0];
  const last = start + 1 + inside.length - trailing.length;
  const outer = indentOf(text, start);
  const empty = inside.trim() === '';
  const indent = !empty && inside.includes('\n') ? indentOf(text, firstMember(text, start)) : `${outer}  `;
  const newline = text.includes('\r\n') ? '\r\n' : '\n';
  const body = member(indent).replaceAll('\n', newline);
  const closing = trailing.includes('\n') ? trailing : `${newline}${outer}`;
  return `${text.slice(0, last)}${empty ? '' : ','}${newline}${indent}${body}${closing}${text.slice(end - 1)}`;
}

function lineBefore(text: string, at: number): string {
  return text.slice(text.lastIndexOf('\n', at - 1) + 1, at);
}

function indentOf(text: string, at: number): string {
  return /^[ \t]*/.exec(lineBefore(text, at))![0];
}

function firstMember(text: string, start: number): number {
  return start + 1 + /^\s*/.exec(text.slice(start + 1))![0].length;
}

function jsonLines(value: unknown, indent: string): string {
  return JSON.stringify(value, null, 2).replaceAll('\n', `\n${indent}`);
}

/** The value at `path`; null when an object on the way, or the last one, lacks the key. The text is known to be JSON. */
function find(text: string, path: readonly (string | number)[]): Span | null {
  const start = /^[\s\uFEFF]*/.exec(text)![0].length;
  let span: Span = { start, end: skip(text, start) };
  for (const part of path) {
    const member = members(text, span).find(({ key }) => key === part);
    if (member === undefined) return null;
    span = member.span;
  }
  return span;
}

function members(text: string, { start, end }: Span): { key: string | number; span: Span }[] {
  const isObject = text[start] === '{';
  if (!isObject && text[start] !== '[') return [];
  const found: { key: string | number; span: Span }[] = [];
  let at = start + 1;
  for (;;) {
    at = blank(text, at);
    if (at >= end - 1) return found;
    let key: string | number = found.length;
    if (isObject) {
      const keyEnd = skip(text, at);
      key = JSON.parse(text.slice(at, keyEnd)) as string;
      at = blank(text, blank(text, keyEnd) + 1);
    }
    const valueEnd = skip(text, at);
    found.push({ key, span: { start: at, end: valueEnd } });
    at = blank(text, valueEnd) + 1;
  }
}

function blank(text: string, at: number): number {
  let next = at;
  while (next < text.length && ' \t\r\n'.includes(text[next]!)) next += 1;
  return next;
}

const PIECE = /"(?:[^"\\]|\\.)*"|[[{]|[\]}]|[^"[\]{}]+/y;

/** The end of the value that begins at `at`. */
function skip(text: string, at: number): number {
  const simple = /"(?:[^"\\]|\\.)*"|[^\s,\]}"[{]+/y;
  simple.lastIndex = at;
  if (simple.test(text)) return simple.lastIndex;
  let depth = 0;
  PIECE.lastIndex = at;
  for (;;) {
    const piece = PIECE.exec(text)?.[0];
    if (piece === undefined) throw new JsonError(text, at, 'expected a value');
    if (piece === '[' || piece === '{') depth += 1;
    else if (piece === ']' || piece === '}') depth -= 1;
    if (depth === 0) return PIECE.lastIndex;
  }
}
