import type { Socket } from 'node:net';
import type { AccountConfig, Credentials } from '../../config/config.js';
import { MergeboxError } from '../../util/errors.js';
import { connectSocket } from '../connector.js';
import { abortedError, RefusedError } from '../errors.js';
import type { PlainDialogue } from '../plain-dialogue.js';
import type { Timing } from '../timing.js';
import { Pop3Connection } from './connection.js';
import { MAX_CAPABILITIES } from './limits.js';

const LOG_IN = 'log in to the server';
/** RFC 5034 §4: an initial response that makes the line longer comes after the challenge. */
const MAX_AUTH_LINE = 255;

/** What CAPA told (RFC 2449): names in upper case with their arguments. Empty for a server without CAPA. */
export type Capabilities = ReadonlyMap<string, readonly string[]>;

export interface LoggedIn {
  readonly connection: Pop3Connection;
  readonly capabilities: Capabilities;
}

/** Connects and logs in. Rejects with `connection`, `timeout`, `authentication`, `protocol` or `aborted`. */
export async function openPop3(
  account: Pick<AccountConfig, 'endpoint' | 'auth'>,
  timing: Timing,
  signal: AbortSignal,
): Promise<LoggedIn> {
  const { endpoint, auth } = account;
  const socket = await connectSocket({ endpoint, startTls: pop3StartTls, timing, signal });
  const abort = (): void => void socket.destroy();
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await loginPop3(socket, auth, endpoint.tls === 'starttls', timing.silenceMs);
  } catch (error) {
    throw signal.aborted ? abortedError(LOG_IN) : error;
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** RFC 2595 §4: greeting, STLS, its +OK. What the server says of itself before TLS is not listened to. */
export async function pop3StartTls(dialogue: PlainDialogue): Promise<void> {
  const greeting = await dialogue.readLine();
  if (!/^\+OK\b/i.test(greeting)) {
    throw new MergeboxError('connection', `STLS: the server greeted with: ${printable(greeting)}`);
  }
  dialogue.writeLine('STLS');
  const answer = await dialogue.readLine();
  if (!/^\+OK\b/i.test(answer)) {
    throw new MergeboxError('connection', `STLS: the server refused: ${printable(answer)}`);
  }
}

function printable(line: string): string {
  return line.slice(0, 200).replace(/[^\x20-\x7e]/g, '?');
}

/** `greeted` says that STLS has consumed the greeting. The connection is closed when it fails. */
export async function loginPop3(
  socket: Socket,
  credentials: Credentials,
  greeted: boolean,
  silenceMs: number,
): Promise<LoggedIn> {
  const connection = new Pop3Connection(socket, silenceMs);
  try {
    if (!greeted) await connection.send('wait for the greeting', null).catch(turnedAway);
    const before = await capabilitiesOf(connection);
    await authenticate(connection, credentials, before);
    // RFC 2449 §5: they may differ after the login.
    return { connection, capabilities: before.size === 0 ? before : await capabilitiesOf(connection) };
  } catch (error) {
    const failure = error instanceof MergeboxError ? error : new MergeboxError('connection', LOG_IN, { cause: error });
    connection.close(failure);
    throw failure;
  }
}

function turnedAway(error: unknown): never {
  if (!(error instanceof RefusedError)) throw error;
  throw new MergeboxError('connection', `${LOG_IN}: the server turned the connection away: ${error.serverText}`);
}

async function capabilitiesOf(connection: Pop3Connection): Promise<Capabilities> {
  const found = new Map<string, readonly string[]>();
  const line = (text: string): void => {
    const [name = '', ...args] = text.toUpperCase().split(' ').filter(Boolean);
    if (found.size >= MAX_CAPABILITIES) throw new MergeboxError('protocol', 'ask for CAPA: the list has no end');
    found.set(name, args);
  };
  try {
    await connection.send('ask for CAPA', 'CAPA', { follows: 'lines', line });
  } catch (error) {
    // RFC 2449 §3: a server without it refuses.
    if (!(error instanceof RefusedError)) throw error;
  }
  return found;
}

async function authenticate(
  connection: Pop3Connection,
  { username, password, mechanism }: Credentials,
  capabilities: Capabilities,
): Promise<void> {
  const offered = capabilities.get('SASL') ?? [];
  const secret = password.reveal();
  try {
    if (mechanism === 'xoauth2') await sasl(connection, 'XOAUTH2', `user=${username}\x01auth=Bearer ${secret}\x01\x01`);
    else if (offered.includes('PLAIN')) await sasl(connection, 'PLAIN', `\0${username}\0${secret}`);
    else await userPass(connection, username, secret);
  } catch (error) {
    throw error instanceof RefusedError ? loginError(error) : error;
  }
}

/** RFC 5034 §4. A second challenge is no part of these mechanisms: an empty answer lets the server say why (XOAUTH2). */
async function sasl(connection: Pop3Connection, name: string, response: string): Promise<void> {
  const encoded = Buffer.from(response, 'utf8').toString('base64');
  const whole = `AUTH ${name} ${encoded}`;
  const atOnce = whole.length + 2 <= MAX_AUTH_LINE;
  let asked = 0;
  const more = (): string => {
    asked += 1;
    if (asked > 2) throw new MergeboxError('protocol', `${LOG_IN}: the server does not end the exchange`);
    if (asked === 1 && !atOnce) return encoded;
    return name === 'PLAIN' ? '*' : '';
  };
  await connection.send(LOG_IN, atOnce ? whole : `AUTH ${name}`, { more });
}

/** RFC 1939 §7. What cannot be part of a line cannot be sent this way. */
async function userPass(connection: Pop3Connection, username: string, password: string): Promise<void> {
  if (/[\r\n\0]/.test(username + password)) {
    throw new MergeboxError('authentication', `${LOG_IN}: the name or password has a line end in it`);
  }
  await connection.send(LOG_IN, `USER ${username}`);
  await connection.send(LOG_IN, `PASS ${password}`);
}

/** What a server says that is busy, or has the maildrop in use (RFC 1939 §8, RFC 2449 §8.1, RFC 3206 §4). */
const NOT_NOW_CODES = new Set(['IN-USE', 'LOGIN-DELAY', 'SYS/TEMP', 'SYS/PERM']);
const NOT_NOW = /lock|in use|busy|already|too many|temporar|try again|unavailable|later|wait|internal error/i;

function loginError({ responseCode, serverText }: RefusedError): MergeboxError {
  const code = responseCode === null ? '' : `[${responseCode}] `;
  const text = `${LOG_IN}: the server refused the login: ${code}${serverText}`;
  const notNow = responseCode === null ? NOT_NOW.test(serverText) : NOT_NOW_CODES.has(responseCode);
  return new MergeboxError(notNow ? 'connection' : 'authentication', text);
}
