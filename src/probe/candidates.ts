import { errorText } from '../util/errors.js';
import { asciiHost, type MailAddress } from './address.js';
import { findAutoconfig } from './autoconfig.js';
import { PROBE_LIMITS } from './limits.js';
import { candidatesOf, providerBehind, providerOf } from './providers.js';
import type { Candidate, Reach, Resolver, Service } from './types.js';

/** RFC 6186 §3.1–3.3, RFC 8314 §5.1; those with TLS from the start first (RFC 8314 §3). */
const SRV_NAMES: readonly (readonly [string, Service, Candidate['tls']])[] = [
  ['_imaps._tcp', 'imap', 'implicit'],
  ['_imap._tcp', 'imap', 'starttls'],
  ['_pop3s._tcp', 'pop3', 'implicit'],
  ['_pop3._tcp', 'pop3', 'starttls'],
  ['_submissions._tcp', 'smtp', 'implicit'],
  ['_submission._tcp', 'smtp', 'starttls'],
];

export interface Collected {
  readonly candidates: readonly Candidate[];
  /** Services that the domain declares not to have (RFC 6186 §3.4: a target of "."): nothing is guessed for them. */
  readonly declined: ReadonlySet<Service>;
  /** What a person should know, such as that a provider wants an app password. */
  readonly notes: readonly string[];
}

/** Everything that somebody says about the domain's servers; each is asked at the same time. */
export async function collect(address: MailAddress, { resolver, get }: Reach): Promise<Collected> {
  const notes: string[] = [];
  const note = (text: string): void => void notes.push(text);
  const known = providerOf(address.domain);
  if (known !== undefined) {
    if (known.note !== undefined) note(`${known.name}: ${known.note}`);
    return { candidates: candidatesOf(known, address.local, 'known provider'), declined: new Set(), notes };
  }
  const [document, records, customer] = await Promise.all([
    findAutoconfig(address, get, note),
    srvRecords(address.domain, resolver, note),
    hostedBy(address, resolver, note),
  ]);
  const declined = new Set(
    SRV_NAMES.map(([, service]) => service).filter(
      (service) =>
        records.declined.has(service) && !records.candidates.some((candidate) => candidate.service === service),
    ),
  );
  const candidates = [...(document?.candidates ?? []), ...records.candidates, ...customer];
  return { candidates: distinct(candidates), declined, notes };
}

/** The places on a host that a person named; a port of theirs may belong to any of the services. */
export function placesAt(host: string, port: number | null): Candidate[] {
  const named = (['implicit', 'starttls'] as const).map(
    (tls): Candidate => ({ service: 'imap', host, port: port ?? 0, tls, source: 'named host', username: null }),
  );
  const usual = onHosts(port === null ? ['imap', 'pop3', 'smtp'] : ['smtp'], () => [host], 'named host');
  return port === null ? usual : [...named, ...usual];
}

/** Host names and ports that servers usually have, for the services that nobody said anything about. */
export function commonPlaces({ domain }: MailAddress, services: readonly Service[]): Candidate[] {
  const hosts: Readonly<Record<Service, readonly string[]>> = {
    imap: [`imap.${domain}`, `mail.${domain}`, domain],
    pop3: [`pop.${domain}`, `pop3.${domain}`, `mail.${domain}`, domain],
    smtp: [`smtp.${domain}`, `mail.${domain}`, domain],
  };
  return onHosts(services, (service) => hosts[service], 'common name');
}

const PORTS: Readonly<Record<Service, readonly (readonly [number, Candidate['tls']])[]>> = {
  imap: [
    [993, 'implicit'],
    [143, 'starttls'],
  ],
  pop3: [
    [995, 'implicit'],
    [110, 'starttls'],
  ],
  smtp: [
    [465, 'implicit'],
    [587, 'starttls'],
  ],
};

function onHosts(
  services: readonly Service[],
  hosts: (service: Service) => readonly string[],
  source: Candidate['source'],
): Candidate[] {
  return services.flatMap((service) =>
    PORTS[service].flatMap(([port, tls]) =>
      hosts(service).map((host) => ({ service, host, port, tls, source, username: null })),
    ),
  );
}

/** The same place once, as the most reliable of its sources has it. */
export function distinct(candidates: readonly Candidate[]): Candidate[] {
  const known = new Map<string, Candidate>();
  for (const each of candidates) {
    const key = `${each.service} ${each.host}:${each.port} ${each.tls}`;
    if (!known.has(key)) known.set(key, each);
  }
  return [...known.values()].slice(0, PROBE_LIMITS.candidates);
}

async function srvRecords(
  domain: string,
  resolver: Resolver,
  note: (text: string) => void,
): Promise<{ candidates: Candidate[]; declined: Set<Service> }> {
  const declined = new Set<Service>();
  const found = await Promise.all(
    SRV_NAMES.map(async ([prefix, service, tls]) => {
      const records = await resolver.srv(`${prefix}.${domain}`).catch((error: unknown) => {
        note(`DNS: ${prefix}.${domain}: ${errorText(error)}`);
        return [];
      });
      // RFC 2782: a target of "." says that the service is decidedly not there.
      if (records.some(({ name }) => name === '' || name === '.')) declined.add(service);
      return [...records]
        .sort((a, b) => a.priority - b.priority || b.weight - a.weight)
        .slice(0, PROBE_LIMITS.records)
        .flatMap(({ name, port }): Candidate[] => {
          const host = asciiHost(name);
          if (host === null || port < 1 || port > 65_535) return [];
          return [{ service, host, port, tls, source: 'SRV record', username: null }];
        });
    }),
  );
  return { candidates: found.flat(), declined };
}

/** Domains whose mail exchanger is a known provider's are customers of it. */
async function hostedBy(
  { domain, local }: MailAddress,
  resolver: Resolver,
  note: (text: string) => void,
): Promise<Candidate[]> {
  const exchangers = await resolver.mx(domain).catch((error: unknown) => {
    note(`DNS: MX of ${domain}: ${errorText(error)}`);
    return [];
  });
  for (const name of exchangers.slice(0, PROBE_LIMITS.records)) {
    const provider = providerBehind(name.toLowerCase().replace(/\.$/, ''));
    if (provider === undefined) continue;
    if (provider.note !== undefined) note(`${provider.name}: ${provider.note}`);
    return candidatesOf(provider, local, 'MX record');
  }
  return [];
}
