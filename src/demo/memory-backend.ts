import type {
  AppendMessage,
  AppendResult,
  Backend,
  Mailbox,
  MailboxInfo,
  MailboxStatus,
  QuotaRoot,
  UserChange,
  UserSession,
} from '../imap/backend.js';
import { flagText, isAccountKeyword } from '../mail/flags.js';
import { ROLE_NAMES, ROLES, type Role } from '../mail/ids.js';
import { MergeboxError } from '../util/errors.js';
import { MemoryMailbox, OpenMemoryMailbox } from './memory-mailbox.js';
import { MemoryMessage } from './memory-message.js';

export interface MemoryUserOptions {
  readonly name: string;
  readonly password: string;
  /** Mailboxes at the start, by name, with their role; INBOX is always there. One per role when absent. */
  readonly mailboxes?: Readonly<Record<string, Role | null>>;
}

/** Accounts that live in memory: the demo's upstream servers, and what the front end's tests talk to. */
export class MemoryBackend implements Backend {
  readonly #users = new Map<string, { password: string; user: MemoryUser }>();

  constructor(users: readonly MemoryUserOptions[], now: () => number = Date.now) {
    for (const options of users) {
      this.#users.set(options.name, { password: options.password, user: new MemoryUser(options, now) });
    }
  }

  async login(name: string, password: string): Promise<UserSession | null> {
    const found = this.#users.get(name);
    return found !== undefined && found.password === password ? new MemorySession(found.user) : null;
  }

  /** Throws `nonexistent`. */
  user(name: string): MemoryUser {
    const found = this.#users.get(name);
    if (found === undefined) throw new MergeboxError('nonexistent', `no user ${name} in memory`);
    return found.user;
  }
}

/** One user's mailboxes. */
export class MemoryUser {
  readonly name: string;
  readonly #now: () => number;
  readonly #mailboxes = new Map<string, { mailbox: MemoryMailbox; role: Role | null }>();
  readonly #subscribed = new Set<string>();
  readonly #annotations = new Map<string, Map<string, Buffer>>();
  readonly #listeners = new Set<(change: UserChange) => void>();
  /** What GETQUOTA tells. */
  quota: readonly QuotaRoot[] = [];
  #uidValidity: number;

  constructor(options: MemoryUserOptions, now: () => number) {
    this.name = options.name;
    this.#now = now;
    this.#uidValidity = Math.floor(now() / 1000);
    const given = options.mailboxes ?? Object.fromEntries(ROLES.map((role) => [ROLE_NAMES[role], role]));
    for (const [name, role] of Object.entries({ INBOX: 'inbox' as const, ...given })) {
      this.#add(name, role);
      this.#subscribed.add(name);
    }
  }

  /** Puts a mail into a mailbox as a delivery would; returns its UID. `date` is seconds since the Unix epoch. */
  deliver(bytes: Buffer, mailbox = 'INBOX', flags: readonly string[] = [], date?: number): number {
    return this.append(mailbox, [{ bytes, flags, ...(date === undefined ? {} : { internalDate: date }) }]).uids[0]!;
  }

  /** Throws `nonexistent`. */
  mailbox(name: string): MemoryMailbox {
    const found = this.#mailboxes.get(name);
    if (found === undefined) throw new MergeboxError('nonexistent', `mailbox ${name} does not exist`);
    return found.mailbox;
  }

  /** Of a mailbox; of the server for the empty name. Throws `nonexistent`. */
  annotations(name: string): Map<string, Buffer> {
    const key = name === '' ? '' : this.mailbox(name).mailboxId;
    const known = this.#annotations.get(key) ?? new Map<string, Buffer>();
    this.#annotations.set(key, known);
    return known;
  }

