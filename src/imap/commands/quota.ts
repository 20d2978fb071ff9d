import { formatAstring, formatMailbox } from '../../wire/format.js';
import { MAX_OPTIONS } from '../../wire/limits.js';
import type { CommandParser } from '../../wire/parser.js';
import type { QuotaRoot } from '../backend.js';
import { AUTHENTICATED, defineCommand } from '../command.js';
import { no, ok } from '../reply.js';
import type { Session } from '../session.js';

/** RFC 9208 §4.1.2. */
export const getQuotaCommand = defineCommand({
  name: 'GETQUOTA',
  states: AUTHENTICATED,
  parse: expectRoot,
  async run(session, name) {
    const root = (await session.user.quota(null)).find((each) => each.name === name);
    if (root === undefined) return no('There is no such quota root', 'NONEXISTENT');
    writeQuota(session, root);
    return ok('GETQUOTA completed');
  },
});

/** RFC 9208 §4.1.3; a mailbox without any quota has no roots, which is no error. */
export const getQuotaRootCommand = defineCommand({
  name: 'GETQUOTAROOT',
  states: AUTHENTICATED,
  parse(parser) {
    parser.expectSp();
    return parser.expectMailbox();
  },
  async run(session, mailbox) {
    const roots = await session.user.quota(mailbox);
    const names = roots.map(({ name }) => ` ${formatAstring(name)}`).join('');
    session.out.utf8(`* QUOTAROOT ${formatMailbox(mailbox, session)}${names}\r\n`);
    for (const root of roots) writeQuota(session, root);
    return ok('GETQUOTAROOT completed');
  },
});

/** RFC 9208 §4.1.1, which only the accounts' servers could do. */
export const setQuotaCommand = defineCommand({
  name: 'SETQUOTA',
  states: AUTHENTICATED,
  parse(parser) {
    const root = expectRoot(parser);
    parser.expectSp();
    parser.expectList('the resource limits', { min: 0, max: MAX_OPTIONS }, () => {
      parser.expectAtom('a resource');
      parser.expectSp();
      parser.expectNumber64('a limit');
    });
    return root;
  },
  run: async () => no('Quotas are those of the accounts, set them there', 'NOPERM'),
});

function expectRoot(parser: CommandParser): string {
  parser.expectSp();
  return parser.expectAstringText('a quota root');
}

/** RFC 9208 §4.2.1. */
function writeQuota(session: Session, { name, resources }: QuotaRoot): void {
  const list = resources.map((each) => `${each.name} ${each.used} ${each.limit}`).join(' ');
  session.out.utf8(`* QUOTA ${formatAstring(name)} (${list})\r\n`);
}
