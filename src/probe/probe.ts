import type { ProxySettings } from '../config/config.js';
import { errorText, MergeboxError } from '../util/errors.js';
import type { Secret } from '../util/secret.js';
import { isWithin, type MailAddress } from './address.js';
import { collect, commonPlaces, distinct, placesAt } from './candidates.js';
import { PROBE_LIMITS } from './limits.js';
import { Talk } from './talk.js';
import type { Candidate, Finding, Login, Reach, Service, Trust } from './types.js';

export interface ProbeOptions {
  readonly address: MailAddress;
  /** Null: nothing is logged in to. */
  readonly password: Secret | null;
  /** Where a person says the servers are; nothing else is asked then. */
  readonly place?: { readonly host: string; readonly port: number | null };
  /** Login names to try instead of those that the address suggests. */
  readonly usernames?: readonly string[];
  /** Hosts outside the address's domain that a person has confirmed; lower case. */
  readonly confirmed: readonly string[];
  readonly reach: Reach;
  readonly proxyFor: (host: string, port: number) => ProxySettings | null;
  /** PEM text of authorities to trust instead of the system's; null for those. */
  readonly ca: string | null;
}

export interface ProbeReport {
  readonly address: MailAddress;
  /** The best first: what works, by how it is protected and how reliable its source is; then what does not. */
  readonly findings: readonly Finding[];
  readonly notes: readonly string[];
}

/**
 * Finds out how to talk to the servers of an address. Candidates are collected, each is talked to, and only then is the
 * password sent: over TLS that was verified against the candidate's name, to the best place of each service, and never to
 * a host outside the domain on the word of the DNS or a document alone (RFC 6186 §6): whoever can forge those would have
 * a valid certificate for a host of his own. Such a host is reported, and used once a person has confirmed it.
 */
export async function probe(options: ProbeOptions): Promise<ProbeReport> {
  const { place } = options;
  if (place !== undefined) {
    const named = await lookAtAll(placesAt(place.host, place.port), options);
    return { address: options.address, findings: await logIn(named.sort(bySecurity), options), notes: [] };
  }
  const { candidates, declined, notes } = await collect(options.address, options.reach);
  const told = await lookAtAll(candidates, options);
  const missing = (['imap', 'pop3', 'smtp'] as const).filter(
    (service) => !declined.has(service) && !told.some((finding) => finding.spoken?.service === service),
  );
  const known = new Set(candidates.map(({ host, port }) => `${host}:${port}`));
  const guessed = distinct(commonPlaces(options.address, missing)).filter(
    ({ host, port }) => !known.has(`${host}:${port}`),
  );
  const findings = [...told, ...(await lookAtAll(guessed, options))].sort(bySecurity);
  return { address: options.address, findings: await logIn(findings, options), notes };
}

function trustOf(candidate: Candidate, { address, confirmed }: ProbeOptions): Trust {
  const own =
    candidate.source === 'known provider' ||
    candidate.source === 'named host' ||
    isWithin(candidate.host, address.domain);
  return own || confirmed.includes(candidate.host) ? 'trusted' : 'needs confirmation';
}

async function lookAtAll(candidates: readonly Candidate[], options: ProbeOptions): Promise<Finding[]> {
  const findings: Finding[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let at = next++; at < candidates.length; at = next++) findings[at] = await lookAt(candidates[at]!, options);
  };
  await Promise.all(Array.from({ length: Math.min(PROBE_LIMITS.parallel, candidates.length) }, worker));
  return findings;
}

async function lookAt(candidate: Candidate, options: ProbeOptions): Promise<Finding> {
  const base = { ...candidate, trust: trustOf(candidate, options), login: { result: 'not tried' } as const };
  try {
    const talk = await open(candidate, options);
    talk.close();
    return { ...base, spoken: talk.spoken, failure: null };
  } catch (error) {
    return { ...base, spoken: null, failure: errorText(error) };
  }
}

function open({ host, port, tls }: Candidate, { reach, proxyFor, ca }: ProbeOptions): Promise<Talk> {
  const proxy = proxyFor(host, port);
  const endpoint = { host, port, tls, ca, ...(proxy === null ? {} : { proxy }) };
  return Talk.open(endpoint, reach.dial, AbortSignal.timeout(PROBE_LIMITS.talkMs));
}

/** Works before does not; of the protocols IMAP first; TLS from the start before STARTTLS (RFC 8314 §3); by source. */
function bySecurity(a: Finding, b: Finding): number {
  const rank = (finding: Finding): number[] => [
    finding.spoken === null ? 1 : 0,
    ['imap', 'pop3', 'smtp'].indexOf(finding.spoken?.service ?? finding.service),
    finding.trust === 'trusted' ? 0 : 1,
    finding.tls === 'implicit' ? 0 : 1,
    ['named host', 'known provider', 'autoconfig', 'SRV record', 'MX record', 'common name'].indexOf(finding.source),
  ];
  const [ofA, ofB] = [rank(a), rank(b)];
  const at = ofA.findIndex((value, index) => value !== ofB[index]);
  return at === -1 ? 0 : ofA[at]! - ofB[at]!;
}

/** Tries the password at the best place of each service; POP3 only when there is no IMAP. */
async function logIn(findings: readonly Finding[], options: ProbeOptions): Promise<readonly Finding[]> {
  const { password } = options;
  if (password === null) return findings;
  const usable = findings.filter(({ spoken, trust }) => spoken !== null && trust === 'trusted');
  const best = (service: Service): Finding | undefined => usable.find(({ spoken }) => spoken?.service === service);
  const incoming = best('imap') ?? best('pop3');
  const chosen = [incoming, best('smtp')].filter((finding) => finding !== undefined);
  const results = new Map<Finding, Login>();
  let name: string | null = null;
  for (const finding of chosen) {
    const names = options.usernames ?? namesFor(finding, options.address, name);
    const login = await tryLogin(finding, password, names, options);
    if (login.result === 'accepted') name = login.username;
    results.set(finding, login);
    // What one server refuses the others will, and every further try counts towards a lock.
    if (login.result === 'refused') break;
  }
  return findings.map((finding) => ({ ...finding, login: results.get(finding) ?? finding.login }));
}

/** `worked` is the name that the other service of the account took. */
function namesFor({ username }: Candidate, { address, local }: MailAddress, worked: string | null): string[] {
  const names = username === null ? [worked, address, local] : [username];
  return [...new Set(names.filter((name) => name !== null))].slice(0, PROBE_LIMITS.logins);
}

async function tryLogin(
  finding: Finding,
  password: Secret,
  names: readonly string[],
  options: ProbeOptions,
): Promise<Login> {
  let last: Login = { result: 'not tried' };
  for (const name of names) {
    try {
      const talk = await open(finding, options);
      try {
        // What answers now has to be what answered before.
        if (talk.spoken.service !== finding.spoken?.service) throw new MergeboxError('protocol', 'the server changed');
        last = await withDeadline(talk, () => talk.login(name, password));
      } finally {
        talk.close();
      }
    } catch (error) {
      return { result: 'refused', text: errorText(error) };
    }
    if (last.result === 'accepted') return last;
  }
  return last;
}

async function withDeadline<T>(talk: Talk, task: () => Promise<T>): Promise<T> {
  // Closing it is what ends a wait for an answer.
  const timer = setTimeout(() => talk.close(), PROBE_LIMITS.talkMs);
  try {
    return await task();
  } finally {
    clearTimeout(timer);
  }
}
