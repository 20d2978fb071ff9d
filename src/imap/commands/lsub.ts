import { formatMailbox } from '../../wire/format.js';
import { parseLsub } from '../../wire/list.js';
import { AUTHENTICATED, defineCommand } from '../command.js';
import { ListPattern } from '../list-pattern.js';
import { ok } from '../reply.js';
import { parentNames, sortMailboxes } from './list.js';

/** RFC 3501 §6.3.9. */
export const lsubCommand = defineCommand({
  name: 'LSUB',
  states: AUTHENTICATED,
  parse: parseLsub,
  async run(session, { reference, pattern }) {
    if (pattern === '') {
      session.out.text('* LSUB (\\Noselect) "/" ""\r\n');
      return ok('LSUB completed');
    }
    const wanted = new ListPattern(reference + pattern);
    const infos = sortMailboxes(await session.user.list()).filter(({ subscribed }) => subscribed);
    const names = new Map(infos.filter(({ name }) => wanted.matches(name)).map(({ name }) => [name, '']));
    // A `%` stops above subscribed names: their parent stands for them, as \Noselect when it is not subscribed itself.
    const hidden = infos.filter(({ name }) => !names.has(name)).map(({ name }) => name);
    for (const parent of parentNames(hidden)) {
      if (wanted.matches(parent) && !names.has(parent)) names.set(parent, '\\Noselect');
    }
    for (const [name, attribute] of names) {
      session.out.utf8(`* LSUB (${attribute}) "/" ${formatMailbox(name, session)}\r\n`);
    }
    return ok('LSUB completed');
  },
});
