import { defineCommand, UNAUTHENTICATED } from '../command.js';
import { logIn } from '../log-in.js';

/** RFC 9051 §6.2.3. */
export const loginCommand = defineCommand({
  name: 'LOGIN',
  states: UNAUTHENTICATED,
  parse(parser) {
    parser.expectSp();
    const user = parser.expectAstringText('a user name');
    parser.expectSp();
    return { user, password: parser.expectAstringText('a password') };
  },
  run: (session, { user, password }) => logIn(session, user, password),
});
