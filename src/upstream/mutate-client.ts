import { ImapFlow, type MailboxObject } from 'imapflow';
import type { AccountConfig } from '../config/config.js';
import { errorText, MergeboxError } from '../util/errors.js';
import type { Log } from '../util/log.js';
import { encodeMutf7 } from '../wire/mutf7.js';
import { connectTcp, tlsPolicy } from './connector.js';
import { abortedError, refusal } from './errors.js';
import { libraryError, type ParsedResponse, responseCode } from './mutate-errors.js';
import type { UpstreamFeatures } from './port.js';
import { SocketDoor } from './socket-door.js';
import type { Timing } from './timing.js';

/** One argument of a command, as imapflow's compiler takes it. */
export type Argument =
  | { readonly type: 'ATOM' | 'SEQUENCE' | 'STRING'; readonly value: string }
  | { readonly type: 'LITERAL'; readonly value: Buffer; readonly isLiteral8: boolean }
  | readonly Argument[];

interface ExecOptions {
  readonly untagged?: Readonly<Record<string, (response: ParsedResponse) => Promise<void>>>;
}

/**
 * What imapflow has but does not declare. Its own STORE, COPY, MOVE and APPEND answer `false` for a refusal, drop flags
 * or send a bare EXPUNGE; `exec` is the queue beneath them and rejects with what the server said.
 */
interface Internals {
  exec(
    command: string,
    attributes: readonly Argument[],
    options?: ExecOptions,
  ): Promise<{ readonly response: ParsedResponse; next(): void }>;
  /** Ends an IDLE; present while there is one. */
  readonly preCheck?: (() => Promise<void>) | false;
  readonly folders: Map<string, { path: string }>;
}

/** A mailbox name as sent on the wire. */
export function mailboxArgument(path: string): Argument {
  if (path === '' || /\p{Cc}/u.test(path)) {
    throw new MergeboxError('nonexistent', `no folder can be called ${JSON.stringify(path)}`);
  }
  return { type: 'STRING', value: path.toUpperCase() === 'INBOX' ? 'INBOX' : encodeMutf7(path) };
}

export const atom = (value: string): Argument => ({ type: 'ATOM', value });

/** More than any LIST or SEARCH answer has any reason to be. */
const MAX_ANSWER = 16_777_216;

/** One imapflow connection, which serves once; refusals throw, silence ends it, and no error event goes unheard. */
export class MutateClient {
  readonly #flow: ImapFlow;
  readonly #internals: Internals;
  readonly #timing: Timing;
  readonly features: UpstreamFeatures;
  #failure: MergeboxError | null = null;
  /** Something happened in the selected folder. */
  onEvent: (() => void) | null = null;
  /** Called once when the connection is over. */
  onClose: ((error: MergeboxError) => void) | null = null;

  private constructor(flow: ImapFlow, timing: Timing) {
    this.#flow = flow;
    this.#internals = flow as unknown as Internals;
    this.#timing = timing;
    this.features = featuresOf(flow);
    // imapflow puts the namespace's prefix before every name that lacks it, also before those of other namespaces.
    flow.namespace = { prefix: '', delimiter: this.features.delimiter ?? '' };
    flow.removeAllListeners('error');
    flow.on('error', (error: unknown) => {
      this.#failure ??= libraryError('talk to the server', error);
    });
    flow.on('close', () => {
      this.#failure ??= new MergeboxError('connection', `the server closed the connection${byeText(flow)}`);
      this.onClose?.(this.#failure);
      this.onClose = null;
    });
    for (const event of ['exists', 'expunge', 'flags']) flow.on(event, () => this.onEvent?.());
  }

  /** Connects and logs in. Rejects with `connection`, `timeout`, `authentication`, `protocol` or `aborted`. */
  static async open(account: AccountConfig, timing: Timing, log: Log, signal: AbortSignal): Promise<MutateClient> {
    const doing = `log in to ${account.endpoint.host}:${account.endpoint.port}`;
    const door = account.endpoint.proxy ? await openDoor(account, timing, signal) : null;
    const flow = new ImapFlow(flowOptions(account, timing, log, door));
    // The connect promise tells; later ones are heard by the constructor.
    flow.on('error', () => undefined);
    const onAbort = (): void => flow.close();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await flow.connect();
      if (!flow.usable) throw new MergeboxError('connection', `${doing}: the server closed the connection`);
      return new MutateClient(flow, timing);
    } catch (error) {
      flow.close();
      throw signal.aborted ? abortedError(doing) : libraryError(doing, error);
    } finally {
      signal.removeEventListener('abort', onAbort);
      await door?.close();
    }
  }

