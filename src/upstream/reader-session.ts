import { MergeboxError } from '../util/errors.js';
import { encodeMutf7 } from '../wire/mutf7.js';
import { listWords, modSeqText, type Response, uint32 } from '../wire/response.js';
import type { FetchItems } from '../wire/response-fetch.js';
import type { NumberRange } from '../wire/response-set.js';
import { RefusedError } from './errors.js';
import { FlagTexts } from './flag-texts.js';
import { ARRIVALS_SLACK, MAX_MESSAGES } from './limits.js';
import type { FolderCursor, FolderRef, FolderState, UidFlags } from './port.js';
import type { CommandHandler, ReaderConnection } from './reader-connection.js';
import type { ReaderCapabilities } from './reader-login.js';

/** What EXAMINE told of a folder. */
export interface Opened {
  readonly state: FolderState;
  readonly flagsOffered: readonly string[] | null;
  readonly resync: { readonly vanished: readonly NumberRange[]; readonly changed: readonly UidFlags[] } | null;
}

/** A mailbox name as a quoted string; refuses what no name can hold. */
export function quotedMailbox(path: string): string {
  if (path === '' || /\p{Cc}/u.test(path)) {
    throw new MergeboxError('nonexistent', `no folder can be called ${JSON.stringify(path)}`);
  }
  // INBOX in any case is the one INBOX (RFC 9051 §5.1).
  const name = path.toUpperCase() === 'INBOX' ? 'INBOX' : encodeMutf7(path);
  return `"${name.replace(/["\\]/g, '\\$&')}"`;
}

/** A logged-in reader connection and the folder it has open. It sends EXAMINE and never SELECT. */
export class ReaderSession {
  readonly connection: ReaderConnection;
  readonly capabilities: ReaderCapabilities;
  readonly flags = new FlagTexts();
  #selected: { readonly ref: FolderRef; exists: number } | null = null;

  constructor(connection: ReaderConnection, capabilities: ReaderCapabilities) {
    this.connection = connection;
    this.capabilities = capabilities;
    connection.onUntagged = (response) => this.#onUntagged(response);
  }

  /** Messages in the open folder, by the server's latest word. */
  get exists(): number {
    return this.#selected?.exists ?? 0;
  }

  /** Opens a folder read-only. Throws `nonexistent`, `refused`, or `protocol` for a folder without UIDVALIDITY. */
  async examine(path: string, since: FolderCursor | null): Promise<Opened> {
    const examining = new Examining(this.flags);
    const parameters = this.#parameters(since);
    this.#selected = null;
    await this.#run(path, `EXAMINE ${quotedMailbox(path)}${parameters}`, examining);
    const uidValidity = examining.uidValidity;
    if (uidValidity === null) throw new MergeboxError('protocol', `open ${path}: the folder has no UIDVALIDITY`);
    if (examining.exists > MAX_MESSAGES) {
      throw new MergeboxError('protocol', `open ${path}: ${examining.exists} messages are more than Mergebox handles`);
    }
    this.#selected = { ref: { path, uidValidity }, exists: examining.exists };
    const highestModSeq = this.capabilities.condstore ? examining.highestModSeq : null;
    const uidNext = examining.uidNext ?? (await this.#uidNext(examining.exists));
    return {
      state: { uidValidity, uidNext, exists: examining.exists, highestModSeq },
      flagsOffered: examining.permanentFlags,
      resync: this.#resync(examining, since, highestModSeq),
    };
  }

  /** Opens the folder unless it is the open one. Throws `uidvalidity` when it is not the folder that was meant. */
  async ensure(ref: FolderRef): Promise<void> {
    const open = this.#selected?.ref;
    const uidValidity =
      open?.path === ref.path ? open.uidValidity : (await this.examine(ref.path, null)).state.uidValidity;
    if (uidValidity !== ref.uidValidity) {
      throw new MergeboxError(
        'uidvalidity',
        `open ${ref.path}: UIDVALIDITY is ${uidValidity}, not ${ref.uidValidity} any more`,
      );
    }
  }

  /** Leaves the open folder, so that STATUS of it is fresh; without UNSELECT (RFC 3691) it stays open. */
  async unselect(): Promise<void> {
    if (this.#selected === null || !this.capabilities.names.has('UNSELECT')) return;
    this.#selected = null;
    await this.connection.run('leave the folder', 'UNSELECT');
  }

  /** Throws `protocol` once a folder told more messages than it can have. */
  checkCount(count: number): void {
    if (count > this.exists + ARRIVALS_SLACK) {
      throw new MergeboxError('protocol', `the server tells of ${count} messages in a folder of ${this.exists}`);
    }
  }

  /** Where the server refuses without saying that the folder is gone, LIST tells whether it is. */
  async #run(path: string, command: string, handler: CommandHandler): Promise<void> {
    try {
      await this.connection.run(`open ${path}`, command, handler);
    } catch (error) {
      if (error instanceof RefusedError && error.responseCode === null && !(await this.#isListed(path))) {
        throw new MergeboxError('nonexistent', `open ${path}: ${error.serverText}`);
      }
      throw error;
    }
  }

  async #isListed(path: string): Promise<boolean> {
    // As a pattern such a name could match others.
    if (/[*%]/.test(path)) return true;
    let listed = false;
    await this.connection.run(`look for ${path}`, `LIST "" ${quotedMailbox(path)}`, {
      untagged: (response) => {
        if (response.kind === 'list' && !response.attributes.includes('\\nonexistent')) listed = true;
      },
    });
    return listed;
  }

  #parameters(since: FolderCursor | null): string {
    if (since !== null && since.modSeq !== null && this.capabilities.qresync) {
      // RFC 7162 §3.2.5
      return ` (QRESYNC (${since.uidValidity} ${since.modSeq}))`;
    }
    return this.capabilities.condstore && !this.capabilities.qresync ? ' (CONDSTORE)' : '';
  }

