import type { Log } from '../util/log.js';
import type { CommandEvent } from '../wire/command-reader.js';
import { formatQuoted } from '../wire/format.js';
import type { NotifyGroup } from '../wire/notify.js';
import { ParseError } from '../wire/parse-error.js';
import { countIndexes, type IndexRange, lastIndexes } from '../wire/sequence-set.js';
import type { Backend, Mailbox, UserSession } from './backend.js';
import { capabilities } from './capability.js';
import type { State, TableCommand } from './command.js';
import { ConnectionEnded } from './connection-ended.js';
import { FetchRun } from './fetch-run.js';
import type { ImapLimits } from './limits.js';
import { Notifier, type SelectedEvents } from './notifier.js';
import type { Output } from './output.js';
import { bad, type Reply, replyLine, replyToError } from './reply.js';
import { Selected } from './selected.js';

/** What a client hears that never sent NOTIFY. */
const ALL_EVENTS: SelectedEvents = { flags: true, delayed: false, plan: null };

/** What a session needs of the connection under it. */
export interface SessionIo {
  readonly out: Output;
  /** The client's address. */
  readonly peer: string;
  /** Whether STARTTLS is offered and has not happened. */
  readonly startTlsOffered: boolean;
  /** Whether a password may be sent now. */
  readonly loginAllowed: boolean;
  /** Sends what is gathered and waits for a line of at most `maxBytes`; throws `ParseError` for a longer one. */
  readLine(maxBytes: number): Promise<Buffer>;
  /** Lets the connection look for news (`Session.hasNews`) when no command runs. */
  wake(): void;
  startTls(): Promise<void>;
  /** Whether `compress` was called. */
  readonly compressed: boolean;
  /** Sends what is gathered; from then on both directions are compressed (RFC 4978). */
  compress(): Promise<void>;
  /** Counts a session of the user; false when the user has too many already. */
  admitUser(user: string): boolean;
  /** Takes room for a message until the command is answered; false when there is none. */
  takeRoom(octets: number): boolean;
  /** Takes back `admitUser`. */
  releaseUser(): void;
  /** Ends the connection after what is gathered has been sent. */
  end(): Promise<void>;
  /** Ends the connection at once, in the middle of whatever is being said. */
  abort(): void;
}

/** What all sessions of a server share. */
export interface SessionServices {
  readonly backend: Backend;
  readonly limits: ImapLimits;
  readonly log: Log;
  /** Answer to ID (RFC 2971). */
  readonly version: string;
  /** Now, in milliseconds since the Unix epoch. */
  readonly now: () => number;
}

/** One client from greeting to logout: its state, and the execution of one command after the other. */
export class Session {
  readonly io: SessionIo;
  readonly services: SessionServices;
  readonly #commands: ReadonlyMap<string, TableCommand>;
  #user: UserSession | null = null;
  #selected: Selected | null = null;
  #condstore = false;
  #qresync = false;
  #utf8 = false;
  #rev2 = false;
  #badCommands = 0;
  #notifier: Notifier | null = null;
  #selectedNews = false;
  #unwatch: () => void = () => undefined;
  loginFailures = 0;
  /** The lowest UID that the running command works on when it leaves others out (RFC 9738 §3.1). */
  #lowest: number | null = null;
  /** How much of the running command is done, of how much in all; null when nobody counts. */
  progress: (() => readonly [number, number]) | null = null;

  constructor(io: SessionIo, services: SessionServices, commands: ReadonlyMap<string, TableCommand>) {
    this.io = io;
    this.services = services;
    this.#commands = commands;
  }

  get out(): Output {
    return this.io.out;
  }

  get limits(): ImapLimits {
    return this.services.limits;
  }

