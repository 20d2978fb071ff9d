import { decodeUtf8 } from '../../wire/cursor.js';
import { ParseError } from '../../wire/parse-error.js';
import { decodeBase64 } from '../../wire/parser.js';
import { defineCommand, UNAUTHENTICATED } from '../command.js';
import { logIn } from '../log-in.js';
import { no, type Reply } from '../reply.js';
import type { Session } from '../session.js';

/** Octets of one response line: names and passwords of 255 octets in base64 need a thousand. */
const MAX_RESPONSE_LINE = 8_192;

/** RFC 9051 §6.2.2, with the initial response of SASL-IR (RFC 4959). */
export const authenticateCommand = defineCommand({
  name: 'AUTHENTICATE',
  states: UNAUTHENTICATED,
  parse(parser) {
    parser.expectSp();
    const mechanism = parser.expectAtom('a mechanism').toUpperCase();
    return { mechanism, initial: parser.sp() ? parser.expectBase64() : null };
  },
  async run(session, { mechanism, initial }) {
    // No challenge before TLS: the answer to it would be the password.
    if (!session.io.loginAllowed) return no('Use STARTTLS first', 'PRIVACYREQUIRED');
    if (mechanism === 'PLAIN') return plain(session, initial ?? (await ask(session, '')));
    if (mechanism === 'LOGIN') return login(session, initial);
    return no('Unknown mechanism', 'CANNOT');
  },
});

/** `[authzid] NUL authcid NUL passwd` (RFC 4616 §2). */
async function plain(session: Session, response: Buffer): Promise<Reply> {
  const [authzid, authcid, password, ...rest] = decodeUtf8(response, 'the response').split('\0');
  if (authzid === undefined || !authcid || password === undefined || rest.length > 0) {
    throw new ParseError('Expected authzid NUL authcid NUL password');
  }
  // Nobody may act for somebody else (RFC 4616 §2).
  if (authzid !== '' && authzid !== authcid) return no('You may only log in as yourself', 'AUTHORIZATIONFAILED');
  return logIn(session, authcid, password);
}

/** The LOGIN mechanism: two prompts, whose text clients take for granted. */
async function login(session: Session, initial: Buffer | null): Promise<Reply> {
  const user = initial ?? (await ask(session, 'Username:'));
  const password = await ask(session, 'Password:');
  return logIn(session, decodeUtf8(user, 'the user name'), decodeUtf8(password, 'the password'));
}

/** One challenge and its response; `*` takes the command back (RFC 9051 §6.2.2). */
async function ask(session: Session, challenge: string): Promise<Buffer> {
  session.out.text(`+ ${Buffer.from(challenge).toString('base64')}\r\n`);
  const line = await session.io.readLine(MAX_RESPONSE_LINE);
  if (line.toString('latin1') === '*') throw new ParseError('Cancelled');
  const response = decodeBase64(line);
  if (response === null) throw new ParseError('Expected base64');
  return response;
}
