import { hashPassword } from '../../src/auth/password.js';
import { Mergebox } from '../../test/harness/mergebox.js';

export const LOGIN = { user: 'bench', password: 'correct horse' };
export const SENDER = 'alice@bench.example';

/** A Mergebox whose one account lives here and sends through that port; nothing is started. */
export async function makeDaemon(relayPort: number, sent: 'always' | 'never' = 'never'): Promise<Mergebox> {
  const listener = { host: '127.0.0.1', port: 0, tls: 'none' };
  return Mergebox.create({
    users: [],
    overrides: {
      imap: { listeners: [listener] },
      submission: { listeners: [listener], hostname: 'bench.example' },
      users: [
        {
          name: LOGIN.user,
          passwordHash: await hashPassword(LOGIN.password, { ln: 10, r: 8, p: 1 }),
          accounts: [
            {
              id: 'out',
              protocol: 'local',
              addresses: [SENDER],
              sent,
              smtp: { host: '127.0.0.1', port: relayPort, tls: 'none', auth: false, connections: 8 },
            },
          ],
        },
      ],
    },
  });
}
