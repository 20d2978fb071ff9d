import { isMergeboxError } from '../util/errors.js';
import { formatAstring, formatFlagList, formatMailbox } from '../wire/format.js';
import type { NotifyEvent, NotifyGroup } from '../wire/notify.js';
import type { StatusItem } from '../wire/status-item.js';
import type { MailboxInfo, UserChange } from './backend.js';
import { sortMailboxes } from './commands/list.js';
import { type FetchPlan, planFetch } from './fetch-plan.js';
import { isMeant } from './mailbox-filter.js';
import type { Session } from './session.js';
import { writeStatus } from './status-response.js';

/** What the client wants to hear of the selected mailbox (RFC 5465 §6.1). */
export interface SelectedEvents {
  readonly flags: boolean;
  /** SELECTED-DELAYED: removals wait for a command that lets them be told. */
  readonly delayed: boolean;
  /** What is told of new messages; null for no more than EXISTS. */
  readonly plan: FetchPlan | null;
}

/**
 * What one session is told without asking (RFC 5465). Changes only leave a mark here; what to say is worked out when the
 * connection has nothing else to say, from the state as it is then, so that a slow client costs no memory.
 */
export class Notifier {
  readonly #groups: readonly NotifyGroup[];
  /** Null: nothing of the selected mailbox. */
  readonly selected: SelectedEvents | null;
  readonly #changed = new Set<string>();
  readonly #annotated = new Map<string, Set<string>>();
  #names = false;
  /** The mailboxes as they were told last. */
  #known: ReadonlyMap<string, MailboxInfo>;
  /** STATUS as it was told last, without what the client does not want to hear of. */
  readonly #told = new Map<string, string>();
  readonly #stop: () => void;

