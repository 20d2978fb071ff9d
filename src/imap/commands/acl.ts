import { formatAstring, formatMailbox } from '../../wire/format.js';
import type { CommandParser } from '../../wire/parser.js';
import { AUTHENTICATED, defineCommand, type TableCommand } from '../command.js';
import { no, ok } from '../reply.js';

/** RFC 4314 §3.5. */
export const myRightsCommand = defineCommand({
  name: 'MYRIGHTS',
  states: AUTHENTICATED,
  parse: expectName,
  async run(session, mailbox) {
    const rights = await session.user.rights(mailbox);
    session.out.utf8(`* MYRIGHTS ${formatMailbox(mailbox, session)} ${rights}\r\n`);
    return ok('MYRIGHTS completed');
  },
});

/** RFC 4314 §3.3: a mailbox is its owner's and nobody else's. */
export const getAclCommand = defineCommand({
  name: 'GETACL',
  states: AUTHENTICATED,
  parse: expectName,
  async run(session, mailbox) {
    const rights = await session.user.rights(mailbox);
    const owner = formatAstring(session.user.user);
    session.out.utf8(`* ACL ${formatMailbox(mailbox, session)} ${owner} ${rights}\r\n`);
    return ok('GETACL completed');
  },
});

/** RFC 4314 §3.4: the owner always has all of them; for others there are none to be given. */
export const listRightsCommand = defineCommand({
  name: 'LISTRIGHTS',
  states: AUTHENTICATED,
  parse(parser) {
    const mailbox = expectName(parser);
    parser.expectSp();
    return { mailbox, identifier: parser.expectAstringText('an identifier') };
  },
  async run(session, { mailbox, identifier }) {
    const rights = await session.user.rights(mailbox);
    const required = identifier === session.user.user ? rights : '""';
    const name = formatMailbox(mailbox, session);
    session.out.utf8(`* LISTRIGHTS ${name} ${formatAstring(identifier)} ${required}\r\n`);
    return ok('LISTRIGHTS completed');
  },
});

/** RFC 4314 §3.1, §3.2: mail is never shared with other users, so that there is nothing to grant or to take. */
export const setAclCommand = refused('SETACL', 3);
export const deleteAclCommand = refused('DELETEACL', 2);

function refused(name: string, words: number): TableCommand {
  return defineCommand({
    name,
    states: AUTHENTICATED,
    parse(parser) {
      const mailbox = expectName(parser);
      for (let word = 1; word < words; word += 1) {
        parser.expectSp();
        parser.expectAstring('an identifier or rights');
      }
      return mailbox;
    },
    async run(session, mailbox) {
      // Throws for one that does not exist.
      await session.user.rights(mailbox);
      return no('Mailboxes cannot be shared', 'NOPERM');
    },
  });
}

function expectName(parser: CommandParser): string {
  parser.expectSp();
  return parser.expectMailbox();
}
