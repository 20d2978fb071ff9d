import fc from 'fast-check';
import t from 'tap';
import { bodyStructureWire } from '../../src/mail/body-structure.js';
import { parseMime } from '../../src/mail/mime.js';
import { MailSkeleton } from '../../src/mail/skeleton.js';
import { CORPUS } from './mail-corpus.js';

const whole = (bytes: Buffer): string => bodyStructureWire(bytes, parseMime(bytes)).toString('latin1');

/** What the skeleton says of a mail that comes in pieces of these sizes, over and over. */
function pieced(
  bytes: Buffer,
  sizes: readonly number[],
): { structure: string | undefined; header: Buffer; size: number } {
  const skeleton = new MailSkeleton();
  for (let at = 0, n = 0; at < bytes.length; n += 1) {
    const end = at + sizes[n % sizes.length]!;
    skeleton.write(bytes.subarray(at, end));
    at = end;
  }
  return { structure: skeleton.structure()?.toString('latin1'), header: skeleton.header, size: skeleton.size };
}

t.test('MailSkeleton: the structure of every mail of the corpus, whatever the pieces', async (t) => {
  for (const [name, bytes] of CORPUS) {
    const expected = whole(bytes);
    for (const sizes of [[1], [2, 3], [7], [1_000], [bytes.length || 1]]) {
      if (sizes[0] === 1 && bytes.length > 200_000) continue;
      const got = pieced(bytes, sizes);
      t.equal(got.structure, expected, `${name} in pieces of ${sizes}`);
      t.equal(got.size, bytes.length, `${name}: size`);
    }
    t.same(pieced(bytes, [64]).header, bytes.subarray(0, parseMime(bytes).bodyStart), `${name}: header`);
  }
});

t.test('MailSkeleton: the structure of any text of boundaries, headers and line ends', async () => {
  const line = fc.constantFrom(
    ...['--b', '--b--', '--', '--c', '', 'a', 'a: b', 'text', '-', ' x'],
    ...['Content-Type: multipart/mixed; boundary=b', 'Content-Type: multipart/digest; boundary=c'],
    ...['Content-Type: message/rfc822', 'Content-Type: text/html', 'Content-Type: application/x'],
  );
  const mail = fc.array(fc.tuple(line, fc.constantFrom('\n', '\r\n', '\r', '')), { maxLength: 40 });
  const sizes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(mail, sizes, (lines, pieces) => {
      const text = lines.map(([content, end]) => content + end).join('');
      const bytes = Buffer.from(`Content-Type: multipart/mixed; boundary=b\r\n\r\n${text}`);
      return pieced(bytes, pieces).structure === whole(bytes);
    }),
    { numRuns: 3_000 },
  );
});

t.test('MailSkeleton: holds little of a large mail, and gives up on one that is all headers', async (t) => {
  const line = Buffer.from(`${'A'.repeat(76)}\r\n`.repeat(1_000));
  const skeleton = new MailSkeleton();
  skeleton.write(
    Buffer.from('Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\n'),
  );
  for (let n = 0; n < 500; n += 1) skeleton.write(line);
  skeleton.write(Buffer.from('--b--\r\n'));
  t.match(skeleton.structure()?.toString(), /"base64" 38999998 499999/);
  const hostile = new MailSkeleton();
  for (let n = 0; n < 100; n += 1) hostile.write(line);
  t.equal(hostile.structure(), null);
  t.ok(hostile.header.length <= 4 << 20);
});
