import { type ImapClient, quoted } from '../harness/imap-client.js';
import { flagsOf, literalOf } from '../harness/imap-helpers.js';
import { hashOf, markerOf } from './mails.js';

export interface SeenMail {
  readonly uid: number;
  /** Sorted, without \Recent. */
  readonly flags: readonly string[];
  /** Null when the header has none. */
  readonly marker: string | null;
}

/** One mailbox or folder as one login sees it. */
export interface MailboxView<M extends SeenMail = SeenMail> {
  readonly uidValidity: number;
  readonly uidNext: number;
  /** 0 where the server counts none. */
  readonly modSeq: number;
  readonly mails: readonly M[];
}

export interface WholeMail extends SeenMail {
  /** Of all its octets. */
  readonly hash: string;
}

/** SELECTs and lists UIDs, flags and markers. */
export async function selectMailbox(client: ImapClient, name: string): Promise<MailboxView> {
  return view(client, 'SELECT', name, 'BODY.PEEK[HEADER.FIELDS (X-Chaos)]', (mail) => mail);
}

/** EXAMINEs and reads every octet. */
export async function readMailbox(client: ImapClient, name: string): Promise<MailboxView<WholeMail>> {
  return view(client, 'EXAMINE', name, 'BODY.PEEK[]', (mail, octets) => ({ ...mail, hash: hashOf(octets) }));
}

/** Every name that can be selected, as the server spells it. */
export async function listNames(client: ImapClient): Promise<string[]> {
  const { untagged } = await client.ok('LIST "" "*"');
  return untagged.flatMap((line) => {
    const [, attributes = '', name = ''] = /^LIST \(([^)]*)\) (?:NIL|"[^"]*") (.*)$/.exec(line) ?? [];
    if (name === '' || /\\Noselect|\\NonExistent/i.test(attributes)) return [];
    return [name.startsWith('"') ? name.slice(1, -1).replace(/\\(.)/g, '$1') : name];
  });
}

async function view<M extends SeenMail>(
  client: ImapClient,
  command: 'SELECT' | 'EXAMINE',
  name: string,
  item: string,
  finish: (mail: SeenMail, octets: Buffer) => M,
): Promise<MailboxView<M>> {
  const opened = (await client.ok(`${command} ${quoted(name)}`)).untagged.join('\n');
  const number = (pattern: RegExp): number => Number(pattern.exec(opened)?.[1] ?? 0);
  const exists = number(/(\d+) EXISTS/);
  const fetched = exists === 0 ? [] : (await client.ok(`UID FETCH 1:* (UID FLAGS ${item})`)).untagged;
  const mails = fetched
    .filter((line) => /^\d+ FETCH .*\{\d+\}/s.test(line))
    .map((line) => {
      const octets = literalOf(line);
      const outside = line.replace(/\{\d+\}\r\n/, '').replace(octets.toString('latin1'), '');
      const uid = Number(/\bUID (\d+)/.exec(outside)?.[1]);
      const seen = { uid, flags: flagsOf(outside).sort(), marker: markerOf(octets.toString('latin1')) };
      return finish(seen, octets);
    });
  return {
    uidValidity: number(/UIDVALIDITY (\d+)/),
    uidNext: number(/UIDNEXT (\d+)/),
    modSeq: number(/HIGHESTMODSEQ (\d+)/),
    mails: mails.sort((a, b) => a.uid - b.uid),
  };
}
