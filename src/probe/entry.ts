import type { ProbeReport } from './probe.js';
import type { Finding, Service } from './types.js';

/** An account as the configuration file has it, in the file's own keys. */
export interface AccountEntry {
  readonly id: string;
  readonly protocol: 'imap' | 'pop3';
  readonly host: string;
  readonly port: number;
  readonly tls: 'implicit' | 'starttls';
  readonly ca?: string;
  readonly auth: { readonly username: string; readonly password: { readonly env: string } | { readonly file: string } };
  readonly addresses: readonly string[];
  readonly smtp?: EntrySmtp;
}

interface EntrySmtp {
  readonly host: string;
  readonly port: number;
  readonly tls: 'implicit' | 'starttls';
  readonly ca?: string;
  readonly auth?: AccountEntry['auth'];
}

/** The place to use for each service: it works, and it may be trusted. */
export function chosen(report: ProbeReport): { incoming: Finding | null; smtp: Finding | null } {
  const best = (service: Service): Finding | null =>
    report.findings.find(({ spoken, trust }) => spoken?.service === service && trust === 'trusted') ?? null;
  return { incoming: best('imap') ?? best('pop3'), smtp: best('smtp') };
}

/** The account's entry; null when there is no server to read mail from. `ca` is a path for the file. */
export function accountEntry(
  report: ProbeReport,
  id: string,
  password: AccountEntry['auth']['password'],
  ca: string | null,
): AccountEntry | null {
  const { incoming, smtp } = chosen(report);
  if (incoming === null) return null;
  const authority = ca === null ? {} : { ca };
  const username = nameAt(incoming, report);
  const outgoingName = smtp === null ? username : nameAt(smtp, report);
  return {
    id,
    protocol: incoming.spoken?.service === 'pop3' ? 'pop3' : 'imap',
    host: incoming.host,
    port: incoming.port,
    tls: incoming.tls,
    ...authority,
    auth: { username, password },
    addresses: [report.address.address],
    ...(smtp === null
      ? {}
      : {
          smtp: {
            host: smtp.host,
            port: smtp.port,
            tls: smtp.tls,
            ...authority,
            ...(outgoingName === username ? {} : { auth: { username: outgoingName, password } }),
          },
        }),
  };
}

function nameAt({ login, username }: Finding, { address }: ProbeReport): string {
  return login.result === 'accepted' ? login.username : (username ?? address.address);
}

/** An id that is not taken: the first label of the domain that tells something, numbered where it has to be. */
export function freeId(domain: string, taken: readonly string[]): string {
  const label = domain.split('.').find((each) => each !== 'mail') ?? domain;
  const base = label.replace(/[^A-Za-z0-9_-]/g, '').slice(0, 28) || 'account';
  const used = new Set(taken.map((id) => id.toLowerCase()));
  for (let number = 1; ; number += 1) {
    const id = number === 1 ? base : `${base}-${number}`;
    if (!used.has(id.toLowerCase())) return id;
  }
}