  #resync(examining: Examining, since: FolderCursor | null, highestModSeq: string | null): Opened['resync'] {
    if (since === null || since.modSeq === null || !this.capabilities.qresync || highestModSeq === null) return null;
    // RFC 7162 §3.2.5.1: with another UIDVALIDITY the server ignores the parameter.
    if (examining.uidValidity !== since.uidValidity) return null;
    return { vanished: examining.vanished, changed: examining.changed };
  }

  /** For servers that do not tell UIDNEXT: one above the last UID. */
  async #uidNext(exists: number): Promise<number> {
    if (exists === 0) return 1;
    let last = 0;
    await this.connection.run('ask for the last UID', 'UID FETCH * (UID)', {
      fetch: (_bytes, items) => {
        last = Math.max(last, items.uid);
        return true;
      },
    });
    return last + 1;
  }

  #onUntagged(response: Response): void {
    const selected = this.#selected;
    if (selected === null) return;
    if (response.kind === 'exists') selected.exists = response.number;
    else if (response.kind === 'expunge') selected.exists = Math.max(0, selected.exists - 1);
  }
}

/** Takes what EXAMINE brings (RFC 9051 §6.3.3, RFC 7162 §3.1.2 and §3.2.5). */
class Examining implements CommandHandler {
  exists = 0;
  uidValidity: number | null = null;
  uidNext: number | null = null;
  highestModSeq: string | null = null;
  permanentFlags: readonly string[] | null = null;
  readonly vanished: NumberRange[] = [];
  readonly changed: UidFlags[] = [];
  readonly #flags: FlagTexts;

  constructor(flags: FlagTexts) {
    this.#flags = flags;
  }

  fetch(bytes: Buffer, items: FetchItems): boolean {
    if (items.uid < 1 || items.flagsStart === -1) return true;
    if (this.changed.length > MAX_MESSAGES) throw new MergeboxError('protocol', 'the server tells of endless changes');
    this.changed.push({ uid: items.uid, flags: this.#flags.at(bytes, items.flagsStart, items.flagsEnd) });
    return true;
  }

  untagged(response: Response): void {
    if (response.kind === 'exists') this.exists = response.number;
    else if (response.kind === 'vanished') {
      if (this.vanished.length > MAX_MESSAGES) throw new MergeboxError('protocol', 'the server tells of endless UIDs');
      for (const range of response.uids) this.vanished.push(range);
    } else if (response.kind === 'condition' && response.code !== null) {
      this.#code(response.code.name, response.code.argument);
    }
  }

  #code(name: string, argument: string): void {
    switch (name) {
      case 'UIDVALIDITY':
        this.uidValidity = uint32(argument, name);
        break;
      case 'UIDNEXT':
        this.uidNext = uint32(argument, name);
        break;
      case 'HIGHESTMODSEQ':
        this.highestModSeq = modSeqText(argument);
        break;
      case 'NOMODSEQ':
        this.highestModSeq = null;
        break;
      case 'PERMANENTFLAGS': {
        const flags = listWords(argument);
        // A read-only folder tells none, which says nothing of what it can hold.
        this.permanentFlags = flags.length === 0 ? null : flags;
        break;
      }
      case 'CLOSED':
        // RFC 7162 §3.2.11: what came before was of the folder that was open.
        this.changed.length = 0;
        this.vanished.length = 0;
        break;
    }
  }
}
