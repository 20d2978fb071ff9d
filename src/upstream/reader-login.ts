import type { Socket } from 'node:net';
import type { Credentials } from '../config/config.js';
import { MergeboxError } from '../util/errors.js';
import { capabilityNames, type Response, type ResponseCode, type TaggedResponse } from '../wire/response.js';
import { loginRefusal } from './errors.js';
import type { PlainDialogue } from './plain-dialogue.js';
import { ReaderConnection } from './reader-connection.js';

/** What a logged-in connection can do. */
export interface ReaderCapabilities {
  readonly names: ReadonlySet<string>;
  /** ENABLEd and so in force. */
  readonly qresync: boolean;
  readonly condstore: boolean;
}

const CONNECT = 'log in to the server';

/** RFC 9051 §6.2.1: greeting, STARTTLS, its OK. What the server says of itself before TLS is not listened to. */
export async function imapStartTls(dialogue: PlainDialogue): Promise<void> {
  const greeting = await dialogue.readLine();
  if (!/^\* OK\b/i.test(greeting)) {
    // PREAUTH in clear cannot be upgraded: whoever sends it wants the session unprotected (RFC 9051 §11.1).
    throw new MergeboxError('connection', `STARTTLS: the server greeted with: ${printable(greeting)}`);
  }
  dialogue.writeLine('M0 STARTTLS');
  for (let lines = 0; lines < 100; lines += 1) {
    const line = await dialogue.readLine();
    if (/^M0 OK\b/i.test(line)) return;
    if (/^M0 /i.test(line)) throw new MergeboxError('connection', `STARTTLS: the server refused: ${printable(line)}`);
  }
  throw new MergeboxError('protocol', 'STARTTLS: the server does not answer the command');
}

function printable(line: string): string {
  return line.slice(0, 200).replace(/[^\x20-\x7e]/g, '?');
}

/**
 * Turns a connected socket into a logged-in connection with everything enabled that reading profits from. `greeted`
 * says that STARTTLS has consumed the greeting already. The connection is closed when it fails.
 */
export async function loginReader(
  socket: Socket,
  credentials: Credentials,
  greeted: boolean,
  silenceMs: number,
): Promise<{ readonly connection: ReaderConnection; readonly capabilities: ReaderCapabilities }> {
  const connection = new ReaderConnection(socket, silenceMs);
  try {
    const greeting = greeted ? null : await readGreeting(connection);
    let names = capabilitiesIn(greeting?.code) ?? (await askCapabilities(connection));
    if (greeting?.status !== 'PREAUTH') {
      const answer = await authenticate(connection, credentials, names);
      names = capabilitiesIn(answer.code) ?? answer.names ?? (await askCapabilities(connection));
    }
    return { connection, capabilities: await enable(connection, names) };
  } catch (error) {
    const failure = error instanceof MergeboxError ? error : new MergeboxError('connection', CONNECT, { cause: error });
    connection.close(failure);
    throw failure;
  }
}

type Condition = Extract<Response, { kind: 'condition' }>;

async function readGreeting(connection: ReaderConnection): Promise<Condition> {
  let resolveGreeting: (greeting: Condition) => void = () => undefined;
  const arrived = new Promise<Condition>((resolve) => {
    resolveGreeting = resolve;
  });
  const waiting = connection.expect('wait for the greeting', {
    untagged: (response) => {
      if (response.kind === 'condition') resolveGreeting(response);
    },
  });
  const greeting = await Promise.race([arrived, waiting.promise]);
  waiting.promise.catch(() => undefined);
  waiting.end();
  if (greeting.kind === 'condition' && (greeting.status === 'OK' || greeting.status === 'PREAUTH')) return greeting;
  const text = greeting.code === null ? greeting.text : `[${greeting.code.name}] ${greeting.text}`;
  throw new MergeboxError('connection', `${CONNECT}: the server turned the connection away: ${text}`);
}

function capabilitiesIn(code: ResponseCode | null | undefined): Set<string> | null {
  return code?.name === 'CAPABILITY' ? new Set(capabilityNames(code.argument)) : null;
}

async function askCapabilities(connection: ReaderConnection): Promise<Set<string>> {
  let names: readonly string[] = [];
  await connection.run('ask for CAPABILITY', 'CAPABILITY', {
    untagged: (response) => {
      if (response.kind === 'capability') names = response.names;
    },
  });
  return new Set(names);
}

