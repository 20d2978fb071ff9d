import type { Log } from '../../util/log.js';
import type { KeptFiles, KeptLease } from '../local-parts.js';
import { unflagged } from '../local.js';
import type { FolderReader, FolderState, UidFlags, UpstreamMessage } from '../port.js';
import type { KnownMail, MailBook } from './book.js';
import { type Downloaded, download } from './download.js';
import { describe } from './intake.js';
import { readRow, type View } from './look.js';
import { PAGE_MAILS } from './limits.js';
import type { Pop3Session } from './session.js';
import { chunks } from '../../util/group.js';

type Parts = { readonly files: KeptFiles; readonly book: MailBook; readonly log: Log };

/** INBOX of a POP3 account during one session; what is downloaded is kept from sweeps by the lease. */
export class Pop3FolderReader implements FolderReader {
  readonly state: FolderState;
  readonly flagsOffered = [];
  readonly resync = null;
  readonly #view: View;
  readonly #session: Pop3Session;
  readonly #lease: KeptLease;
  readonly #parts: Parts;

  constructor(view: View, session: Pop3Session, lease: KeptLease, parts: Parts) {
    this.state = view.state;
    this.#view = view;
    this.#session = session;
    this.#lease = lease;
    this.#parts = parts;
  }

  async uids(): Promise<Uint32Array> {
    return Uint32Array.from(this.#view.listed);
  }

  async flags(changedSince: string | null): Promise<readonly UidFlags[]> {
    return (changedSince === null ? this.#view.listed : this.#view.arrived).map(unflagged);
  }

  async messages(uids: readonly number[], onPage: (page: readonly UpstreamMessage[]) => Promise<void>): Promise<void> {
    const { rows, numbers, sizes } = this.#view;
    const asked = uids.flatMap((uid) => rows.get(uid) ?? []);
    const absent = await this.#kept(asked, onPage);
    const wanted = absent
      .filter(({ uid }) => numbers.has(uid))
      .map(({ uid }) => ({ uid, number: numbers.get(uid)!, octets: sizes.get(numbers.get(uid)!) ?? 0 }));
    const { book, log } = this.#parts;
    await download(this.#session, this.#lease, wanted, log, async (page) => {
      await book.save(page.map((mail) => readRow(rows.get(mail.uid)!, mail)));
      await onPage(page.map(upstreamMessage));
    });
  }

  /** Hands on what was read before and is still here; answers the others. */
  async #kept(
    rows: readonly KnownMail[],
    onPage: (page: readonly UpstreamMessage[]) => Promise<void>,
  ): Promise<KnownMail[]> {
    const absent = rows.filter(({ content }) => content === null);
    for (const page of chunks(
      rows.filter(({ content }) => content !== null),
      PAGE_MAILS,
    )) {
      const found: UpstreamMessage[] = [];
      for (const row of page) {
        await this.#lease.keep(row.content!);
        const mail = await this.#parts.files.get(row.content!).catch(() => null);
        if (mail === null) absent.push(row);
        else found.push(upstreamMessage({ uid: row.uid, ...(await describe(mail, row.content!)) }));
      }
      if (found.length > 0) await onPage(found);
    }
    return absent;
  }
}

function upstreamMessage({ uid, message }: Downloaded): UpstreamMessage {
  return { ...message, uid, flags: '' };
}
