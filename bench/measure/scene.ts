import { type Dovecot, startDovecot } from '../../test/harness/dovecot.js';
import { Mergebox } from '../../test/harness/mergebox.js';
import { distinctMails } from '../mail/generator.js';
import { writeMaildirs } from '../mail/maildir.js';

export interface SceneOptions {
  readonly mails: number;
  readonly common: number;
  readonly seed: number;
  readonly maxAttachment: number;
}

/** Two upstreams, the Mergebox over them (not started yet), and a Dovecot with the same merged mails in one INBOX. */
export interface Scene {
  readonly upstreams: readonly [Dovecot, Dovecot];
  readonly reference: Dovecot;
  readonly box: Mergebox;
  readonly distinct: number;
  stop(): Promise<void>;
}

export const USER = 'alice';
export const BOX_PASSWORD = 'bench';
export const UPSTREAM_PASSWORD = 'secret';

export async function buildScene(options: SceneOptions): Promise<Scene> {
  const [work, home, reference] = await Promise.all([startDovecot(), startDovecot(), startDovecot()]);
  writeMaildirs(options, [work.maildir(USER), home.maildir(USER)], reference.maildir(USER));
  await Promise.all([work, home, reference].map((server) => server.adopt(server.maildir(USER))));
  const box = await Mergebox.create({
    users: [
      {
        name: USER,
        password: BOX_PASSWORD,
        accounts: [
          { id: 'work', server: work, pollSeconds: 3600 },
          { id: 'home', server: home, pollSeconds: 3600 },
        ],
      },
    ],
    overrides: { limits: { firstSyncSeconds: 600 } },
    readyTimeoutMs: 600_000,
  });
  return {
    upstreams: [work, home],
    reference,
    box,
    distinct: distinctMails(options),
    stop: async () => {
      await box.stop();
      await Promise.all([work.stop(), home.stop(), reference.stop()]);
    },
  };
}
