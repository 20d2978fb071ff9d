import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect as tcpConnect, type Socket } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { ResponseSplitter } from './imap-responses.js';

export interface ImapEndpoint {
  readonly host: string;
  readonly port: number;
  readonly tls: 'implicit' | 'starttls' | 'none';
  /** PEM file of the authority to trust; without it any certificate will do. */
  readonly ca?: string;
}

/** What one command brought: untagged responses and the tagged line, literals in place, without the last CRLF. */
export interface ImapReply {
  readonly status: 'OK' | 'NO' | 'BAD';
  /** The tagged line behind its status. */
  readonly text: string;
  /** Untagged responses without `* `, octets as latin1. */
  readonly untagged: readonly string[];
}

interface Waiter {
  readonly tag: string;
  readonly untagged: string[];
  readonly resolve: (reply: ImapReply) => void;
  readonly reject: (error: Error) => void;
}

const DEFAULT_TIMEOUT_MS = 30_000;

/** A scripted IMAP client for assertions: commands as text, responses as text; it interprets nothing. */
export class ImapClient {
  #socket: Socket;
  readonly #splitter = new ResponseSplitter((response) => this.#onResponse(response));
  readonly #waiters: Waiter[] = [];
  readonly #watchers = new Set<() => void>();
  #continuations = 0;
  #unsolicited: string[] = [];
  #nextTag = 1;
  #failure: Error | null = null;
  greeting = '';

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#attach(socket);
  }

  /** Connects, goes through STARTTLS where asked, and waits for the greeting. */
  static async connect(endpoint: ImapEndpoint): Promise<ImapClient> {
    const secure = await tlsOptions(endpoint);
    const socket =
      endpoint.tls === 'implicit'
        ? tlsConnect({ host: endpoint.host, port: endpoint.port, ...secure })
        : tcpConnect({ host: endpoint.host, port: endpoint.port });
    await once(socket, endpoint.tls === 'implicit' ? 'secureConnect' : 'connect');
    socket.setNoDelay(true);
    const client = new ImapClient(socket);
    client.greeting = await client.until((response) => /^(OK|PREAUTH|BYE)\b/.test(response));
    if (endpoint.tls === 'starttls') {
      await client.ok('STARTTLS');
      await client.#upgrade(secure);
    }
    return client;
  }

  async login(user: string, password: string): Promise<ImapReply> {
    return this.ok(`LOGIN ${quoted(user)} ${quoted(password)}`);
  }

  /**
   * Sends one command and resolves to its reply, whatever the status. Each of `literals` is sent as a synchronising
   * literal at the place of a `{}` in `text`.
   */
  async command(text: string, ...literals: readonly (Buffer | string)[]): Promise<ImapReply> {
    if (this.#failure !== null) throw this.#failure;
    const tag = `a${this.#nextTag}`;
    this.#nextTag += 1;
    const reply = this.#awaitTag(tag, text);
    const pieces = text.split('{}');
    if (pieces.length !== literals.length + 1) throw new Error(`${text}: ${literals.length} literals given`);
    for (const [at, piece] of pieces.entries()) {
      const octets = at < literals.length ? Buffer.from(literals[at]!) : null;
      const head = at === 0 ? `${tag} ${piece}` : piece;
      this.#socket.write(octets === null ? `${head}\r\n` : `${head}{${octets.length}}\r\n`, 'latin1');
      if (octets === null) break;
      // A refusal before the continuation ends the command.
      if ((await Promise.race([this.#continuation(), reply.then(() => 'refused' as const)])) === 'refused') break;
      this.#socket.write(octets);
    }
    return reply;
  }

  /** As `command`, and throws unless the answer is OK. */
  async ok(text: string, ...literals: readonly (Buffer | string)[]): Promise<ImapReply> {
    const reply = await this.command(text, ...literals);
    if (reply.status !== 'OK') throw new Error(`${redact(text)}: ${reply.status} ${reply.text}`);
    return reply;
  }

  /** Enters IDLE; `done` leaves it and resolves to the reply. Watch what arrives with `until`. */
  async idle(): Promise<{ done: () => Promise<ImapReply> }> {
    const tag = `a${this.#nextTag}`;
    this.#nextTag += 1;
    const reply = this.#awaitTag(tag, 'IDLE', null);
    this.#socket.write(`${tag} IDLE\r\n`);
    const start = await Promise.race([this.#continuation(), reply]);
    if (start !== undefined) throw new Error(`IDLE: ${start.status} ${start.text}`);
    return {
      done: () => {
        this.#socket.write('DONE\r\n');
        return reply;
      },
    };
  }

  /** The first untagged response outside any finished command that `matches`, taken out; waits for it. */
  async until(matches: (response: string) => boolean, timeoutMs = DEFAULT_TIMEOUT_MS): Promise<string> {
    const find = (): string | undefined => {
      const pool = [this.#unsolicited, ...this.#waiters.map((waiter) => waiter.untagged)];
      for (const responses of pool) {
        const at = responses.findIndex(matches);
        if (at >= 0) return responses.splice(at, 1)[0];
      }
      return undefined;
    };
    return this.#wait('an untagged response', find, timeoutMs);
  }

  /** Untagged responses that arrived outside commands since the last call. */
  takeUnsolicited(): string[] {
    const taken = this.#unsolicited;
    this.#unsolicited = [];
    return taken;
  }

  /** Octets as they are, for input that no command could be. */
  write(octets: Buffer | string): void {
    this.#socket.write(octets);
  }

  /** Resolves once the server has closed the connection. */
  async closed(timeoutMs = DEFAULT_TIMEOUT_MS): Promise<void> {
    await this.#wait('the connection to close', () => (this.#failure === null ? undefined : true), timeoutMs);
  }

  /** Leaves politely. */
  async logout(): Promise<void> {
    await this.ok('LOGOUT');
    this.close();
  }

  close(): void {
    this.#socket.destroy();
  }

  #attach(socket: Socket): void {
    socket.on('data', (chunk: Buffer) => this.#splitter.push(chunk));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('the server closed the connection')));
  }

  async #upgrade(secure: TlsTrust): Promise<void> {
    const plain = this.#socket;
    plain.removeAllListeners('data');
    plain.removeAllListeners('close');
    const socket = tlsConnect({ socket: plain, ...secure });
    await once(socket, 'secureConnect');
    this.#socket = socket;
    this.#attach(socket);
  }

  #awaitTag(tag: string, text: string, timeoutMs: number | null = DEFAULT_TIMEOUT_MS): Promise<ImapReply> {
    const reply = new Promise<ImapReply>((resolve, reject) => {
      const timer =
        timeoutMs === null
          ? undefined
          : setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms: ${redact(text)}`)), timeoutMs);
      this.#waiters.push({
        tag,
        untagged: [],
        resolve: (value) => {
          clearTimeout(timer);
          resolve(value);
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      });
    });
    reply.catch(() => undefined);
    return reply;
  }

  #onResponse(response: string): void {
    if (response.startsWith('* ')) {
      (this.#waiters[0]?.untagged ?? this.#unsolicited).push(response.slice(2));
    } else if (response.startsWith('+')) {
      this.#continuations += 1;
    } else {
      this.#onTagged(response);
    }
    for (const watcher of [...this.#watchers]) watcher();
  }

  #onTagged(response: string): void {
    const [, tag = '', status = '', text = ''] = /^(\S+) (OK|NO|BAD)(?: (.*))?$/s.exec(response) ?? [];
    const at = this.#waiters.findIndex((waiter) => waiter.tag === tag);
    const waiter = this.#waiters[at];
    if (waiter === undefined) {
      this.#fail(new Error(`unexpected response: ${response.slice(0, 200)}`));
      return;
    }
    this.#waiters.splice(at, 1);
    waiter.resolve({ status: status as ImapReply['status'], text, untagged: waiter.untagged });
  }

  async #continuation(): Promise<undefined> {
    await this.#wait('a continuation', () => this.#continuations > 0 || undefined, DEFAULT_TIMEOUT_MS);
    this.#continuations -= 1;
    return undefined;
  }

  #wait<T>(what: string, probe: () => T | undefined, timeoutMs: number): Promise<T> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(timer);
        this.#watchers.delete(look);
      };
      const look = (): void => {
        const found = probe();
        if (found !== undefined) {
          settle();
          resolve(found);
        } else if (this.#failure !== null) {
          settle();
          reject(this.#failure);
        }
      };
      const timer = setTimeout(() => {
        settle();
        reject(new Error(`waited ${timeoutMs} ms for ${what}`));
      }, timeoutMs);
      this.#watchers.add(look);
      look();
    });
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const waiter of this.#waiters.splice(0)) waiter.reject(this.#failure);
    for (const watcher of [...this.#watchers]) watcher();
  }
}

type TlsTrust = { readonly ca: string; readonly servername: string } | { readonly rejectUnauthorized: false };

async function tlsOptions(endpoint: ImapEndpoint): Promise<TlsTrust> {
  if (endpoint.tls === 'none' || endpoint.ca === undefined) return { rejectUnauthorized: false };
  return { ca: await readFile(endpoint.ca, 'utf8'), servername: 'localhost' };
}

/** An IMAP quoted string (RFC 9051 §4.3); the text must not hold CR, LF or NUL. */
export function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}

function redact(text: string): string {
  return text.replace(/^(LOGIN \S+).*/i, '$1 <redacted>').slice(0, 300);
}