  get closed(): boolean {
    return this.#failure !== null || !this.#flow.usable;
  }

  has(capability: string): boolean {
    return this.#flow.capabilities.has(capability);
  }

  /** The folder that is selected, if any. */
  get selected(): MailboxObject | null {
    return this.#flow.mailbox || null;
  }

  /** Selects the folder for writing unless it is selected already. Throws `nonexistent`, `refused`. */
  async select(path: string): Promise<MailboxObject> {
    const open = this.selected;
    if (open !== null && open.path === path && open.readOnly !== true) return open;
    const mailbox = await this.#open(path, false);
    if (mailbox.readOnly === true) {
      throw refusal(`select ${path}`, { status: 'NO', code: 'NOPERM', text: 'the folder is read-only' });
    }
    return mailbox;
  }

  /** Leaves `path` without CLOSE, which would expunge, so that the folder can be renamed or deleted. */
  async leave(path: string): Promise<void> {
    if (this.selected?.path === path && path.toUpperCase() !== 'INBOX') await this.#open('INBOX', true);
  }

  async #open(path: string, readOnly: boolean): Promise<MailboxObject> {
    // Refuses what no name can hold.
    mailboxArgument(path);
    // Spares the LIST that imapflow sends before it selects a folder it does not know.
    this.#internals.folders.set(path, { path });
    return this.#watched(`select ${path}`, 0, () => this.#flow.mailboxOpen(path, { readOnly }));
  }

  /**
   * Sends a command. Resolves to the words of the OK's response code; throws `refused` or `nonexistent` for NO and BAD.
   * `octets` is how much is uploaded, for which a slow line gets more time.
   */
  async exec(
    doing: string,
    command: string,
    attributes: readonly Argument[],
    options: ExecOptions = {},
    octets = 0,
  ): Promise<readonly string[]> {
    return this.#watched(doing, octets, async () => {
      const { response, next } = await this.#internals.exec(command, attributes, options);
      next();
      // imapflow resolves a NO that speaks of expunged messages.
      if (response.command?.toUpperCase() !== 'OK') {
        const code = responseCode(response)[0]?.toUpperCase() ?? null;
        throw refusal(doing, { status: 'NO', code, text: 'some of the messages no longer exist' });
      }
      return responseCode(response);
    });
  }

  /** Folders as imapflow tells them, names as sent. */
  list(): ReturnType<ImapFlow['list']> {
    return this.#watched('list folders', 0, () => this.#flow.list());
  }

  /** Listens in the selected folder; resolves when the IDLE has ended, for whatever reason. */
  async idle(): Promise<void> {
    await this.#flow.idle().catch(() => undefined);
  }

  get idling(): boolean {
    return this.#flow.idling;
  }

  /** Ends an IDLE, so that commands can be sent. */
  async breakIdle(): Promise<void> {
    const { preCheck } = this.#internals;
    if (typeof preCheck === 'function') {
      await this.#watched('end IDLE', 0, () => preCheck());
    }
  }

  /** A round trip that shows that the connection lives. */
  async noop(): Promise<void> {
    await this.exec('try the connection', 'NOOP', []);
  }

  /** Drops the connection; what runs rejects with `error`. */
  close(error: MergeboxError): void {
    this.#failure ??= error;
    this.#flow.close();
  }

  /** Runs `task` while looking that the server does not fall silent or answer without end. */
  async #watched<T>(doing: string, octets: number, task: () => Promise<T>): Promise<T> {
    if (this.#failure !== null) throw this.#failure;
    // 16 KiB/s is the slowest line on which an upload may still succeed.
    const patience = this.#timing.silenceMs + (octets / 16_384) * 1_000;
    const start = this.#flow.stats().received;
    let last = { received: start, at: Date.now() };
    const look = (): void => {
      const { received } = this.#flow.stats();
      if (received - start > MAX_ANSWER) {
        this.close(new MergeboxError('protocol', `${doing}: the server's answer has no end`));
      } else if (received !== last.received) {
        last = { received, at: Date.now() };
      } else if (Date.now() - last.at >= patience) {
        this.close(
          new MergeboxError('timeout', `${doing}: the server was silent for ${Math.round(patience / 1_000)} s`),
        );
      }
    };
    const timer = setInterval(look, Math.max(20, Math.min(1_000, patience / 4)));
    try {
      return await task();
    } catch (error) {
      throw this.#failure ?? libraryError(doing, error);
    } finally {
      clearInterval(timer);
    }
  }
}

