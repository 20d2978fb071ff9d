import t from 'tap';
import { bodyStructureWire } from '../../src/mail/body-structure.js';
import { envelopeWire } from '../../src/mail/envelope.js';
import { filterHeader } from '../../src/mail/header-filter.js';
import { contentKeyOf } from '../../src/mail/identity.js';
import { parseMime } from '../../src/mail/mime.js';
import { canonicalLines } from '../../src/mail/mime-lines.js';
import type { MimePart } from '../../src/mail/mime-part.js';
import { type SectionText, sectionRange } from '../../src/mail/mime-section.js';
import { startDovecot } from '../harness/dovecot.js';
import type { ImapClient } from '../harness/imap-client.js';
import { CORPUS } from '../unit/mail-corpus.js';

const FIELDS = ['From', 'SUBJECT', 'received', 'X-None'];
const FIELDS_ITEM = `BODY.PEEK[HEADER.FIELDS (${FIELDS.join(' ')})]`;
const NO_TYPE = 'RFC 2045 §5.2: a Content-Type that breaks the syntax is text/plain, not two empty strings';
const BLANK_LINE = 'the blank line behind a header belongs to the header, also when a boundary follows at once';

/** Where we answer otherwise than Dovecot 2.3, by mail and item, and why. Anything else that differs fails. */
const DIFFERENCES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'address-dot-space': { ENVELOPE: 'RFC 5322 §4.4 allows white space around the dots of a local-part' },
  'address-domain-dot': { ENVELOPE: 'a domain that ends in a dot is shown as it is, not dropped' },
  'fields-trailing': { ENVELOPE: 'white space at the end of a field is no part of it' },
  'type-no-subtype': { BODYSTRUCTURE: NO_TYPE },
  'type-words': { BODYSTRUCTURE: NO_TYPE },
  'type-empty': { BODYSTRUCTURE: NO_TYPE },
  'type-junk': { BODYSTRUCTURE: NO_TYPE },
  'type-empty-subtype': { BODYSTRUCTURE: NO_TYPE },
  'disposition-twice': { BODYSTRUCTURE: 'the first of repeated fields counts, with and without parameters' },
  'fields-folded': { ENVELOPE: 'a fold before the first word of In-Reply-To leaves no space behind' },
  'no-blank-line': { [FIELDS_ITEM]: 'RFC 9051 §6.4.5.1: no blank line where the mail has none' },
  'boundary-in-header': { 'BODY.PEEK[3.MIME]': BLANK_LINE },
  'message-empty': { 'BODY.PEEK[1.MIME]': BLANK_LINE },
  'addresses-100000': { ENVELOPE: 'MAX_ADDRESSES' },
  'long-line': { ENVELOPE: 'MAX_FIELD_OCTETS' },
};

/** Sections of mails with more parts than this are not compared one by one. */
const MAX_PARTS = 25;

t.test('ENVELOPE, BODYSTRUCTURE, header fields and sections are those of Dovecot', async (t) => {
  const server = await startDovecot();
  t.teardown(() => server.stop());
  const client = await server.imap();
  await client.ok('SELECT INBOX');
  let uid = 0;
  for (const [name, bytes] of CORPUS) {
    uid += 1;
    await client.ok('APPEND INBOX {}', bytes);
    const ours = answers(canonicalLines(bytes));
    const differing: string[] = [];
    for (const [item, expected] of ours) {
      const actual = await fetchItem(client, uid, item);
      const told = DIFFERENCES[name]?.[item];
      if (actual === expected) continue;
      differing.push(item);
      if (told === undefined) t.equal(shorten(expected), shorten(actual), `${name}: ${item}`);
    }
    for (const item of Object.keys(DIFFERENCES[name] ?? {})) {
      t.ok(differing.includes(item), `${name}: ${item} is listed as different and still is`);
    }
    const structure = await fetchItem(client, uid, 'BODYSTRUCTURE');
    t.equal(
      contentKeyOf(Buffer.from(structure, 'latin1')),
      contentKeyOf(Buffer.from(ours.get('BODYSTRUCTURE') ?? '', 'latin1')),
      `${name}: the content key does not depend on who wrote the structure`,
    );
    t.pass(`${name}: ${ours.size} items`);
  }
  await client.logout();
});