  onChange(listener: (change: UserChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  tell(change: UserChange): void {
    for (const listener of [...this.#listeners]) listener(change);
  }

  #tell(mailboxes: readonly string[], names: boolean): void {
    this.tell({ mailboxes, names });
  }

  /** As `mailbox`, for the target of a copy; throws `trycreate`. */
  target(name: string): MemoryMailbox {
    const found = this.#mailboxes.get(name);
    if (found === undefined) throw new MergeboxError('trycreate', `mailbox ${name} does not exist, create it first`);
    return found.mailbox;
  }

  append(name: string, messages: readonly AppendMessage[]): AppendResult {
    const mailbox = this.target(name);
    const uids = mailbox.add(
      messages.map((each) => ({
        message: new MemoryMessage(Buffer.from(each.bytes)),
        flags: flagText(each.flags.filter((flag) => !isAccountKeyword(flag))),
        internalDate: each.internalDate ?? Math.floor(this.#now() / 1000),
      })),
    );
    return { uidValidity: mailbox.uidValidity, uids };
  }

  list(): MailboxInfo[] {
    const infos: MailboxInfo[] = [];
    const parents = new Set<string>();
    for (const [name, { role, mailbox }] of this.#mailboxes) {
      infos.push({
        name,
        mailboxId: mailbox.mailboxId,
        role,
        selectable: true,
        subscribed: this.#subscribed.has(name),
      });
      for (let at = name.indexOf('/'); at >= 0; at = name.indexOf('/', at + 1)) parents.add(name.slice(0, at));
    }
    for (const name of parents) {
      if (this.#mailboxes.has(name)) continue;
      infos.push({ name, role: null, selectable: false, subscribed: this.#subscribed.has(name) });
    }
    return infos;
  }

  create(name: string, role: Role | null): string {
    // RFC 9051 §6.3.4: a trailing separator only says that names will come below it.
    const plain = name.replace(/\/$/, '');
    if (!validName(plain)) throw new MergeboxError('cannot', `create ${name}: levels must not be empty`);
    if (this.#mailboxes.has(plain)) throw new MergeboxError('alreadyexists', `mailbox ${plain} exists already`);
    const { mailboxId } = this.#add(plain, role);
    this.#tell([], true);
    return mailboxId;
  }

  delete(name: string): void {
    if (name === 'INBOX') throw new MergeboxError('cannot', 'INBOX cannot be deleted');
    const found = this.#mailboxes.get(name);
    if (found === undefined) {
      const parent = [...this.#mailboxes.keys()].some((each) => each.startsWith(`${name}/`));
      if (parent) throw new MergeboxError('cannot', `${name} only has mailboxes below it; delete those`);
      throw new MergeboxError('nonexistent', `mailbox ${name} does not exist`);
    }
    this.#mailboxes.delete(name);
    const { listing } = found.mailbox;
    found.mailbox.remove(listing.uids.slice(0, listing.length));
    this.#tell([], true);
  }

  rename(from: string, to: string): void {
    if (!validName(to)) throw new MergeboxError('cannot', `rename to ${to}: levels must not be empty`);
    if (this.#mailboxes.has(to)) throw new MergeboxError('alreadyexists', `mailbox ${to} exists already`);
    if (to.startsWith(`${from}/`) && from !== 'INBOX') throw new MergeboxError('cannot', `${to} is inside ${from}`);
    if (from === 'INBOX') {
      this.#renameInbox(to);
      return;
    }
    const moved = [...this.#mailboxes].filter(([name]) => name === from || name.startsWith(`${from}/`));
    if (moved.length === 0) throw new MergeboxError('nonexistent', `mailbox ${from} does not exist`);
    for (const [name, state] of moved) {
      this.#mailboxes.delete(name);
      this.#mailboxes.set(to + name.slice(from.length), state);
    }
    this.#tell([], true);
  }

  subscribe(name: string, subscribed: boolean): void {
    if (subscribed) this.#subscribed.add(name);
    else this.#subscribed.delete(name);
    this.#tell([], true);
  }

  /** RFC 9051 §6.3.6: the mail moves to the new mailbox, INBOX stays and is empty, mailboxes below it stay. */
  #renameInbox(to: string): void {
    const inbox = this.mailbox('INBOX');
    const { uids, entries } = inbox.take(Array.from(inbox.listing.uids.subarray(0, inbox.listing.length)));
    this.#add(to, null).add(entries);
    inbox.remove(uids);
    this.#tell([], true);
  }

  #add(name: string, role: Role | null): MemoryMailbox {
    const mailbox = new MemoryMailbox(this.#uidValidity++, this.#now);
    this.#mailboxes.set(name, { mailbox, role });
    mailbox.onChange(() => {
      const now = [...this.#mailboxes].find(([, state]) => state.mailbox === mailbox)?.[0];
      if (now !== undefined) this.#tell([now], false);
    });
    return mailbox;
  }
}

function validName(name: string): boolean {
  return name.split('/').every((level) => level !== '');
}

class MemorySession implements UserSession {
  readonly #user: MemoryUser;

  constructor(user: MemoryUser) {
    this.#user = user;
  }

  get user(): string {
    return this.#user.name;
  }

  async list(): Promise<readonly MailboxInfo[]> {
    return this.#user.list();
  }

  async status(name: string): Promise<MailboxStatus> {
    return this.#user.mailbox(name).status();
  }

  async open(name: string): Promise<Mailbox> {
    return new OpenMemoryMailbox(name, this.#user.mailbox(name), this.#user);
  }

  async create(name: string, role?: Role): Promise<string> {
    return this.#user.create(name, role ?? null);
  }

  async delete(name: string): Promise<void> {
    this.#user.delete(name);
  }

  async rename(from: string, to: string): Promise<void> {
    this.#user.rename(from, to);
  }

  async subscribe(name: string, subscribed: boolean): Promise<void> {
    this.#user.subscribe(name, subscribed);
  }

  async append(name: string, messages: readonly AppendMessage[]): Promise<AppendResult> {
    return this.#user.append(name, messages);
  }

  async quota(name: string | null): Promise<readonly QuotaRoot[]> {
    if (name !== null) this.#user.mailbox(name);
    return this.#user.quota;
  }

  async rights(name: string): Promise<string> {
    this.#user.mailbox(name);
    return 'lrswikxtea';
  }

  async annotations(name: string): Promise<ReadonlyMap<string, Buffer>> {
    return this.#user.annotations(name);
  }

  async annotate(name: string, changes: ReadonlyMap<string, Buffer | null>): Promise<void> {
    const annotations = this.#user.annotations(name);
    for (const [entry, value] of changes) {
      if (value === null) annotations.delete(entry);
      else annotations.set(entry, value);
    }
    this.#user.tell({ mailboxes: [], names: false, annotations: [{ mailbox: name, entries: [...changes.keys()] }] });
  }

  onChange(listener: (change: UserChange) => void): () => void {
    return this.#user.onChange(listener);
  }

  close(): void {}
}
