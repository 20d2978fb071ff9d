import { isMergeboxError } from '../../util/errors.js';
import { formatAstring, formatLiteral, formatMailbox, formatString, literalHeader } from '../../wire/format.js';
import { type GetMetadataArguments, parseGetMetadata, parseSetMetadata } from '../../wire/metadata.js';
import { AUTHENTICATED, defineCommand } from '../command.js';
import { no, ok, type Reply } from '../reply.js';
import type { Session } from '../session.js';

/** RFC 5464 §4.2. */
export const getMetadataCommand = defineCommand({
  name: 'GETMETADATA',
  states: AUTHENTICATED,
  parse: parseGetMetadata,
  run: getMetadata,
});

async function getMetadata(session: Session, args: GetMetadataArguments): Promise<Reply> {
  const { mailbox, maxSize } = args;
  const known = await session.user.annotations(mailbox);
  const found = new Map<string, Buffer | null>();
  let longest = 0;
  for (const entry of wanted(args, [...known.keys()])) {
    const value = known.get(entry.toLowerCase()) ?? null;
    if (value !== null && maxSize !== null && value.length > maxSize) longest = Math.max(longest, value.length);
    else found.set(entry, value);
  }
  writeMetadata(session, mailbox, found);
  // RFC 5464 §4.2.1.
  return ok('GETMETADATA completed', longest > 0 ? `METADATA LONGENTRIES ${longest}` : undefined);
}

/** The named entries, and with DEPTH (RFC 5464 §4.2.2) those below them that exist. */
function wanted({ entries, depth }: GetMetadataArguments, known: readonly string[]): string[] {
  if (depth === 0) return [...entries];
  const names = new Map(
    known.filter((name) => entries.some((entry) => isWithin(name, entry, depth))).map((name) => [name, name]),
  );
  for (const entry of entries) names.set(entry.toLowerCase(), entry);
  return [...names.values()];
}

function isWithin(name: string, entry: string, depth: 1 | 'infinity'): boolean {
  const above = `${entry.toLowerCase()}/`;
  if (!name.startsWith(above)) return false;
  return depth === 'infinity' || !name.includes('/', above.length);
}

/** `* METADATA mailbox (entry value …)` (RFC 5464 §4.4.1). */
function writeMetadata(session: Session, mailbox: string, values: ReadonlyMap<string, Buffer | null>): void {
  if (values.size === 0) return;
  const { out } = session;
  out.utf8(`* METADATA ${formatMailbox(mailbox, session)} (`);
  let separator = '';
  for (const [entry, value] of values) {
    out.text(`${separator}${formatAstring(entry)} `);
    separator = ' ';
    if (value === null) out.text('NIL');
    else if (value.includes(0)) {
      out.text(literalHeader(value.length, { binary: true }));
      out.bytes(value);
    } else out.bytes(value.length > MAX_QUOTED ? formatLiteral(value) : formatString(value));
  }
  out.text(')\r\n');
}

/** Clients read values line by line when they are short. */
const MAX_QUOTED = 1_000;

/** RFC 5464 §4.3. */
export const setMetadataCommand = defineCommand({
  name: 'SETMETADATA',
  states: AUTHENTICATED,
  parse: parseSetMetadata,
  async run(session, { mailbox, changes }) {
    try {
      await session.user.annotate(mailbox, changes);
    } catch (error) {
      if (isMergeboxError(error, 'toobig'))
        return no('An annotation is too large', `METADATA MAXSIZE ${session.limits.annotationBytes}`);
      if (isMergeboxError(error, 'limit')) return no('The mailbox has too many annotations', 'METADATA TOOMANY');
      throw error;
    }
    return ok('SETMETADATA completed');
  },
});
