import type { ListenerInfo } from '../app.js';
import { VERSION } from '../version.js';
import { ADDRESSES, type Delivery, type SampleAccount } from './sample-accounts.js';

export interface DemoScene {
  readonly dir: string;
  readonly configFile: string;
  readonly logFile: string;
  readonly letterFile: string;
  readonly password: string;
  /** SHA-256, `AB:CD:…`. */
  readonly fingerprint: string;
  readonly listeners: readonly ListenerInfo[];
  readonly accounts: readonly SampleAccount[];
  /** Mails in the merged INBOX. */
  readonly merged: number;
}

export const DEMO_USER = 'alice';

/** What the demo prints once everything runs. */
export function welcome(scene: DemoScene): string {
  const parts = [head(scene), login(scene), THINGS, shell(scene), behind(scene)];
  return `${parts.map((part) => part.trim()).join('\n\n')}\n`;
}

function head({ accounts, merged }: DemoScene): string {
  const copies = accounts.reduce((sum, { inbox }) => sum + inbox, 0);
  const each = accounts.map(({ id, inbox }) => `${inbox} at ${id}`).join(', ');
  return `
Mergebox ${VERSION}, demo: two sample mail accounts, one INBOX. All of it runs on this machine; nothing leaves it.
INBOX shows ${merged} mails for ${copies} that the accounts hold (${each}): what arrived in both is there once.`;
}

function login({ listeners, password, fingerprint }: DemoScene): string {
  const [imaps, imap] = ports(listeners, 'imap');
  const [smtps, submission] = ports(listeners, 'submission');
  return `
Log in with any mail program:
  server       127.0.0.1
  user         ${DEMO_USER}
  password     ${password}
  IMAP         port ${imaps} with SSL/TLS, or ${imap} with STARTTLS
  SMTP         port ${smtps} with SSL/TLS, or ${submission} with STARTTLS (same user and password)
  your address ${ADDRESSES.work[0]} or ${ADDRESSES.home[0]}
  certificate  made for this run, so the program asks once whether to trust it. Its SHA-256 fingerprint:
               ${fingerprint.slice(0, 48)}
               ${fingerprint.slice(48)}`;
}

const THINGS = `
Things to try:
  - Open "Saturday: which train?": it came to both addresses and is there once, tagged with both accounts.
  - Read, flag or delete it: both accounts follow at once. Accounts/work/… and Accounts/home/… show each by itself.
  - Write to yourself at the other address: the mail leaves through the account you send from, arrives in INBOX
    and is filed in Sent. What goes to anybody else is only told here.`;

function shell({ listeners, password, letterFile }: DemoScene): string {
  const [imaps] = ports(listeners, 'imap');
  const [smtps] = ports(listeners, 'submission');
  const account = `-u '${DEMO_USER}:${password}'`;
  return `
List the INBOX from a shell:
  curl -sSk ${account} imaps://127.0.0.1:${imaps}/INBOX -X 'FETCH 1:* (FLAGS ENVELOPE)' | cut -c 1-150
Send a mail:
  curl -sSk ${account} smtps://127.0.0.1:${smtps} --mail-from ${ADDRESSES.work[0]} --mail-rcpt ${ADDRESSES.home[0]} --upload-file '${letterFile}'`;
}

function behind({ accounts, configFile, logFile, listeners }: DemoScene): string {
  const lines = accounts.map(
    ({ id, host, imapPort, username, password, total }) =>
      `  ${id.padEnd(7)}imap://${host}:${imapPort} (no TLS)  user ${username}  password ${password}  ${total} mails`,
  );
  const admin = listeners.find(({ service }) => service === 'admin');
  return `
Behind it:
${lines.join('\n')}
  status  npx mergebox status --config '${configFile}'
          http://127.0.0.1:${admin?.port ?? 0}/api/status, /metrics
  log     ${logFile}

Ctrl-C ends it and removes everything it made.`;
}

/** Ports of a service: with implicit TLS, then with STARTTLS. */
function ports(listeners: readonly ListenerInfo[], service: ListenerInfo['service']): [number, number] {
  const port = (tls: ListenerInfo['tls']): number =>
    listeners.find((each) => each.service === service && each.tls === tls)?.port ?? 0;
  return [port('implicit'), port('starttls')];
}

/** What became of a mail, one line for each recipient; nothing in it can move the cursor of a terminal. */
export function deliveryText({ account, subject, recipients }: Delivery, at: Date): string {
  const time = at.toTimeString().slice(0, 8);
  const lines = recipients.map(({ address, deliveredTo }) =>
    deliveredTo === null
      ? `  ${printable(address)}: would have been delivered; the demo sends nothing out`
      : `  ${printable(address)}: delivered to INBOX of ${deliveredTo}`,
  );
  return `${time} ${account} sent "${printable(subject)}"\n${lines.join('\n')}\n`;
}

function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?').slice(0, 200);
}
