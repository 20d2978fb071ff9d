import { MAX_OPTIONS } from '../../wire/limits.js';
import { ParseError } from '../../wire/parse-error.js';
import { defineCommand, SELECTED } from '../command.js';
import { ok } from '../reply.js';

/** RFC 5267 §4.3.5. */
export const cancelUpdateCommand = defineCommand({
  name: 'CANCELUPDATE',
  states: SELECTED,
  parse(parser): string[] {
    const tags: string[] = [];
    do {
      parser.expectSp();
      if (tags.length === MAX_OPTIONS) throw new ParseError(`More than ${MAX_OPTIONS} tags`);
      tags.push(parser.expectString('a tag').toString('latin1'));
    } while (!parser.atEnd());
    return tags;
  },
  async run(session, tags) {
    const { contexts } = session.selected;
    const unknown = tags.find((tag) => !contexts.has(tag));
    if (unknown !== undefined) throw new ParseError('No updates are told under that tag');
    for (const tag of tags) contexts.delete(tag);
    return ok('CANCELUPDATE completed');
  },
});