async function openDoor({ endpoint }: AccountConfig, timing: Timing, signal: AbortSignal): Promise<SocketDoor> {
  return SocketDoor.open(await connectTcp(endpoint, timing.connectMs, signal));
}

function flowOptions(
  account: AccountConfig,
  timing: Timing,
  log: Log,
  door: SocketDoor | null,
): ConstructorParameters<typeof ImapFlow>[0] {
  const { endpoint, auth } = account;
  const secure = endpoint.tls === 'implicit';
  return {
    host: endpoint.host,
    port: endpoint.port,
    secure,
    // Without either of them imapflow upgrades when it can, which whoever is in between can prevent.
    ...(secure ? {} : { doSTARTTLS: endpoint.tls === 'starttls' }),
    // These go to the connection itself too, whether or not it is TLS from the start; `path` comes before host and port.
    tls: { ...(endpoint.tls === 'none' ? {} : tlsPolicy(endpoint)), ...(door === null ? {} : { path: door.path }) },
    auth: { user: auth.username, pass: auth.password.reveal() },
    clientInfo: { name: 'Mergebox', version: false, vendor: false, 'support-url': false },
    connectionTimeout: timing.connectMs,
    greetingTimeout: timing.handshakeMs,
    // Only the last resort: every command is watched, and IDLE is renewed.
    socketTimeout: timing.idleRenewMs * 3 + timing.silenceMs,
    disableAutoIdle: true,
    disableCompression: true,
    // Names stay in modified UTF-7 and sequence numbers in EXPUNGE, as every server speaks it.
    disableAutoEnable: true,
    disableIMAP4rev2: true,
    maxLineLength: 16_777_216,
    maxLiteralSize: 16_777_216,
    maxResponseSize: 33_554_432,
    logger: quietLogger(log),
  };
}

/** imapflow's talk at our lowest level, without its error objects, which hold more than is good in a log. */
function quietLogger(log: Log): {
  debug(o: unknown): void;
  info(o: unknown): void;
  warn(o: unknown): void;
  error(o: unknown): void;
} {
  const tell = (entry: unknown): void => {
    if (!log.isLevelEnabled('trace')) return;
    const { msg, src, err } = (entry ?? {}) as { msg?: unknown; src?: unknown; err?: unknown };
    const reason = err === undefined ? undefined : errorText(err);
    log.trace({ from: src, reason }, `imapflow: ${String(msg ?? '').slice(0, 500)}`);
  };
  return { debug: tell, info: tell, warn: tell, error: tell };
}

function featuresOf(flow: ImapFlow): UpstreamFeatures {
  const names = [...flow.capabilities.keys()].map((name) => name.toUpperCase());
  const has = (name: string): boolean => names.includes(name);
  return {
    condstore: has('CONDSTORE') || has('QRESYNC'),
    qresync: has('QRESYNC') && has('ENABLE'),
    uidplus: has('UIDPLUS'),
    move: has('MOVE'),
    idle: has('IDLE'),
    specialUse: has('SPECIAL-USE') || has('XLIST'),
    capabilities: names,
    prefix: flow.namespace?.prefix ?? '',
    delimiter: flow.namespace?.delimiter || null,
  };
}

function byeText(flow: ImapFlow): string {
  return flow.byeReason === undefined ? '' : `: ${flow.byeReason}`;
}