interface LoginAnswer {
  readonly code: ResponseCode | null;
  /** From an untagged CAPABILITY during the login, which some servers send. */
  readonly names: Set<string> | null;
}

async function authenticate(
  connection: ReaderConnection,
  credentials: Credentials,
  names: ReadonlySet<string>,
): Promise<LoginAnswer> {
  let told: Set<string> | null = null;
  const untagged = (response: Response): void => {
    if (response.kind === 'capability') told = new Set(response.names);
  };
  let answer: TaggedResponse;
  if (names.has('AUTH=PLAIN')) answer = await saslPlain(connection, credentials, names, untagged);
  else if (names.has('LOGINDISABLED')) {
    throw new MergeboxError('authentication', `${CONNECT}: the server offers no way to log in that Mergebox knows`);
  } else answer = await plainLogin(connection, credentials, names, untagged);
  if (answer.status !== 'OK') {
    throw loginRefusal(CONNECT, { status: answer.status, code: answer.code?.name ?? null, text: answer.text });
  }
  return { code: answer.code, names: told };
}

/** RFC 4616, with the initial response at once where SASL-IR (RFC 4959) lets it. */
function saslPlain(
  connection: ReaderConnection,
  { username, password }: Credentials,
  names: ReadonlySet<string>,
  untagged: (response: Response) => void,
): Promise<TaggedResponse> {
  const initial = Buffer.from(`\0${username}\0${password.reveal()}`, 'utf8').toString('base64');
  if (names.has('SASL-IR')) return connection.send(CONNECT, `AUTHENTICATE PLAIN ${initial}`, { untagged });
  let asked = 0;
  // A second challenge is no part of PLAIN; `*` cancels it (RFC 9051 §6.2.2).
  const continuation = (): string => {
    asked += 1;
    return asked === 1 ? initial : '*';
  };
  return connection.send(CONNECT, 'AUTHENTICATE PLAIN', { untagged, continuation });
}

/** RFC 9051 §6.2.3; what no quoted string can hold goes as a literal. */
function plainLogin(
  connection: ReaderConnection,
  { username, password }: Credentials,
  names: ReadonlySet<string>,
  untagged: (response: Response) => void,
): Promise<TaggedResponse> {
  const parts = ['LOGIN '];
  const plus = names.has('LITERAL+') || names.has('LITERAL-') || names.has('IMAP4REV2');
  for (const [index, text] of [username, password.reveal()].entries()) {
    const last = parts.length - 1;
    const space = index === 0 ? '' : ' ';
    if (/^[\x20-\x7e]*$/.test(text)) {
      parts[last] += `${space}"${text.replace(/["\\]/g, '\\$&')}"`;
      continue;
    }
    const octets = Buffer.from(text, 'utf8');
    // RFC 7888 §5: LITERAL- allows up to 4096 octets without asking.
    if (plus && octets.length <= 4_096) {
      parts[last] += `${space}{${octets.length}+}\r\n${octets.toString('latin1')}`;
    } else {
      parts[last] += `${space}{${octets.length}}`;
      parts.push(octets.toString('latin1'));
    }
  }
  const continuation = (): Buffer => Buffer.from(parts.shift() ?? '', 'latin1');
  return connection.send(CONNECT, parts.shift() ?? '', { untagged, continuation });
}

/** RFC 5161: QRESYNC brings CONDSTORE with it; a server without ENABLE turns CONDSTORE on by its first use. */
async function enable(connection: ReaderConnection, names: ReadonlySet<string>): Promise<ReaderCapabilities> {
  const offersCondstore = names.has('CONDSTORE') || names.has('QRESYNC');
  if (!names.has('ENABLE') || !offersCondstore) return { names, qresync: false, condstore: offersCondstore };
  const enabled = new Set<string>();
  const wanted = names.has('QRESYNC') ? 'QRESYNC' : 'CONDSTORE';
  const answer = await connection.send('enable extensions', `ENABLE ${wanted}`, {
    untagged: (response) => {
      if (response.kind === 'enabled') for (const name of response.names) enabled.add(name);
    },
  });
  const granted = answer.status === 'OK' && enabled.has(wanted);
  return { names, qresync: granted && wanted === 'QRESYNC', condstore: true };
}
