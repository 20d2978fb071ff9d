import { no, ok, type Reply } from './reply.js';
import type { Session } from './session.js';

/** Checks a name and password, however they were sent; says nothing about which of them is wrong. */
export async function logIn(session: Session, name: string, password: string): Promise<Reply> {
  const { backend, log } = session.services;
  const { peer } = session.io;
  // RFC 9051 §6.2.3, RFC 5530 §3: nothing that came in clear is looked at.
  if (!session.io.loginAllowed) return no('Use STARTTLS first', 'PRIVACYREQUIRED');
  const user = await backend.login(name, password, peer);
  if (user === null) {
    session.loginFailures += 1;
    // Without the name: people type passwords there.
    log.info({ peer }, 'IMAP login failed');
    return no('Wrong user name or password', 'AUTHENTICATIONFAILED');
  }
  if (!session.io.admitUser(user.user)) {
    user.close();
    return no('Too many connections of this user', 'LIMIT');
  }
  session.login(user);
  log.info({ peer, user: user.user }, 'IMAP login');
  return ok('Logged in', `CAPABILITY ${session.capabilities()}`);
}
