import { type Dovecot, startDovecot } from '../../test/harness/dovecot.js';
import { Mergebox } from '../../test/harness/mergebox.js';
import { distinctMails } from '../mail/generator.js';
import { writeMaildirs } from '../mail/maildir.js';

export interface SceneOptions {
  readonly accounts: number;
  readonly mails: number;
  readonly common: number;
  readonly seed: number;
  readonly maxAttachment: number;
}

/** The upstreams, the Mergebox over them (not started yet), and a Dovecot with the same merged mails in one INBOX. */
export interface Scene {
  readonly upstreams: readonly Dovecot[];
  /** Copies at all upstreams together. */
  readonly copies: number;
  readonly reference: Dovecot;
  readonly box: Mergebox;
  readonly distinct: number;
  stop(): Promise<void>;
}

export const USER = 'alice';
export const BOX_PASSWORD = 'bench';
export const UPSTREAM_PASSWORD = 'secret';

export async function buildScene(options: SceneOptions): Promise<Scene> {
  const upstreams = await Promise.all(Array.from({ length: options.accounts }, () => startDovecot()));
  const reference = await startDovecot();
  const paths = upstreams.map((server) => server.maildir(USER));
  writeMaildirs(options, paths, reference.maildir(USER));
  await Promise.all([...upstreams, reference].map((server) => server.adopt(server.maildir(USER))));
  const box = await Mergebox.create({
    users: [
      {
        name: USER,
        password: BOX_PASSWORD,
        accounts: upstreams.map((server, index) => ({ id: `account${index + 1}`, server, pollSeconds: 3600 })),
      },
    ],
    overrides: { limits: { firstSyncSeconds: 600 } },
    readyTimeoutMs: 600_000,
  });
  return {
    upstreams,
    copies: options.accounts * options.mails,
    reference,
    box,
    distinct: distinctMails(options),
    stop: async () => {
      await box.stop();
      await Promise.all([...upstreams, reference].map((server) => server.stop()));
    },
  };
}
