import type { Random } from '../../bench/mail/random.js';
import { type ImapClient, quoted } from '../harness/imap-client.js';
import { FLAGS, isMortalFolder, isOwnFolder, KEPT_FOLDER, MORTAL_FOLDER, type Scene, some } from './client-actor.js';
import { listNames, type SeenMail, selectMailbox } from './mailbox-view.js';
import { allow } from './mails.js';
import type { Upstream } from './upstreams.js';

const WEIGHTS = { deliver: 20, store: 20, move: 15, copy: 5, expunge: 8, create: 3, rename: 2, delete: 2 } as const;

/** Clients that log in to the servers themselves, past Mergebox; one of them delivers. */
export class DirectActor {
  readonly name: string;
  readonly #scene: Scene;
  readonly #upstreams: readonly Upstream[];

  constructor(name: string, scene: Scene, upstreams: readonly Upstream[]) {
    this.name = name;
    this.#scene = scene;
    this.#upstreams = upstreams;
  }

  async act(random: Random): Promise<void> {
    const kind = random.weighted(WEIGHTS);
    const told = { what: '' };
    let outcome = 'OK';
    try {
      if (kind === 'deliver') await this.#deliver(random, told);
      else await this.#with(random.pick(this.#upstreams), (client, at) => this.#run(client, at, kind, random, told));
    } catch (error) {
      // A server that is being restarted, or another client that was first.
      outcome = `! ${(error as Error).message.slice(0, 60)}`;
    }
    this.#scene.journal.did(this.name, kind, told.what, outcome);
  }

  /** New mail for one account, or the same for several by different routes. */
  async #deliver(random: Random, told: { what: string }): Promise<void> {
    const targets = random.chance(0.45) ? some(random, this.#upstreams) : [random.pick(this.#upstreams)];
    const { mail, bytes } = this.#scene.model.make(
      random,
      targets.map(({ id }) => id),
    );
    told.what = `${mail.marker}${mail.mortal ? ' (mortal)' : ''} at ${targets.map(({ id }) => id).join(' ')}`;
    for (const target of targets) {
      allow(mail, [target.id]);
      await this.#with(target, async (client) => {
        await client.ok(`APPEND INBOX${random.chance(0.3) ? ' (\\Seen)' : ''} {}`, bytes.get(target.id)!);
        mail.held.add(target.id);
      });
    }
  }

  async #run(
    client: ImapClient,
    at: Upstream,
    kind: Exclude<keyof typeof WEIGHTS, 'deliver'>,
    random: Random,
    told: { what: string },
  ): Promise<void> {
    const names = await listNames(client);
    if (kind === 'create' || kind === 'rename' || kind === 'delete') {
      await this.#folder(client, at, kind, names, random, told);
      return;
    }
    const source = random.chance(0.5) ? 'INBOX' : random.pick(names);
    const { mails } = await selectMailbox(client, source);
    const chosen = some(random, mails);
    told.what = `${chosen.map(({ uid, marker }) => `${uid}=${marker}`).join(' ')} in ${at.id}:${source}`;
    if (chosen.length === 0) return;
    const set = chosen.map(({ uid }) => uid).join(',');
    if (kind === 'store') {
      const mode = random.pick(['+', '-']);
      const flags = some(random, FLAGS);
      told.what += ` ${mode}${flags.join(' ')}`;
      await client.ok(`UID STORE ${set} ${mode}FLAGS (${flags.join(' ')})`);
    } else if (kind === 'expunge') {
      const mortal = chosen.filter(({ marker }) => this.#scene.model.get(marker)?.mortal);
      if (mortal.length > 0 && this.#scene.expunge) await expunge(client, at, mortal);
    } else await this.#transfer(client, at, kind, { names, chosen, source }, random, told);
  }

  async #transfer(
    client: ImapClient,
    at: Upstream,
    kind: 'move' | 'copy',
    { names, chosen, source }: { names: readonly string[]; chosen: readonly SeenMail[]; source: string },
    random: Random,
    told: { what: string },
  ): Promise<void> {
    const known = chosen.flatMap(({ marker }) => this.#scene.model.get(marker) ?? []);
    const safe = names.filter((name) => !isMortalFolder(name) || known.every((mail) => mail.mortal));
    const target = random.pick(safe);
    told.what += ` to ${target}`;
    if (target === source) return;
    const set = chosen.map(({ uid }) => uid).join(',');
    const { id, moves } = at;
    if (kind === 'move' && moves) {
      await at.directMoves.run(() => this.#move(client, at, { chosen, source, target }));
      return;
    }
    // Between COPY and EXPUNGE another client may take the source elsewhere: then there are two.
    for (const mail of known) {
      allow(mail, [id]);
      mail.copied = true;
    }
    await client.ok(`UID COPY ${set} ${quoted(target)}`);
    if (kind === 'copy') return;
    // Its \\Deleted is that of all copies for a moment, in which anybody's EXPUNGE may destroy those.
    for (const mail of known) for (const account of this.#scene.accounts) if (account !== id) mail.held.delete(account);
    await expunge(client, at, chosen);
  }

  async #move(
    client: ImapClient,
    at: Upstream,
    { chosen, source, target }: { chosen: readonly SeenMail[]; source: string; target: string },
  ): Promise<void> {
    const since = Date.now();
    try {
      await client.ok(`UID MOVE ${chosen.map(({ uid }) => uid).join(',')} ${quoted(target)}`);
    } finally {
      for (const { uid, marker } of chosen) {
        const mail = this.#scene.model.get(marker);
        if (mail === undefined || !at.watch.overlaps(source, uid, since)) continue;
        allow(mail, [at.id]);
        mail.copied = true;
      }
    }
  }

  async #folder(
    client: ImapClient,
    at: Upstream,
    kind: 'create' | 'rename' | 'delete',
    names: readonly string[],
    random: Random,
    told: { what: string },
  ): Promise<void> {
    if (kind === 'create') {
      const name = `${at.prefix}${this.#scene.model.folderName(random.pick([MORTAL_FOLDER, KEPT_FOLDER]))}`;
      told.what = `${at.id}:${name}`;
      await client.ok(`CREATE ${quoted(name)}`);
      return;
    }
    const own = names.filter((name) => (kind === 'delete' ? isMortalFolder(name) : isOwnFolder(name)));
    if (own.length === 0) return;
    const name = random.pick(own);
    told.what = `${at.id}:${name}`;
    if (kind === 'delete') await client.ok(`DELETE ${quoted(name)}`);
    else {
      const to = name.replace(/(Tmp|Keep)\d+/, (_, base: string) => this.#scene.model.folderName(base));
      told.what += ` to ${to}`;
      await client.ok(`RENAME ${quoted(name)} ${quoted(to)}`);
    }
  }

  async #with(at: Upstream, use: (client: ImapClient, at: Upstream) => Promise<void>): Promise<void> {
    const client = await at.server.imap();
    try {
      await use(client, at);
    } finally {
      client.close();
    }
  }
}

/** Marks and removes; a plain server removes whatever else is marked as well, which only mortal mail ever is. */
async function expunge(client: ImapClient, at: Upstream, mails: readonly SeenMail[]): Promise<void> {
  const set = mails.map(({ uid }) => uid).join(',');
  await client.ok(`UID STORE ${set} +FLAGS.SILENT (\\Deleted)`);
  await client.ok(at.plain ? 'EXPUNGE' : `UID EXPUNGE ${set}`);
}