  get state(): State {
    if (this.#selected !== null) return 'selected';
    return this.#user === null ? 'unauthenticated' : 'authenticated';
  }

  /** The logged-in user; only to be asked for in states that have one. */
  get user(): UserSession {
    if (this.#user === null) throw new Error('no user is logged in');
    return this.#user;
  }

  /** The selected mailbox; only to be asked for in the selected state. */
  get selected(): Selected {
    if (this.#selected === null) throw new Error('no mailbox is selected');
    return this.#selected;
  }

  /** As `selected`, but null without one. */
  get selectedOrNull(): Selected | null {
    return this.#selected;
  }

  /** Whether the client knows of MODSEQ (RFC 7162 §3.1). */
  get condstore(): boolean {
    return this.#condstore;
  }

  /** Whether the client enabled QRESYNC (RFC 7162 §3.2.3). */
  get qresync(): boolean {
    return this.#qresync;
  }

  /** Whether names and quoted strings are UTF-8 (RFC 6855 §3, RFC 9051 §5.1). */
  get utf8(): boolean {
    return this.#utf8 || this.#rev2;
  }

  /** Whether UTF8=ACCEPT itself was enabled. */
  get utf8Accept(): boolean {
    return this.#utf8;
  }

  /** Whether the client speaks IMAP4rev2 (RFC 9051): no \Recent, ESEARCH always. */
  get rev2(): boolean {
    return this.#rev2;
  }

  /** Malformed commands so far; a command that is understood after login clears them. */
  get badCommands(): number {
    return this.#badCommands;
  }

  capabilities(): string {
    return capabilities({
      loggedIn: this.#user !== null,
      startTls: this.io.startTlsOffered,
      loginAllowed: this.io.loginAllowed,
      compressed: this.io.compressed,
      commandMessages: this.limits.commandMessages,
      messageBytes: this.limits.messageBytes,
    });
  }

  login(user: UserSession): void {
    this.#user = user;
  }

  /** Back to the state before login (RFC 8437 §3): nothing that the client enabled stays. */
  logout(): void {
    this.close();
    this.#condstore = false;
    this.#qresync = false;
    this.#utf8 = false;
    this.#rev2 = false;
    this.io.releaseUser();
  }

  /**
   * The client showed that it knows CONDSTORE (RFC 7162 §3.1): from now on FETCH responses for flag changes carry
   * MODSEQ. A mailbox that is selected already has its HIGHESTMODSEQ told again.
   */
  enableCondstore(): void {
    if (this.#condstore) return;
    this.#condstore = true;
    if (this.#selected !== null) {
      this.out.text(`* OK [HIGHESTMODSEQ ${this.#selected.tracker.modSeq}] Highest\r\n`);
    }
  }

  /** RFC 7162 §3.2.3: it takes CONDSTORE with it. */
  enableQresync(): void {
    this.#qresync = true;
    this.enableCondstore();
  }

  enableUtf8(): void {
    this.#utf8 = true;
  }

  enableRev2(): void {
    this.#rev2 = true;
  }

  async select(mailbox: Mailbox, readOnly: boolean): Promise<Selected> {
    this.unselect();
    this.#selected = await Selected.create(mailbox, { readOnly, recent: !this.#rev2 });
    this.#watch();
    return this.#selected;
  }

  unselect(): void {
    this.#unwatch();
    this.#selectedNews = false;
    this.#selected?.close();
    this.#selected = null;
  }

  /** Runs one command and answers it. */
  async execute(event: CommandEvent): Promise<void> {
    const { reply, holdsExpunge } = await this.#answer(event);
    if (reply.status !== 'BAD') await this.poll(!holdsExpunge);
    await this.reply(event.tag, this.#withLimit(this.#withModSeq(reply)));
  }

  /** Sends a tagged reply and does what follows from it. */
  async reply(tag: string | null, reply: Reply): Promise<void> {
    if (reply.status === 'BAD') this.#badCommands += 1;
    else if (this.#user !== null) this.#badCommands = 0;
    this.out.text(replyLine(tag ?? '*', reply));
    await reply.after?.();
  }

  /** Announces what happened in the selected mailbox, as far as the client wants to know (RFC 5465 §6.1). */
  async poll(expunge: boolean): Promise<void> {
    const selected = this.#selected;
    const events = this.#notifier === null ? ALL_EVENTS : this.#notifier.selected;
    if (selected === null || events === null) return;
    const last = selected.tracker.lastUid;
    const contexts = [...selected.contexts.values()];
    if (expunge) for (const context of contexts) context.tellExpunged(this);
    const options = { expunge, flags: events.flags, modSeq: this.#condstore, vanished: this.#qresync };
    if ((await selected.poll(this.out, options)) && events.plan !== null) {
      await new FetchRun(this, { tag: '', uid: true }, events.plan, selected.tracker.positionsAbove(last)).run();
    }
    for (const context of contexts) await context.tellChanges(this);
  }

  /** What the client wants to be told without asking; null before it said anything about it. */
  get notifier(): Notifier | null {
    return this.#notifier;
  }

  /** From now on the client is told of these events, and of nothing else (RFC 5465 §3.1). */
  async notify(groups: readonly NotifyGroup[]): Promise<void> {
    const next = await Notifier.start(this, groups, () => this.io.wake());
    this.#notifier?.stop();
    this.#notifier = next;
    this.#watch();
  }

  /** Whether there is something to say though no command runs. */
  get hasNews(): boolean {
    return this.#selectedNews || this.#notifier?.hasNews === true;
  }

  /** Says it. */
  async tellNews(): Promise<void> {
    this.#selectedNews = false;
    await this.poll(this.#notifier?.selected?.delayed !== true);
    await this.#notifier?.tell(this);
  }

  #watch(): void {
    this.#unwatch();
    const events = this.#notifier?.selected ?? null;
    if (this.#selected === null || events === null) return;
    this.#unwatch = this.#selected.mailbox.onChange(() => {
      this.#selectedNews = true;
      this.io.wake();
    });
  }

  /** RFC 7162 §3.2.7, §3.2.9: once everything is told, the MODSEQ the client is at. */
  #withModSeq(reply: Reply): Reply {
    if (reply.tellsModSeq !== true || !this.#qresync || this.#selected === null) return reply;
    return { ...reply, code: `HIGHESTMODSEQ ${this.#selected.tracker.modSeq}` };
  }

  /** The positions that a command works on: of too many, those of the newest messages (RFC 9738 §3.1). */
  limit(ranges: readonly IndexRange[], { tracker } = this.selected): readonly IndexRange[] {
    const { commandMessages } = this.limits;
    if (countIndexes(ranges) <= commandMessages) return ranges;
    const newest = lastIndexes(ranges, commandMessages);
    this.#lowest = tracker.uids[newest[0]![0]]!;
    return newest;
  }

  /** The code that stands for the limit, once a command has met it. */
  get limitCode(): string | null {
    return this.#lowest === null ? null : `MESSAGELIMIT ${this.limits.commandMessages} ${this.#lowest}`;
  }

  /** RFC 9738 §3.1: in the tagged reply, or untagged where that has another code. */
  #withLimit(reply: Reply): Reply {
    const code = this.limitCode;
    this.#lowest = null;
    if (code === null || reply.status !== 'OK') return reply;
    if (reply.code === undefined) return { ...reply, code };
    this.out.text(`* NO [${code}] Not all of the messages were worked on\r\n`);
    return reply;
  }

  async #answer(event: CommandEvent): Promise<{ reply: Reply; holdsExpunge: boolean }> {
    const command = this.#commands.get(event.name);
    const shown = event.uid ? `UID ${event.name}` : event.name;
    if (command === undefined || (event.uid && command.uid !== true)) {
      return { reply: bad(`Unknown command ${shown}`), holdsExpunge: true };
    }
    const holdsExpunge = command.holdsExpunge === true && !event.uid;
    if (!command.states.includes(this.state)) {
      return { reply: bad(`${shown} is not allowed when ${this.#stateText()}`), holdsExpunge };
    }
    event.parser.utf8 = this.utf8;
    const stop = command.quiet === true ? () => undefined : this.#tellProgress(event.tag);
    try {
      const run = command.prepare(event.parser);
      return { reply: await run(this, event), holdsExpunge };
    } catch (error) {
      if (error instanceof ConnectionEnded) throw error;
      const reply = replyToError(error, this.services.log);
      if (this.out.midLine) {
        // A reply within a response would be read as a part of it.
        this.services.log.error({ peer: this.io.peer, command: shown }, 'a response broke off');
        this.io.abort();
        throw new ConnectionEnded();
      }
      return { reply: error instanceof ParseError ? bad(`${shown}: ${reply.text}`) : reply, holdsExpunge };
    } finally {
      stop();
    }
  }

  /** RFC 9585 §4: a client that waits long is told that the command still runs, though not within a response. */
  #tellProgress(tag: string): () => void {
    this.progress = null;
    if (this.#user === null) return () => undefined;
    const timer = setInterval(() => {
      if (this.out.midLine) return;
      const [done, total] = this.progress?.() ?? ['NIL', 'NIL'];
      this.out.text(`* OK [INPROGRESS (${formatQuoted(tag)} ${done} ${total})] Still working\r\n`);
      this.out.flush();
    }, this.limits.progressMs);
    return () => clearInterval(timer);
  }

  #stateText(): string {
    if (this.state === 'unauthenticated') return 'not logged in';
    return this.state === 'authenticated' ? 'no mailbox is selected' : 'a mailbox is selected or a user is logged in';
  }

  /** Lets go of everything; the connection is gone. */
  close(): void {
    this.unselect();
    this.#notifier?.stop();
    this.#notifier = null;
    this.#user?.close();
    this.#user = null;
  }
}
