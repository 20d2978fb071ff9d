import { errorText, MergeboxError } from '../util/errors.js';
import { asciiHost, type MailAddress } from './address.js';
import { PROBE_LIMITS } from './limits.js';
import type { Candidate, HttpGet, Service } from './types.js';
import { type Element, parseXml } from './xml.js';

/** What the domain's own document says, and where it was found. */
export interface Autoconfig {
  readonly url: string;
  readonly candidates: readonly Candidate[];
}

/**
 * Looks for the provider's autoconfig document: first by HTTPS, with the address, as mail programs send it; then by
 * HTTP without it. Null when there is none; `note` hears why a document that is there was of no use.
 */
export async function findAutoconfig(
  address: MailAddress,
  get: HttpGet,
  note: (text: string) => void,
): Promise<Autoconfig | null> {
  const { domain } = address;
  const who = `?emailaddress=${encodeURIComponent(address.address)}`;
  const places = [
    `https://autoconfig.${domain}/mail/config-v1.1.xml${who}`,
    `https://${domain}/.well-known/autoconfig/mail/config-v1.1.xml${who}`,
    `http://autoconfig.${domain}/mail/config-v1.1.xml`,
    `http://${domain}/.well-known/autoconfig/mail/config-v1.1.xml`,
  ];
  // Asked together, but an earlier place's answer counts more.
  const answers = await Promise.all(places.map((place) => fetchDocument(new URL(place), get).catch(errorOf)));
  for (const [index, answer] of answers.entries()) {
    if (answer === null) continue;
    const url = places[index]!.replace(who, '');
    try {
      if (answer instanceof Error) throw answer;
      return { url, candidates: candidatesIn(parseXml(answer), address) };
    } catch (error) {
      // Most domains have no such host at all, which is no news.
      if (error instanceof MergeboxError && error.code === 'protocol') note(`${url}: ${errorText(error)}`);
    }
  }
  return null;
}

function errorOf(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/** Null for an answer that is no document; redirects are followed, never from HTTPS to HTTP. */
async function fetchDocument(first: URL, get: HttpGet): Promise<Buffer | null> {
  const signal = AbortSignal.timeout(PROBE_LIMITS.httpMs);
  let url = first;
  for (let hops = 0; hops <= PROBE_LIMITS.redirects; hops += 1) {
    const { status, location, body } = await get(url, signal);
    if (status === 200) return body;
    if (![301, 302, 303, 307, 308].includes(status) || location === null) return null;
    const next = new URL(location, url);
    const downgrade = url.protocol === 'https:' && next.protocol !== 'https:';
    if (downgrade || !/^https?:$/.test(next.protocol) || next.username !== '') {
      throw new MergeboxError('protocol', 'it leads to where a document cannot be trusted');
    }
    url = next;
  }
  throw new MergeboxError('protocol', 'it leads from one place to the next without end');
}

const SERVICES: Readonly<Record<string, Service>> = { imap: 'imap', pop3: 'pop3', smtp: 'smtp' };
const SOCKETS: Readonly<Record<string, Candidate['tls']>> = { SSL: 'implicit', TLS: 'implicit', STARTTLS: 'starttls' };

/** The servers of the document that can be talked to with TLS. */
function candidatesIn(root: Element, address: MailAddress): Candidate[] {
  const provider =
    root.name === 'clientConfig' ? root.children.find(({ name }) => name === 'emailProvider') : undefined;
  if (provider === undefined) throw new MergeboxError('protocol', 'it is no autoconfig document');
  const servers = provider.children.filter(({ name }) => name === 'incomingServer' || name === 'outgoingServer');
  return servers.slice(0, PROBE_LIMITS.records).flatMap((server) => candidateOf(server, address) ?? []);
}

function candidateOf(server: Element, address: MailAddress): Candidate | null {
  const value = (name: string): string => server.children.find((child) => child.name === name)?.text ?? '';
  const service = SERVICES[server.attributes.get('type')?.toLowerCase() ?? ''];
  const tls = SOCKETS[value('socketType').toUpperCase()];
  const host = asciiHost(filled(value('hostname'), address));
  const port = Number(value('port'));
  const outgoing = server.name === 'outgoingServer';
  if (service === undefined || tls === undefined || (service === 'smtp') !== outgoing) return null;
  if (host === null || !Number.isInteger(port) || port < 1 || port > 65_535) return null;
  const username = filled(value('username'), address);
  return { service, host, port, tls, source: 'autoconfig', username: isUserName(username) ? username : null };
}

function isUserName(name: string): boolean {
  return name !== '' && name.length <= 320 && !/[\s\p{Cc}]/u.test(name);
}

function filled(template: string, { address, local, domain }: MailAddress): string {
  return template
    .replaceAll('%EMAILADDRESS%', () => address)
    .replaceAll('%EMAILLOCALPART%', () => local)
    .replaceAll('%EMAILDOMAIN%', () => domain);
}
