import type { Random } from '../../bench/mail/random.js';
import { type ImapClient, type ImapReply, quoted } from '../harness/imap-client.js';
import type { Mergebox } from '../harness/mergebox.js';
import type { Journal } from './journal.js';
import { listNames, type SeenMail, selectMailbox } from './mailbox-view.js';
import { allow, type ChaosMail, type MailModel } from './mails.js';

const MERGED = ['INBOX', 'Drafts', 'Sent', 'Archive', 'Junk', 'Trash'] as const;
export const FLAGS = ['\\Seen', '\\Flagged', '\\Answered', '$Work', 'Later'] as const;
/** Folders that may be deleted with all they hold; only mortal mail is put there. */
export const MORTAL_FOLDER = 'Tmp';
/** Folders that may be made and renamed, never deleted. */
export const KEPT_FOLDER = 'Keep';

const WEIGHTS = {
  store: 30,
  move: 18,
  copy: 7,
  append: 10,
  expunge: 8,
  create: 4,
  rename: 2,
  delete: 2,
  body: 6,
} as const;

/** The world that an actor is in. */
export interface Scene {
  readonly box: Mergebox;
  readonly model: MailModel;
  readonly journal: Journal;
  readonly accounts: readonly string[];
  /** Rises whenever the daemon is stopped or killed: what was under way then may be done or not. */
  stops: number;
  /** Resolves when the daemon accepts logins again; at once while it does. */
  up: Promise<void>;
  readonly expunge: boolean;
  /** Destructive commands that were checked against the ledger. */
  destructions: number;
}

/** A mail client of Mergebox: keeps its connection, and makes a new one when the daemon was restarted. */
export class ClientActor {
  readonly name: string;
  readonly #scene: Scene;
  #client: ImapClient | null = null;
  /** The number of stops of the daemon when the connection was made. */
  #born = 0;

  constructor(name: string, scene: Scene) {
    this.name = name;
    this.#scene = scene;
  }

  /** One operation, chosen by `random` and by what the mailbox shows then. */
  async act(random: Random): Promise<void> {
    const { journal } = this.#scene;
    const kind = random.weighted(WEIGHTS);
    const told = { what: '' };
    await this.#scene.up;
    if (this.#born !== this.#scene.stops) this.close();
    const stops = this.#scene.stops;
    this.#born = stops;
    try {
      const client = await this.#connected();
      const reply = await this.#run(client, kind, random, told);
      const code = /\[\w+/.exec(reply.text)?.[0] ?? '';
      const outcome = reply.status === 'OK' ? 'OK' : `${reply.status} ${code}] ${reply.text}`;
      journal.did(this.name, kind, told.what, outcome);
      if (reply.status === 'BAD') journal.fault(`${this.name}: ${kind} ${told.what}: BAD ${reply.text}`);
    } catch (error) {
      this.close();
      const text = (error as Error).message;
      journal.did(this.name, kind, told.what, `! ${text.slice(0, 60)}`);
      const excused = stops !== this.#scene.stops || /: NO /.test(text);
      if (!excused) journal.fault(`${this.name}: ${kind} ${told.what}: ${text}`);
    }
  }

  close(): void {
    this.#client?.close();
    this.#client = null;
  }

  async #connected(): Promise<ImapClient> {
    this.#client ??= await this.#scene.box.imap();
    return this.#client;
  }

  async #run(
    client: ImapClient,
    kind: keyof typeof WEIGHTS,
    random: Random,
    told: { what: string },
  ): Promise<ImapReply> {
    switch (kind) {
      case 'append':
        return this.#append(client, random, told);
      case 'create':
      case 'rename':
      case 'delete':
        return this.#folder(client, kind, random, told);
      default:
        return this.#onMails(client, kind, random, told);
    }
  }

