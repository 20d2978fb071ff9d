import { MergeboxError } from '../../util/errors.js';
import { MAX_MESSAGES } from '../limits.js';
import { RefusedError } from '../errors.js';
import type { Pop3Connection } from './connection.js';
import { MAX_LISTING, MAX_MAIL, MAX_TOP, MAX_UIDL, QUIT_MS } from './limits.js';
import type { Capabilities, LoggedIn } from './login.js';

/** The commands of one session (RFC 1939 §5). Message numbers mean something only inside it. */
export class Pop3Session {
  readonly capabilities: Capabilities;
  readonly #connection: Pop3Connection;
  #top: boolean | null;

  constructor({ connection, capabilities }: LoggedIn) {
    this.#connection = connection;
    this.capabilities = capabilities;
    // A server without CAPA may have it all the same: it is tried.
    this.#top = capabilities.size === 0 || capabilities.has('TOP') ? null : false;
  }

  get closed(): boolean {
    return this.#connection.closed;
  }

  /** RFC 2449 §6.6. */
  get pipelining(): boolean {
    return this.capabilities.has('PIPELINING');
  }

  async stat(): Promise<{ readonly count: number; readonly octets: number }> {
    const text = await this.#connection.send('ask for STAT', 'STAT');
    const match = /^(\d{1,10}) (\d{1,18})\b/.exec(text);
    if (match === null) throw new MergeboxError('protocol', 'ask for STAT: the server told no numbers');
    const count = Number(match[1]);
    if (count > MAX_MESSAGES) throw new MergeboxError('protocol', `the server tells of ${count} mails`);
    return { count, octets: Number(match[2]) };
  }

  /** Octets by message number, as the server counts them. */
  async list(): Promise<Map<number, number>> {
    const sizes = new Map<number, number>();
    await this.#scan('LIST', (number, text) => {
      const octets = /^\d{1,15}(?=\s|$)/.exec(text)?.[0];
      if (octets === undefined) throw new MergeboxError('protocol', 'ask for LIST: the server told no size');
      sizes.set(number, Number(octets));
    });
    return sizes;
  }

  /** Unique-ids by message number, or null when the server has none (RFC 1939 §7: it is optional). */
  async uidl(): Promise<Map<number, string> | null> {
    const ids = new Map<number, string>();
    try {
      await this.#scan('UIDL', (number, text) => {
        if (text === '' || text.length > MAX_UIDL || /[^\x21-\x7e]/.test(text)) {
          throw new MergeboxError('protocol', 'ask for UIDL: the server told an id that is none');
        }
        ids.set(number, text);
      });
    } catch (error) {
      if (error instanceof RefusedError && !this.capabilities.has('UIDL')) return null;
      throw error;
    }
    return ids;
  }

  /** The header of a mail with its blank line, or null when the server knows no TOP. */
  async top(number: number): Promise<Buffer | null> {
    if (this.#top === false) return null;
    const parts: Buffer[] = [];
    let size = 0;
    const body = (bytes: Buffer): void => {
      size += bytes.length;
      if (size > MAX_TOP) throw new MergeboxError('protocol', 'ask for TOP: the header has no end');
      parts.push(Buffer.from(bytes));
    };
    try {
      await this.#connection.send(`read the header of mail ${number}`, `TOP ${number} 0`, { follows: 'body', body });
    } catch (error) {
      if (!(error instanceof RefusedError) || this.#top === true) throw error;
      if (this.capabilities.has('TOP')) throw error;
      this.#top = false;
      return null;
    }
    this.#top = true;
    return Buffer.concat(parts);
  }

  /** Streams a mail into `sink`, which may hold the server back. */
  async retr(number: number, sink: (bytes: Buffer) => void | Promise<void>): Promise<void> {
    let size = 0;
    const body = (bytes: Buffer): void | Promise<void> => {
      size += bytes.length;
      if (size > MAX_MAIL) throw new MergeboxError('protocol', `mail ${number} has more than ${MAX_MAIL} octets`);
      return sink(bytes);
    };
    await this.#connection.send(`read mail ${number}`, `RETR ${number}`, { follows: 'body', body });
  }

  async dele(number: number): Promise<void> {
    await this.#connection.send(`delete mail ${number}`, `DELE ${number}`);
  }

  /** Ends the session so that the server deletes what DELE marked; resolves when it says that it did (RFC 1939 §6). */
  async quit(): Promise<void> {
    try {
      await this.#connection.send('end the session', 'QUIT');
    } finally {
      this.close();
    }
  }

  /** Ends a session in which nothing was marked; how is of no consequence. */
  async leave(): Promise<void> {
    await this.#connection.send('end the session', 'QUIT', { patienceMs: QUIT_MS }).catch(() => undefined);
    this.close();
  }

  close(error: Error = new MergeboxError('aborted', 'the session is over')): void {
    this.#connection.close(error);
  }

  /** A scan listing or a unique-id listing: `number text`, each number once. */
  async #scan(command: 'LIST' | 'UIDL', take: (number: number, text: string) => void): Promise<void> {
    const doing = `ask for ${command}`;
    const seen = new Set<number>();
    let octets = 0;
    const line = (text: string): void => {
      octets += text.length;
      if (octets > MAX_LISTING) throw new MergeboxError('protocol', `${doing}: the listing has no end`);
      const match = /^\s*(\d{1,10})\s+(.*)$/.exec(text.trimEnd());
      const number = Number(match?.[1] ?? 0);
      if (match === null || number < 1 || number > MAX_MESSAGES || seen.has(number)) {
        throw new MergeboxError('protocol', `${doing}: the server sent a line that is none of a listing`);
      }
      seen.add(number);
      take(number, match[2]!);
    };
    await this.#connection.send(doing, command, { follows: 'lines', line });
  }
}
