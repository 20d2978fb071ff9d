import { parseEnable } from '../../wire/enable.js';
import { AUTHENTICATED, defineCommand } from '../command.js';
import { ok } from '../reply.js';
import type { Session } from '../session.js';

/** What can be enabled, and what enabling does. */
const EXTENSIONS: ReadonlyMap<string, (session: Session) => void> = new Map([
  ['CONDSTORE', (session: Session) => session.enableCondstore()],
  ['QRESYNC', (session: Session) => session.enableQresync()],
  ['UTF8=ACCEPT', (session: Session) => session.enableUtf8()],
  ['IMAP4REV2', (session: Session) => session.enableRev2()],
]);

/** RFC 5161 §3.1: what we do not know is left out of the answer, not refused. */
export const enableCommand = defineCommand({
  name: 'ENABLE',
  states: AUTHENTICATED,
  parse: parseEnable,
  async run(session, names) {
    const known = [...new Set(names)].filter((name) => EXTENSIONS.has(name));
    session.out.text(`* ENABLED${known.map((name) => ` ${name.replace('REV', 'rev')}`).join('')}\r\n`);
    for (const name of known) EXTENSIONS.get(name)!(session);
    return ok('ENABLE completed');
  },
});