  async #append(client: ImapClient, random: Random, told: { what: string }): Promise<ImapReply> {
    const { model, accounts } = this.#scene;
    const names = await listNames(client);
    const { mail, bytes } = model.make(random, ['client']);
    const target = pickTarget(random, names, [mail]);
    // Merged mailboxes give it to the default account: From is nobody's address.
    const account = accountOf(target, accounts) ?? accounts[0]!;
    allow(mail, [account]);
    told.what = `${mail.marker} to ${target}`;
    const flags = random.chance(0.5) ? ' (\\Seen)' : '';
    const reply = await client.command(`APPEND ${quoted(target)}${flags} {}`, bytes.get('client')!);
    if (reply.status === 'OK') mail.held.add(account);
    return reply;
  }

  async #onMails(
    client: ImapClient,
    kind: 'store' | 'move' | 'copy' | 'expunge' | 'body',
    random: Random,
    told: { what: string },
  ): Promise<ImapReply> {
    const { model } = this.#scene;
    const names = await listNames(client);
    const source = random.chance(0.4) ? 'INBOX' : random.pick(names);
    const { mails } = await selectMailbox(client, source);
    const chosen = some(random, mails);
    const known = chosen.flatMap(({ marker }) => model.get(marker) ?? []);
    told.what = `${chosen.map(({ uid, marker }) => `${uid}=${marker}`).join(' ')} in ${source}`;
    if (chosen.length === 0) return client.ok('NOOP');
    const set = chosen.map(({ uid }) => uid).join(',');
    if (kind === 'store') {
      const mode = random.pick(['+', '+', '-', '']);
      const flags = some(random, FLAGS);
      told.what += ` ${mode}${flags.join(' ')}`;
      return client.command(`UID STORE ${set} ${mode}FLAGS (${flags.join(' ')})`);
    }
    if (kind === 'body') {
      const reply = await client.command(`UID FETCH ${set} (BODY.PEEK[])`);
      this.#compare(reply, chosen);
      return reply;
    }
    if (kind === 'expunge') return this.#expunge(client, chosen, random, told);
    const target = pickTarget(random, names, known);
    told.what += ` to ${target}`;
    this.#expectTransfer(kind, known, source, target);
    for (const each of chosen) {
      // Only part of it moves: the rest may meet it again in the same mailbox, where a MOVE always makes a new UID.
      const mail = model.get(each.marker);
      const shown = each.flags.filter((flag) => flag.startsWith('$account_')).length;
      if (mail && mail.most.size > Math.max(1, shown)) mail.copied = true;
    }
    const reply = await client.command(`UID ${kind.toUpperCase()} ${set} ${quoted(target)}`);
    return reply;
  }

  /** A copy may double, a transfer to another account's mirror may take a mail away from where it was. */
  #expectTransfer(kind: 'move' | 'copy', mails: readonly ChaosMail[], source: string, target: string): void {
    const { accounts } = this.#scene;
    const account = accountOf(target, accounts);
    for (const mail of mails) {
      if (kind === 'copy') {
        mail.copied = true;
        allow(mail, account === null ? accounts : [account]);
      } else if (account !== null && account !== accountOf(source, accounts)) {
        mail.copied = true;
        allow(mail, [account]);
        for (const each of accounts) if (each !== account) mail.held.delete(each);
      }
    }
  }

  async #expunge(
    client: ImapClient,
    chosen: readonly SeenMail[],
    random: Random,
    told: { what: string },
  ): Promise<ImapReply> {
    const mortal = chosen.filter(({ marker }) => this.#scene.model.get(marker)?.mortal);
    told.what += `: ${mortal.map(({ marker }) => marker).join(' ')}`;
    if (mortal.length === 0 || !this.#scene.expunge) return client.ok('NOOP');
    const set = mortal.map(({ uid }) => uid).join(',');
    await client.ok(`UID STORE ${set} +FLAGS.SILENT (\\Deleted)`);
    return client.command(random.chance(0.5) ? `UID EXPUNGE ${set}` : 'EXPUNGE');
  }

  async #folder(
    client: ImapClient,
    kind: 'create' | 'rename' | 'delete',
    random: Random,
    told: { what: string },
  ): Promise<ImapReply> {
    const names = await listNames(client);
    if (kind === 'create') {
      const base = this.#scene.model.folderName(random.pick([MORTAL_FOLDER, KEPT_FOLDER]));
      told.what = random.chance(0.3) ? base : `Accounts/${random.pick(this.#scene.accounts)}/${base}`;
      return client.command(`CREATE ${quoted(told.what)}`);
    }
    const own = names.filter((name) => (kind === 'delete' ? isMortalFolder(name) : isOwnFolder(name)));
    if (own.length === 0) return client.ok('NOOP');
    const name = random.pick(own);
    told.what = name;
    if (kind === 'delete') return client.command(`DELETE ${quoted(name)}`);
    const to = name.replace(/(Tmp|Keep)\d+/, (_, base: string) => this.#scene.model.folderName(base));
    told.what = `${name} to ${to}`;
    return client.command(`RENAME ${quoted(name)} ${quoted(to)}`);
  }

  /** What is read under a UID must be one of the forms of the mail that it was listed as. */
  #compare(reply: ImapReply, chosen: readonly SeenMail[]): void {
    const markers = new Set(chosen.map(({ marker }) => marker));
    for (const line of reply.untagged.filter((each) => /^\d+ FETCH .*BODY\[\]/s.test(each))) {
      const marker = /^X-Chaos:\s*(\S+)/im.exec(line)?.[1] ?? null;
      if (!markers.has(marker)) this.#scene.journal.fault(`${this.name}: body of ${marker} under another UID`);
    }
  }
}

/** Up to four of them, not always neighbours. */
export function some<T>(random: Random, from: readonly T[]): T[] {
  if (from.length === 0) return [];
  const wanted = Math.min(from.length, random.int(1, 4));
  const found = new Set<T>();
  while (found.size < wanted) found.add(random.pick(from));
  return from.filter((each) => found.has(each));
}

/** A mailbox to put these into: one that may be deleted only when all of them may be destroyed. */
function pickTarget(random: Random, names: readonly string[], mails: readonly ChaosMail[]): string {
  const safe = names.filter((name) => !isMortalFolder(name) || mails.every((mail) => mail.mortal));
  return random.chance(0.6) ? random.pick(MERGED) : random.pick(safe);
}

function isMerged(name: string): boolean {
  return (MERGED as readonly string[]).includes(name);
}

/** The account of a mirror, and of a name of the user's own the default one; null for merged mailboxes. */
function accountOf(name: string, accounts: readonly string[]): string | null {
  return isMerged(name) ? null : (/^Accounts\/([^/]+)\//.exec(name)?.[1] ?? accounts[0]!);
}

export function isMortalFolder(name: string): boolean {
  return new RegExp(`(^|[/.])${MORTAL_FOLDER}\\d+$`).test(name);
}

export function isOwnFolder(name: string): boolean {
  return new RegExp(`(^|[/.])(${MORTAL_FOLDER}|${KEPT_FOLDER})\\d+$`).test(name);
}