/** Our answers by fetch item; octets as a binary string, NIL as the empty string. */
function answers(bytes: Buffer): Map<string, string> {
  const root = parseMime(bytes);
  const header = bytes.subarray(0, root.bodyStart);
  const found = new Map<string, string>();
  found.set('ENVELOPE', canonical(envelopeWire(header).toString('latin1')));
  found.set('BODYSTRUCTURE', canonical(bodyStructureWire(bytes, root).toString('latin1')));
  found.set(FIELDS_ITEM, carried(filterHeader(header, FIELDS, false)));
  found.set(`BODY.PEEK[HEADER.FIELDS.NOT (${FIELDS.join(' ')})]`, carried(filterHeader(header, FIELDS, true)));
  const section = (path: readonly number[], text: SectionText): void => {
    const range = sectionRange(root, path, text);
    const spec = [...path, ...(text === null ? [] : [text])].join('.');
    found.set(`BODY.PEEK[${spec}]`, range === null ? '' : carried(bytes.subarray(range.start, range.end)));
  };
  for (const text of [null, 'HEADER', 'TEXT'] as const) section([], text);
  for (const path of paths(root).slice(0, MAX_PARTS)) {
    for (const text of [null, 'MIME', 'HEADER', 'TEXT'] as const) section(path, text);
  }
  return found;
}

/** The paths of all parts, and some that name none. */
function paths(root: MimePart): number[][] {
  const found: number[][] = [];
  const visit = (part: MimePart, path: readonly number[]): void => {
    if (found.length > MAX_PARTS) return;
    if (part.kind === 'multipart') {
      for (const [at, child] of part.children.entries()) {
        found.push([...path, at + 1]);
        visit(child, [...path, at + 1]);
      }
      found.push([...path, part.children.length + 1]);
      return;
    }
    if (path.length === 0) found.push([1]);
    const [message] = part.children;
    if (message !== undefined) visitMessage(message, path.length === 0 ? [1] : path);
    else found.push([...path, 2]);
  };
  const visitMessage = (message: MimePart, path: readonly number[]): void => {
    if (message.kind !== 'multipart') found.push([...path, 1]);
    visit(message, message.kind === 'multipart' ? path : [...path, 1]);
  };
  visit(root, []);
  return found;
}

/** As IMAP can carry it: no NUL. */
function carried(bytes: Buffer): string {
  return bytes.toString('latin1').replaceAll('\0', '\x80');
}

/** One item's value: a string's content, or the list as sent; NIL is the empty string. */
async function fetchItem(client: ImapClient, uid: number, item: string): Promise<string> {
  const { untagged } = await client.ok(`UID FETCH ${uid} (${item})`);
  const response = untagged.find((line) => line.includes(`UID ${uid} `) && line.includes(' FETCH ')) ?? '';
  const value = response.replace(/^\d+ FETCH \(UID \d+ (?:BODY\[[^\]]*\]|[A-Z]+) /, '').slice(0, -1);
  if (item === 'ENVELOPE' || item === 'BODYSTRUCTURE') return canonical(value);
  const literal = /^\{(\d+)\}\r\n/.exec(value);
  if (literal !== null) return value.slice(literal[0].length);
  return value === 'NIL' ? '' : value.replace(/^"|"$/g, '').replace(/\\(.)/g, '$1');
}

/** The list with every literal as a quoted string: whether a server quotes or counts is its own affair. */
function canonical(wire: string): string {
  let text = '';
  for (let at = 0; at < wire.length; ) {
    const head = /^\{(\d+)\}\r\n/.exec(wire.slice(at, at + 20));
    if (head !== null) {
      const start = at + head[0].length;
      at = start + Number(head[1]);
      text += JSON.stringify(wire.slice(start, at));
      continue;
    }
    const quoted = wire[at] === '"' ? /^"((?:[^"\\]|\\.)*)"/s.exec(wire.slice(at)) : null;
    if (quoted !== null) {
      at += quoted[0].length;
      text += JSON.stringify(quoted[1]!.replace(/\\(.)/gs, '$1'));
      continue;
    }
    text += wire[at];
    at += 1;
  }
  return text;
}

/** Around the place where a long text matters, so that a failure can be read. */
function shorten(text: string): string {
  return text.length <= 3000 ? text : `${text.slice(0, 1500)}…${text.length}…${text.slice(-1000)}`;
}
