import { createRequire } from 'node:module';
import type { Readable, Writable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import t from 'tap';
import { ContentBudget, withContent } from '../../src/submit/content.js';
import { DotStuffing } from '../../src/submit/dot-stuffing.js';

/** The parser of smtp-server, which its package does not export: the DATA path starts there. */
interface Parser extends Writable {
  oncommand: (command: Buffer, done: () => void) => void;
  startDataMode(maxBytes: number): Readable;
  continue(): void;
}

const library = createRequire(import.meta.url).resolve('smtp-server');
const { SMTPStream } = (await import(pathToFileURL(library.replace(/[^/]+$/, 'smtp-stream.js')).href)) as {
  SMTPStream: new () => Parser;
};

/** All sequences of CR, LF, NUL and "." up to that length. */
function* sequences(most: number): Generator<string> {
  let last = [''];
  for (let length = 1; length <= most; length += 1) {
    last = last.flatMap((each) => ['\r', '\n', '\0', '.'].map((octet) => each + octet));
    yield* last;
  }
}

interface Outcome {
  /** The content as it was taken, or null when it was refused. */
  readonly content: string | null;
  /** What was taken for commands behind it. */
  readonly commands: readonly string[];
}

/** What RFC 5321 says of the octets behind 354: only CRLF "." CRLF ends them, and bare CR, LF and NUL must not be. */
function oracle(octets: string): Outcome {
  const end = octets.startsWith('.\r\n') ? -2 : octets.indexOf('\r\n.\r\n');
  const raw = end === -2 ? '' : octets.slice(0, end + 2);
  const rest = octets.slice(end + 5);
  const clean = !/\0|\r(?!\n)|(?<!\r)\n/.test(raw);
  const commands = rest.split(/\r?\n/).slice(0, -1);
  // §4.5.2 takes the dot off any line that starts with one; a client that did not double it meant the line as it is.
  return { content: clean ? raw.replace(/(^|\r\n)\.\./g, '$1.') : null, commands };
}

/** The same octets through smtp-server's parser and ours, in these chunks. */
async function receive(chunks: readonly string[]): Promise<Outcome> {
  const parser = new SMTPStream();
  const commands: string[] = [];
  parser.oncommand = (command, done) => {
    commands.push(command.toString('latin1'));
    done();
  };
  const stream = parser.startDataMode(100_000);
  const options = {
    most: 100_000,
    budget: new ContentBudget(1_000_000),
    createFile: () => Promise.reject(new Error('no file is needed')),
  };
  const content = withContent(stream, options, async ({ bytes }) => bytes?.toString('latin1') ?? '').catch(
    (error: { responseCode?: number }) => {
      if (error.responseCode !== 554) throw error;
      return null;
    },
  );
  const answered = content.finally(() => parser.continue());
  for (const chunk of chunks) {
    await new Promise<void>((resolve) => parser.write(Buffer.from(chunk, 'latin1'), () => resolve()));
  }
  return { content: await answered, commands };
}

/** All ways to cut the octets between `from` and `to`, both ends included. */
function* cuts(octets: string, from: number, to: number): Generator<string[]> {
  const places = to - from + 1;
  for (let mask = 0; mask < 2 ** places; mask += 1) {
    const chunks: string[] = [];
    let start = 0;
    for (let place = 0; place < places; place += 1) {
      if ((mask & (1 << place)) === 0) continue;
      chunks.push(octets.slice(start, from + place));
      start = from + place;
    }
    chunks.push(octets.slice(start));
    yield chunks.filter((chunk) => chunk !== '');
  }
}

const SMUGGLED = 'MAIL FROM:<evil@x.example>\r\nRCPT TO:<victim@y.example>\r\nDATA\r\nevil\r\n';

t.test('no end of data but CRLF "." CRLF ends a message: all of {CR, LF, NUL, "."} up to five octets', async (t) => {
  let messages = 0;
  let refused = 0;
  let runs = 0;
  for (const sequence of sequences(5)) {
    const octets = `a${sequence}${SMUGGLED}\r\n.\r\n`;
    const expected = oracle(octets);
    if (expected.content === null) refused += 1;
    else messages += 1;
    // Up to three octets in every way; above that in one, in two at every place, and octet by octet.
    const all = sequence.length <= 3;
    for (const chunks of cuts(octets, 1, 1 + sequence.length)) {
      if (!all && chunks.length > 2 && chunks.length < sequence.length + 2) continue;
      runs += 1;
      const found = await receive(chunks);
      if (found.content !== expected.content || found.commands.join('|') !== expected.commands.join('|')) {
        t.fail(`${JSON.stringify(chunks)}: ${JSON.stringify(found)}`);
        return;
      }
    }
  }
  t.comment(`${messages} sequences are one message, ${refused} are refused, ${runs} runs`);
  t.equal(messages + refused, 4 + 16 + 64 + 256 + 1024);
  t.equal(messages, 1 + 2 + 3 + 5 + 8, 'what CRLF and dots alone make');
});

t.test('what was taken goes out so that the next server sees exactly that message', async (t) => {
  for (const sequence of sequences(5)) {
    for (const octets of [`${sequence}b\r\n.\r\n`, `a${sequence}\r\n.\r\n`, `a\r\n${sequence}b\r\n.\r\n`]) {
      const { content } = oracle(octets);
      if (content === null) continue;
      const stuffing = new DotStuffing();
      const sent = Buffer.concat([...stuffing.blocks(Buffer.from(content, 'latin1')), stuffing.end()]).toString(
        'latin1',
      );
      t.same(oracle(sent), { content, commands: [] }, JSON.stringify(octets));
    }
  }
});
