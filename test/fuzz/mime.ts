import { bodyStructureWire } from '../../src/mail/body-structure.js';
import { envelopeWire } from '../../src/mail/envelope.js';
import { deriveMetadata } from '../../src/mail/metadata.js';
import { parseMime } from '../../src/mail/mime.js';
import type { MimePart } from '../../src/mail/mime-part.js';
import { sectionRange } from '../../src/mail/mime-section.js';
import { structureLeaves } from '../../src/mail/mime-structure-reader.js';
import { previewOf } from '../../src/mail/preview.js';
import { searchText } from '../../src/mail/text.js';
import { bodyFromStructure } from '../../src/wire/body.js';
import { CORPUS } from '../unit/mail-corpus.js';
import { type FuzzReport, fuzz, mutate, random } from './random.js';

const BITS = [
  '\r\n',
  '\n',
  '\r',
  '\r\n\r\n',
  '\r\n ',
  '--',
  '\r\n--b\r\n',
  '--b--\r\n',
  'Content-Type: multipart/mixed; boundary=b\r\n',
  'Content-Type: message/rfc822\r\n\r\n',
  'Content-Transfer-Encoding: base64\r\n',
  "Content-Disposition: attachment; filename*0*=utf-8''a%20b; filename*1=\"c\r\n",
  'From: "a\\"b" <@r:x@y>, g: c@d;\r\n',
  'Subject: =?utf-8?q?=41=?= =?utf-8?b?QQ?=\r\n',
  'Date: Fri, 31 Feb 99 25:61 XYZ (c\r\n',
  'References: <a@b> <c\r\n',
  '(',
  ')',
  '"',
  '\\',
  '<',
  '>',
  ';',
  ':',
  '=',
  '?=',
  '\0',
  '\xff',
  '\xe2\x82',
];

/** Mails of the corpus that are small enough to be changed many times. */
const MAX_SEED = 2_048;

/** Mutated mails through the MIME reader and everything that is derived from what it reads. */
export async function fuzzMime(inputs: number, seed: number): Promise<FuzzReport> {
  const next = random(seed);
  const seeds = [...CORPUS.values()]
    .filter(({ length }) => length <= MAX_SEED)
    .map((bytes) => bytes.toString('latin1'));
  return fuzz({
    inputs,
    make: () => Buffer.from(mutate(seeds[next(seeds.length)]!, BITS, next), 'latin1'),
    show: (bytes) => bytes.toString('base64'),
    feed: (bytes) => read(bytes, [1 + next(3), ...(next(2) === 0 ? [] : [1 + next(3)])]),
  });
}

function read(bytes: Buffer, path: readonly number[]): string {
  const root = parseMime(bytes);
  checkPart(root, 0, bytes.length);
  const structure = bodyStructureWire(bytes, root);
  if (structureLeaves(structure) === null) throw new Error('our own BODYSTRUCTURE cannot be read');
  if (bodyFromStructure(structure) === null) throw new Error('no BODY of our own BODYSTRUCTURE');
  envelopeWire(bytes.subarray(0, root.bodyStart));
  previewOf(bytes, root);
  for (const text of [null, 'HEADER', 'TEXT', 'MIME'] as const) {
    const range = sectionRange(root, path, text);
    if (range !== null && !(range.start >= 0 && range.start <= range.end && range.end <= bytes.length)) {
      throw new Error(`section ${path.join('.')} ${text} is ${range.start} to ${range.end} of ${bytes.length}`);
    }
  }
  for (const piece of searchText(bytes, root, { header: true, overlap: 3 }))
    if (typeof piece !== 'string') return 'odd';
  deriveMetadata(bytes, 'content');
  return root.kind;
}

/** Parts lie inside each other and behind each other. */
function checkPart(part: MimePart, from: number, to: number): void {
  const { headerStart, bodyStart, bodyEnd } = part;
  if (headerStart < from || bodyStart < headerStart || bodyEnd < bodyStart || bodyEnd > to) {
    throw new Error(`a part from ${headerStart} over ${bodyStart} to ${bodyEnd} within ${from} to ${to}`);
  }
  let behind = bodyStart;
  for (const child of part.children) {
    checkPart(child, behind, bodyEnd);
    behind = child.bodyEnd;
  }
}
