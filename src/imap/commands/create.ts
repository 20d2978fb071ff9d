import { ROLE_ATTRIBUTES, ROLES, type Role } from '../../mail/ids.js';
import { isMergeboxError } from '../../util/errors.js';
import { parseCreate } from '../../wire/create.js';
import { formatText } from '../../wire/format.js';
import { AUTHENTICATED, defineCommand } from '../command.js';
import { no, ok } from '../reply.js';

/** RFC 9051 §6.3.4, with the special use of RFC 6154 §3. */
export const createCommand = defineCommand({
  name: 'CREATE',
  states: AUTHENTICATED,
  parse: parseCreate,
  async run(session, { mailbox, specialUse }) {
    const role = specialUse.length === 1 ? roleOf(specialUse[0]!) : undefined;
    if (specialUse.length > 0 && role === undefined) return no('No mailbox can have that special use', 'USEATTR');
    // RFC 8474 §4.2.
    try {
      return ok('CREATE completed', `MAILBOXID (${await session.user.create(mailbox, role)})`);
    } catch (error) {
      // RFC 6154 §5: the special use is what cannot be.
      if (role !== undefined && isMergeboxError(error, 'cannot')) return no(formatText(error.message), 'USEATTR');
      throw error;
    }
  },
});

function roleOf(attribute: string): Role | undefined {
  return ROLES.find((role) => ROLE_ATTRIBUTES[role]?.toLowerCase() === attribute.toLowerCase());
}
