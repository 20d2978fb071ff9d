import type { Endpoint } from '../config/config.js';
import type { StartTls } from '../upstream/connector.js';
import { MergeboxError } from '../util/errors.js';
import type { Secret } from '../util/secret.js';
import { LineTalk } from './line-talk.js';
import type { Dial, Login, Service, Spoken } from './types.js';

/** RFC 5321 §4.1.3: what a client without a name of its own calls itself. */
const EHLO = 'EHLO [127.0.0.1]';

/** A server that has shown what it is over verified TLS; the only thing a password is ever handed to. */
export class Talk {
  readonly spoken: Spoken;
  readonly #lines: LineTalk;

  private constructor(lines: LineTalk, spoken: Spoken) {
    this.#lines = lines;
    this.spoken = spoken;
  }

  /**
   * Connects as the endpoint wants, TLS verified, and learns from the greeting which protocol it is and from its own
   * words what it offers. Rejects with `connection`, `timeout`, `protocol` or `refused` (no TLS to be had).
   */
  static async open(endpoint: Endpoint, dial: Dial, signal: AbortSignal): Promise<Talk> {
    // Whoever forgets this has a bug; nothing that follows may run in clear.
    if (endpoint.tls === 'none') throw new MergeboxError('refused', 'the probe does not talk without TLS');
    let service: Service | null = null;
    const socket = await dial(
      endpoint,
      startTls((found) => (service = found)),
      signal,
    );
    const lines = new LineTalk(socket);
    const abort = (): void => lines.close();
    signal.addEventListener('abort', abort, { once: true });
    try {
      service ??= await greeting(() => lines.line());
      return new Talk(lines, { service, capabilities: await CAPABILITIES[service](lines) });
    } catch (error) {
      lines.close();
      throw signal.aborted ? new MergeboxError('timeout', 'the server takes too long') : error;
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /** Tries the password once. Rejects like `open` when the connection fails meanwhile. */
  async login(username: string, password: Secret): Promise<Login> {
    if (/[\r\n\0]/.test(username + password.reveal())) {
      return { result: 'refused', text: 'user and password may not hold line ends' };
    }
    return LOGINS[this.spoken.service](this.#lines, this.spoken.capabilities, username, password);
  }

  close(): void {
    this.#lines.close();
  }
}

/** Which protocol a greeting belongs to; continuation lines of SMTP's are read. */
async function greeting(read: () => Promise<string>): Promise<Service> {
  const first = await read();
  if (/^\* (OK|PREAUTH)\b/i.test(first)) return 'imap';
  if (/^\+OK\b/.test(first)) return 'pop3';
  if (/^220[ -]/.test(first)) {
    for (let line = first; line.startsWith('220-'); ) line = await read();
    return 'smtp';
  }
  throw new MergeboxError('protocol', `the server greets with: ${printable(first)}`);
}

/** STARTTLS of whichever protocol greets; `found` hears which. */
function startTls(found: (service: Service) => void): StartTls {
  return async (dialogue) => {
    const service = await greeting(() => dialogue.readLine());
    const until = async (isLast: RegExp): Promise<string> => {
      for (let count = 0; count < 100; count += 1) {
        const line = await dialogue.readLine();
        if (isLast.test(line)) return line;
      }
      throw new MergeboxError('protocol', 'STARTTLS: the server does not come to an end');
    };
    if (service === 'smtp') {
      dialogue.writeLine(EHLO);
      await until(/^\d{3}(?!-)/);
    }
    dialogue.writeLine(service === 'imap' ? 'M0 STARTTLS' : service === 'pop3' ? 'STLS' : 'STARTTLS');
    const answer = await until(service === 'imap' ? /^M0 / : service === 'pop3' ? /^[+-]/ : /^\d{3}(?!-)/);
    if (!/^(M0 OK|\+OK|220)\b/i.test(answer)) {
      throw new MergeboxError('refused', `it offers no TLS here, so it is not used: ${printable(answer)}`);
    }
    found(service);
  };
}

const CAPABILITIES: Readonly<Record<Service, (lines: LineTalk) => Promise<string[]>>> = {
  imap: async (lines) => {
    lines.send('M1 CAPABILITY');
    const told = await lines.linesUntil((line) => line.startsWith('M1 '));
    const capability = told.find((line) => /^\* CAPABILITY /i.test(line)) ?? '';
    return upper(capability.split(' ').slice(2));
  },
  pop3: async (lines) => {
    lines.send('CAPA');
    const first = await lines.line();
    // RFC 2449 is optional: -ERR says nothing against the rest.
    if (!first.startsWith('+OK')) return [];
    return upper((await lines.linesUntil((line) => line === '.')).slice(0, -1));
  },
  smtp: async (lines) => {
    lines.send(EHLO);
    const told = await lines.linesUntil((line) => /^\d{3}(?!-)/.test(line));
    if (!told.at(-1)!.startsWith('250')) throw new MergeboxError('protocol', `EHLO: ${printable(told.at(-1)!)}`);
    return upper(told.slice(1).map((line) => line.slice(4)));
  },
};

type LogIn = (lines: LineTalk, offered: readonly string[], username: string, password: Secret) => Promise<Login>;

const LOGINS: Readonly<Record<Service, LogIn>> = {
  imap: async (lines, offered, username, password) => {
    const done = async (): Promise<Login> => {
      const answer = (await lines.linesUntil((line) => line.startsWith('M2 '))).at(-1)!;
      return verdict(/^M2 OK\b/i.test(answer), username, answer.slice(3));
    };
    if (offered.includes('AUTH=PLAIN')) {
      lines.send('M2 AUTHENTICATE PLAIN');
      const first = await lines.line();
      if (!first.startsWith('+')) return verdict(false, username, first);
      lines.send(plain(username, password));
      return done();
    }
    if (offered.includes('LOGINDISABLED')) return noPassword(offered);
    const quoted = [username, password.reveal()].map((text) => `"${text.replace(/["\\]/g, '\\$&')}"`);
    lines.send(`M2 LOGIN ${quoted.join(' ')}`);
    return done();
  },
  pop3: async (lines, offered, username, password) => {
    const sasl = offered.find((line) => line.startsWith('SASL '))?.split(' ') ?? [];
    // RFC 5034; USER and PASS are for servers that say nothing (RFC 1939 §7).
    const dialogue = sasl.includes('PLAIN')
      ? ['AUTH PLAIN', plain(username, password)]
      : [`USER ${username}`, `PASS ${password.reveal()}`];
    if (!sasl.includes('PLAIN') && offered.length > 0 && !offered.includes('USER')) return noPassword(offered);
    let answer = '';
    for (const line of dialogue) {
      lines.send(line);
      answer = await lines.line();
      if (!answer.startsWith('+')) break;
    }
    return verdict(answer.startsWith('+OK'), username, answer);
  },
  smtp: async (lines, offered, username, password) => {
    const auth = offered.find((line) => line.startsWith('AUTH '))?.split(' ') ?? [];
    const base64 = (text: string): string => Buffer.from(text, 'utf8').toString('base64');
    if (auth.length === 0) return { result: 'refused', text: 'it offers no login' };
    const dialogue = auth.includes('PLAIN')
      ? [`AUTH PLAIN ${plain(username, password)}`]
      : ['AUTH LOGIN', base64(username), base64(password.reveal())];
    if (!auth.includes('PLAIN') && !auth.includes('LOGIN')) return noPassword(offered);
    let answer = '';
    for (const line of dialogue) {
      lines.send(line);
      answer = (await lines.linesUntil((each) => /^\d{3}(?!-)/.test(each))).at(-1)!;
      if (!answer.startsWith('334')) break;
    }
    return verdict(answer.startsWith('235'), username, answer);
  },
};

/** RFC 4616. */
function plain(username: string, password: Secret): string {
  return Buffer.from(`\0${username}\0${password.reveal()}`, 'utf8').toString('base64');
}

function verdict(accepted: boolean, username: string, answer: string): Login {
  return accepted ? { result: 'accepted', username } : { result: 'refused', text: printable(answer) };
}

function noPassword(offered: readonly string[]): Login {
  const oauth = offered.some((word) => /XOAUTH2|OAUTHBEARER/.test(word));
  return { result: 'refused', text: oauth ? 'it takes no passwords, only OAuth2' : 'it takes no plain passwords' };
}

function upper(words: readonly string[]): string[] {
  return words
    .map((word) =>
      word
        .trim()
        .toUpperCase()
        .replace(/[^\x20-\x7e]/g, '?'),
    )
    .filter((word) => word !== '');
}

function printable(text: string): string {
  return text.slice(0, 200).replace(/[^\x20-\x7e]/g, '?');
}
