import { createServer } from 'node:net';
import type { ListenerConfig } from '../config/config.js';
import { ADDRESSES, type SampleAccount } from './sample-accounts.js';

const HOST = '127.0.0.1';

/** Ports that are easy to remember and need no privilege; a free one is taken where another program has it. */
export const DEMO_PORTS = { imaps: 1993, imap: 1143, smtps: 1465, submission: 1587, admin: 1980 } as const;

export type DemoPorts = { readonly [K in keyof typeof DEMO_PORTS]: number };

/** The ports to listen on: the usual ones, or 0 (any free one) for those that are taken now. */
export async function choosePorts(): Promise<DemoPorts> {
  const names = Object.keys(DEMO_PORTS) as (keyof DemoPorts)[];
  const chosen = await Promise.all(
    names.map(async (name) => [name, (await isFree(DEMO_PORTS[name])) ? DEMO_PORTS[name] : 0] as const),
  );
  return Object.fromEntries(chosen) as DemoPorts;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, HOST, () => server.close(() => resolve(true)));
  });
}

export interface DemoConfigOptions {
  readonly passwordHash: string;
  readonly ports: DemoPorts;
  readonly accounts: readonly SampleAccount[];
}

/** The configuration file of the demo: an ordinary one, so that every command works on it; without `tls`, so that a certificate is made. */
export function demoConfig({ passwordHash, ports, accounts }: DemoConfigOptions): Record<string, unknown> {
  const listener = (port: number, tls: ListenerConfig['tls']) => ({ host: HOST, port, tls });
  return {
    dataDir: './data',
    imap: { listeners: [listener(ports.imaps, 'implicit'), listener(ports.imap, 'starttls')] },
    submission: {
      hostname: 'mergebox.example',
      listeners: [listener(ports.smtps, 'implicit'), listener(ports.submission, 'starttls')],
    },
    admin: { host: HOST, port: ports.admin },
    users: [
      {
        name: 'alice',
        passwordHash,
        defaultAccount: 'home',
        accounts: accounts.map(({ id, host, imapPort, smtpPort, username, password }) => ({
          id,
          host,
          port: imapPort,
          tls: 'none',
          auth: { username, password },
          addresses: ADDRESSES[id],
          // The sample servers push what happens in INBOX; other folders are looked at this often.
          pollSeconds: 5,
          smtp: { host, port: smtpPort, tls: 'none' },
        })),
      },
    ],
  };
}
