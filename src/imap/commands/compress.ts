import { AUTHENTICATED, defineCommand } from '../command.js';
import { no, ok } from '../reply.js';

/** RFC 4978 §3. */
export const compressCommand = defineCommand({
  name: 'COMPRESS',
  states: AUTHENTICATED,
  parse(parser): string {
    parser.expectSp();
    return parser.expectAtom('an algorithm').toUpperCase();
  },
  async run(session, algorithm) {
    if (algorithm !== 'DEFLATE') return no('Only DEFLATE is known', 'CANNOT');
    if (session.io.compressed) return no('DEFLATE is active already', 'COMPRESSIONACTIVE');
    return { ...ok('DEFLATE active'), after: () => session.io.compress() };
  },
});