  private constructor(
    groups: readonly NotifyGroup[],
    infos: readonly MailboxInfo[],
    subscribe: (listener: (change: UserChange) => void) => () => void,
    wake: () => void,
  ) {
    this.#groups = groups;
    this.#known = new Map(infos.map((info) => [info.name, info]));
    const own = groups.find(({ filter }) => filter.type.startsWith('selected'));
    this.selected =
      own === undefined || own.events.size === 0
        ? null
        : {
            flags: own.events.has('FlagChange'),
            delayed: own.filter.type === 'selected-delayed',
            plan: own.fetch === null ? null : { ...planFetch(own.fetch, ['UID']), setsSeen: false },
          };
    this.#stop = subscribe((change) => {
      for (const name of change.mailboxes) this.#changed.add(name);
      for (const { mailbox, entries } of change.annotations ?? []) {
        const known = this.#annotated.get(mailbox) ?? new Set();
        for (const entry of entries) known.add(entry);
        this.#annotated.set(mailbox, known);
      }
      this.#names ||= change.names;
      wake();
    });
  }

  static async start(session: Session, groups: readonly NotifyGroup[], wake: () => void): Promise<Notifier> {
    const { user } = session;
    const infos = sortMailboxes(await user.list());
    return new Notifier(groups, infos, (listener) => user.onChange(listener), wake);
  }

  get hasNews(): boolean {
    return this.#names || this.#changed.size > 0 || this.#annotated.size > 0;
  }

  stop(): void {
    this.#stop();
  }

  /** STATUS of every mailbox of which messages are told, but the selected one (RFC 5465 §3.1). */
  async tellAll(session: Session): Promise<void> {
    for (const info of this.#known.values()) await this.#status(session, info, true);
  }

  async tell(session: Session): Promise<void> {
    // Before the first pause: what comes later leaves its mark again.
    const changed = [...this.#changed];
    const annotated = [...this.#annotated];
    const names = this.#names;
    this.#changed.clear();
    this.#annotated.clear();
    this.#names = false;
    if (names) await this.#tellNames(session);
    for (const name of changed) {
      const info = this.#known.get(name);
      if (info !== undefined) await this.#status(session, info, false);
    }
    for (const [name, entries] of annotated) this.#tellAnnotated(session, name, entries);
  }

  /** The first group that means a mailbox decides; the selected one has its own (§6.1). */
  #events(info: Pick<MailboxInfo, 'name' | 'subscribed'>): ReadonlySet<NotifyEvent> {
    return this.#groups.find(({ filter }) => isMeant(filter, info))?.events ?? NONE;
  }

  async #status(session: Session, info: MailboxInfo, always: boolean): Promise<void> {
    if (!info.selectable || info.nonexistent === true) return;
    if (session.selectedOrNull?.mailbox.name === info.name) return;
    const events = this.#events(info);
    if (!events.has('MessageNew')) return;
    const flags = events.has('FlagChange');
    // §5.1 to §5.3: what each event has to carry, and MODSEQs for those who know them.
    const items: StatusItem[] = ['MESSAGES', 'UIDNEXT', 'UIDVALIDITY', ...(flags ? (['UNSEEN'] as const) : [])];
    if (session.condstore) items.push('HIGHESTMODSEQ');
    try {
      const { messages, uidNext, unseen, highestModSeq } = await session.user.status(info.name);
      const state = flags ? `${messages} ${uidNext} ${unseen} ${highestModSeq}` : `${messages} ${uidNext}`;
      if (!always && this.#told.get(info.name) === state) return;
      this.#told.set(info.name, state);
      await writeStatus(session, info.name, items);
    } catch (error) {
      // A mailbox that is gone is told as such by its name.
      if (!isMergeboxError(error)) throw error;
    }
  }

  /** §5.4, §5.5: LIST for mailboxes that came, went, were renamed, or are subscribed otherwise. */
  async #tellNames(session: Session): Promise<void> {
    const before = this.#known;
    const infos = sortMailboxes(await session.user.list());
    this.#known = new Map(infos.map((info) => [info.name, info]));
    const ids = new Map([...before.values()].map((info) => [info.mailboxId, info.name]));
    const renamed = new Set<string>();
    for (const info of infos) {
      const old = before.get(info.name);
      const events = this.#events(info);
      const oldName = info.mailboxId === undefined ? undefined : ids.get(info.mailboxId);
      if (old === undefined && events.has('MailboxName')) {
        const isRenamed = oldName !== undefined && oldName !== info.name;
        if (isRenamed) renamed.add(oldName);
        const oldText = isRenamed ? ` ("OLDNAME" (${formatMailbox(oldName, session)}))` : '';
        writeList(session, info.name, attributes(info), oldText);
      } else if (old !== undefined && old.subscribed !== info.subscribed && events.has('SubscriptionChange')) {
        writeList(session, info.name, attributes(info));
      }
    }
    for (const [name, info] of before) {
      if (this.#known.has(name) || renamed.has(name)) continue;
      this.#told.delete(name);
      if (this.#events(info).has('MailboxName')) writeList(session, name, ['\\NonExistent']);
    }
  }

  /** §5.6, §5.7: which entries changed, not to what (RFC 5464 §4.4.2). */
  #tellAnnotated(session: Session, name: string, entries: ReadonlySet<string>): void {
    const wanted =
      name === ''
        ? this.#groups.some(({ events }) => events.has('ServerMetadataChange'))
        : this.#events(this.#known.get(name) ?? { name, subscribed: false }).has('MailboxMetadataChange');
    if (!wanted) return;
    session.out.utf8(`* METADATA ${formatMailbox(name, session)} ${[...entries].map(formatAstring).join(' ')}\r\n`);
  }
}

const NONE: ReadonlySet<NotifyEvent> = new Set();

function attributes({ selectable, subscribed }: MailboxInfo): string[] {
  return [...(selectable ? [] : ['\\Noselect']), ...(subscribed ? ['\\Subscribed'] : [])];
}

function writeList(session: Session, name: string, flags: readonly string[], extended = ''): void {
  session.out.utf8(`* LIST ${formatFlagList(flags)} "/" ${formatMailbox(name, session)}${extended}\r\n`);
}
