import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { replyToError } from '../../src/imap/reply.js';
import { type ErrorCode, MergeboxError } from '../../src/util/errors.js';
import { silentLog } from '../../src/util/log.js';
import { repositoryRoot } from '../harness/root.js';

const read = (file: string): string => readFileSync(join(repositoryRoot(), file), 'utf8');

/** The members of `ErrorCode`, from its source: a type leaves nothing to look at when the test runs. */
function codesInSource(): string[] {
  const [, union = ''] = /export type ErrorCode =([\s\S]*?'[a-z]+');/.exec(read('src/util/errors.ts')) ?? [];
  return [...union.matchAll(/^ *\| '([a-z]+)'/gm)].map(([, code]) => code!);
}

interface Row {
  readonly code: string;
  readonly imap: string;
  readonly cells: readonly string[];
}

function rowsInDocs(): Row[] {
  return [...read('docs/errors.md').matchAll(/^\| `([a-z]+)` \| (.*) \|$/gm)].map(([, code, rest]) => {
    const cells = rest!.split(' | ');
    return { code: code!, imap: cells[0]!, cells };
  });
}

t.test('docs/errors.md has every ErrorCode, each once, and no other', async (t) => {
  const codes = codesInSource();
  t.ok(codes.length > 10, `${codes.length} codes were found in the source`);
  t.same(
    rowsInDocs().map(({ code }) => code),
    codes,
    'in the order of the source',
  );
});

t.test('docs/errors.md says of each code what happened and what to do', async (t) => {
  for (const { code, cells } of rowsInDocs()) {
    t.equal(cells.length, 3, code);
    for (const cell of cells.slice(1)) t.match(cell, /^[A-Z`].*\.$/, `${code}: a sentence`);
  }
});

t.test('docs/errors.md names the response code that a mail client gets', async (t) => {
  for (const { code, imap } of rowsInDocs()) {
    const reply = replyToError(new MergeboxError(code as ErrorCode, 'doing something'), silentLog());
    t.same([reply.status, reply.code], ['NO', imap], code);
  }
});
