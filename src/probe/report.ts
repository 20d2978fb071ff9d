import type { ProbeReport } from './probe.js';
import type { Finding } from './types.js';

/** Words of a server that a person may want to know of. */
const NOTABLE =
  /^(QRESYNC|CONDSTORE|IDLE|UIDPLUS|MOVE|SPECIAL-USE|UIDL|TOP|PIPELINING|SASL .*|AUTH .*|AUTH=.*|8BITMIME|SMTPUTF8|SIZE .*)$/;

/** What was found, a line each, the best first; then what did not work, and what is to be done. */
export function reportText({ address, findings, notes }: ProbeReport): string {
  const works = findings.filter(({ spoken }) => spoken !== null);
  const silent = findings.filter(({ spoken, source }) => spoken === null && source !== 'common name');
  const lines = [
    `${address.address}: ${works.length === 0 ? 'nothing was found that can be talked to with TLS' : 'in order of security:'}`,
    ...works.flatMap(workingLines),
    ...(silent.length === 0 ? [] : ['what was named but does not work:']),
    ...silent.map((finding) => `  ${placeText(finding)}: ${finding.failure ?? ''}`),
    ...notes.map((note) => `note: ${note}`),
  ];
  return `${lines.join('\n')}\n`;
}

function workingLines(finding: Finding): string[] {
  const { spoken, service, trust, login, host } = finding;
  const offered = (spoken?.capabilities ?? []).filter((word) => NOTABLE.test(word));
  const lines = [`  ${placeText(finding)}: TLS verified; offers ${offered.join(', ') || 'nothing beyond the basics'}`];
  if (spoken?.service !== service) lines.push(`    said to be ${service}, but ${spoken?.service} answers there`);
  if (login.result === 'accepted') lines.push(`    logged in as ${login.username}`);
  if (login.result === 'refused') lines.push(`    the login was refused: ${login.text}`);
  if (trust === 'needs confirmation') {
    lines.push(
      `    not used: this host is outside the domain of the address, and whoever forges the ${finding.source} could`,
      `    name a host of their own. If it is your provider's: --confirm ${host}`,
    );
  }
  return lines;
}

function placeText({ service, spoken, host, port, tls, source }: Finding): string {
  const way = tls === 'implicit' ? 'TLS' : 'STARTTLS';
  return `${spoken?.service ?? service} ${host}:${port} (${way}, by ${source})`;
}
