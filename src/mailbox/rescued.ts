import { mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { PinnedFiles, pinnedName } from '../cache/pinned-files.js';
import { syncDir } from '../cache/pinned-writer.js';
import { mirrorName } from '../store/folders.js';
import { pinnedFiles } from '../store/messages.js';
import type { Store, WriteTx } from '../store/store.js';
import { errorText, isMergeboxError, MergeboxError } from '../util/errors.js';
import { faultPoint } from '../util/fault.js';
import type { Log } from '../util/log.js';
import { Mutex } from '../util/mutex.js';
import { type AppendNote, appendMessages } from './append.js';
import type { MailContext } from './context.js';

/** Between two tries to put back what could not be put back yet, milliseconds. */
const AGAIN_MS = 60_000;

/**
 * Takes pinned files aside that a new or rebuilt database knows nothing of, before a sweep can take them for good. Each
 * may be the only copy of a mail.
 */
export async function setPinnedAside(store: Store, dir: string): Promise<void> {
  const { owed, known } = await store.read(async (tx) => ({
    owed: await tx.get(
      "SELECT 1 FROM meta WHERE key = 'rescue' UNION ALL SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM account)",
    ),
    known: await pinnedFiles(tx),
  }));
  if (owed === undefined) return;
  const files = (await readdir(path.join(dir, 'pinned')).catch(() => [])).filter((file) => !file.endsWith('.part'));
  const lost = files.filter((file) => !known.has(pinnedName(file)));
  if (lost.length > 0) await mkdir(path.join(dir, 'rescued'), { recursive: true, mode: 0o700 });
  for (const file of lost) {
    await rename(path.join(dir, 'pinned', file), path.join(dir, 'rescued', file));
    faultPoint('rescue.moved');
  }
  // A sweep takes what is in the old place: that the files have left it must outlive a power cut before it may run.
  if (lost.length > 0) for (const name of ['', 'rescued', 'pinned']) await syncDir(path.join(dir, name));
  await store.write((tx) => tx.run("DELETE FROM meta WHERE key = 'rescue'"));
}

/** Puts rescued mail back by its notes: as a new APPEND whose upload is looked for first, since it may have been made. */
export class Rescued {
  readonly #context: MailContext;
  readonly #dir: string;
  readonly #log: Log;
  readonly #mutex = new Mutex();
  #again: NodeJS.Timeout | null = null;
  #closed = false;

  /** `dir` is the user's directory. */
  constructor(context: MailContext, dir: string, log: Log) {
    this.#context = context;
    this.#dir = path.join(dir, 'rescued');
    this.#log = log;
  }

  /** To be called once the folders of the accounts are known. Resolves to how many mails were put back. */
  putBack(): Promise<number> {
    return this.#mutex.run(async () => {
      const files = this.#closed ? [] : await readdir(this.#dir).catch(() => []);
      if (files.length === 0) return 0;
      const noted = new Set(files.filter(isNote).map(pinnedName));
      const bare = files.filter((file) => !isNote(file) && !noted.has(file));
      const home = this.#localInbox();
      if (bare.length > 0 && home === null) this.#log.warn({ dir: this.#dir, files: bare.length }, UNKNOWN);
      const notes = [...files.filter(isNote), ...(home === null ? [] : bare)];
      const bodies = await PinnedFiles.open(this.#dir);
      let done = 0;
      for (const note of notes) {
        try {
          await this.#putBack(bodies, note);
          done += 1;
        } catch (error) {
          this.#log.warn({ file: path.join(this.#dir, note), err: errorText(error) }, 'mail could not be put back yet');
          this.#later();
        }
      }
      if (done > 0) this.#log.info({ mails: done }, 'mail that waited for its upload was put back');
      return done;
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#again !== null) clearTimeout(this.#again);
    await this.#mutex.run(async () => undefined);
  }

  #later(): void {
    this.#again ??= setTimeout(() => {
      this.#again = null;
      void this.putBack().catch(() => undefined);
    }, AGAIN_MS).unref();
  }

  async #putBack(bodies: PinnedFiles, file: string): Promise<void> {
    const sha256 = pinnedName(file);
    const note = isNote(file)
      ? (JSON.parse(await readFile(path.join(this.#dir, file), 'utf8')) as AppendNote)
      : await this.#bareNote(file);
    const body = await bodies.get(sha256);
    const bytes = await body.read(0, body.size);
    await this.#append(note, bytes, file).catch((error: unknown) => {
      // Its mailbox is no more: what was acknowledged must be somewhere.
      if (!isMergeboxError(error, 'trycreate', 'cannot', 'nonexistent')) throw error;
      return this.#append({ ...note, mailbox: 'INBOX', account: null }, bytes, file);
    });
    faultPoint('rescue.adopted');
    await rm(path.join(this.#dir, file));
    await this.#context.store.write((tx) => tx.run('DELETE FROM meta WHERE key = ?', [`rescued.${file}`]));
    if (!isNote(file)) return;
    const others = (await readdir(this.#dir)).filter((each) => each !== sha256 && pinnedName(each) === sha256);
    if (others.length === 0) await rm(path.join(this.#dir, sha256), { force: true });
  }

  /** Mail without a note lived here only: in a folder of a local account, or of a POP3 one. Which is not known. */
  async #bareNote(file: string): Promise<AppendNote> {
    const { mtimeMs } = await stat(path.join(this.#dir, file));
    const internalDate = Math.floor(mtimeMs / 1_000);
    return { mailbox: this.#localInbox()!, account: null, flags: '', internalDate, reason: 'mail that was here only' };
  }

  #localInbox(): string | null {
    const account = this.#context.book.all().find(({ local }) => local === true);
    return account === undefined ? null : mirrorName(account.name, 'INBOX', null);
  }

  /** Once, also when a crash comes between the commit and the removal of the note. */
  async #append(
    { mailbox, account, flags, internalDate, reason }: AppendNote,
    bytes: Buffer,
    file: string,
  ): Promise<void> {
    const before = async (tx: WriteTx): Promise<void> => {
      const changed = await tx.run('INSERT INTO meta (key, value) VALUES (?, 1) ON CONFLICT (key) DO NOTHING', [
        `rescued.${file}`,
      ]);
      if (changed === 0) throw new MergeboxError('alreadyexists', 'it was put back');
    };
    const message = { bytes, flags: flags === '' ? [] : flags.split(' '), internalDate };
    const rescued = `rescued: ${reason}`;
    const after = async (tx: WriteTx): Promise<void> => {
      await tx.run("UPDATE action SET attempts = 1 WHERE kind = 'append' AND attempts = 0 AND reason = ?", [rescued]);
    };
    const options = { reason: rescued, before, after, ...(account === null ? {} : { account }) };
    await appendMessages(this.#context, mailbox, [message], options).catch((error: unknown) => {
      if (!isMergeboxError(error, 'alreadyexists')) throw error;
    });
  }
}

function isNote(file: string): boolean {
  return file.endsWith('.json');
}

const UNKNOWN = 'mail is kept there of which no database and no note says where it belongs';
