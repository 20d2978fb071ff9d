import { parseArgs } from 'node:util';
import { type ListedQueueMail, QUEUE_COMMANDS, type QueueList, type ShownQueueMail } from './admin/queue.js';
import { errorText, MergeboxError } from './util/errors.js';

export const QUEUE_USAGE = `  mergebox queue list [--user U] [--limit N] [--json]
                            mail that waits to be sent, oldest first
  mergebox queue show ID [--user U] [--json]
                            one of them, with what became of each recipient
  mergebox queue retry [ID] [--user U]
                            send it now, also when it is held; all that waits without ID
  mergebox queue hold ID, mergebox queue drop ID [--user U]
                            keep it until retry; give it up without telling anybody`;

const OPTIONS = {
  config: { type: 'string' },
  user: { type: 'string' },
  limit: { type: 'string' },
  json: { type: 'boolean' },
} as const;

/** Asks the daemon of that configuration; rejects with its own words. */
export type AskQueue = (config: string | undefined, body: Readonly<Record<string, unknown>>) => Promise<unknown>;

/** Mails asked for at once. */
const PAGE = 5_000;

/** Whether the arguments are of `mergebox queue …`, which has options of its own. */
export function isQueueCommand(args: readonly string[]): boolean {
  return (
    parseArgs({ args: [...args], options: OPTIONS, strict: false, allowPositionals: true }).positionals[0] === 'queue'
  );
}

/** Runs it. Throws `config` for wrong arguments, and what the daemon answers. */
export async function queueCommand(
  args: readonly string[],
  ask: AskQueue,
  print: (text: string) => void,
): Promise<void> {
  const { values, positionals } = parse(args);
  const [, command, id, ...more] = positionals;
  const known = QUEUE_COMMANDS.find((each) => each === command);
  if (known === undefined || more.length > 0 || (known === 'list' && id !== undefined)) {
    throw new MergeboxError('config', `queue: expected "queue ${QUEUE_COMMANDS.join('|')}"; see mergebox --help`);
  }
  if (id !== undefined && !/^[1-9]\d{0,14}$/.test(id))
    throw new MergeboxError('config', `queue ${known}: "${id}" is no number`);
  const body = {
    command: known,
    ...(values.user === undefined ? {} : { user: values.user }),
    ...(id === undefined ? {} : { id: Number(id) }),
  };
  if (known === 'list') return list(body, values, ask, print);
  if (id === undefined && known !== 'retry') throw new MergeboxError('config', `queue ${known}: which mail?`);
  const answer = await ask(values.config, body);
  if (known !== 'show') print(`${(answer as { result: string }).result}\n`);
  else print(values.json ? `${JSON.stringify(answer, null, 2)}\n` : mailText(answer as ShownQueueMail));
}

async function list(
  body: Readonly<Record<string, unknown>>,
  { config, limit = '100000', json = false }: ReturnType<typeof parse>['values'],
  ask: AskQueue,
  print: (text: string) => void,
): Promise<void> {
  if (!/^[1-9]\d{0,8}$/.test(limit)) throw new MergeboxError('config', 'queue list: --limit takes a number of mails');
  const mails: (ListedQueueMail & { readonly user: string })[] = [];
  let left = Number(limit);
  let shown = 0;
  let after: QueueList['next'] = null;
  do {
    const page = (await ask(config, { ...body, after, limit: Math.min(left, PAGE) })) as QueueList;
    after = page.next;
    left -= page.mails.length;
    shown += page.mails.length;
    const user = page.user ?? '';
    const found = page.mails.map((each) => ({ ...each, error: each.error ?? obstacle(page, each) }));
    if (json) mails.push(...found.map((each) => ({ ...each, user })));
    else print(found.map((each) => lineOf(user, each)).join(''));
  } while (after !== null && left > 0);
  print(json ? `${JSON.stringify(mails, null, 2)}\n` : `${shown} mails${after === null ? '' : ', and more'}\n`);
}

/** What keeps a waiting mail that was not tried itself. */
function obstacle({ obstacles }: QueueList, { account, viaRelay, state }: ListedQueueMail): string | null {
  return state === 'waiting' ? (obstacles[viaRelay === 1 ? 'the relay' : account] ?? null) : null;
}

function lineOf(user: string, mail: ListedQueueMail): string {
  const { id, state, account, sender, to, recipients, open, size, created, error, attempts } = mail;
  const others = recipients > 1 ? ` and ${recipients - 1} more (${open} wait)` : '';
  const twice = mail.repeated === 1 ? ' SENT AGAIN' : '';
  const head = `${String(id).padStart(7)}  ${user}/${account}  ${state.padEnd(8)} ${time(created)}  ${size} octets`;
  const tries = `${attempts} tries${state === 'waiting' && mail.nextTry > 0 ? `, next ${time(mail.nextTry)}` : ''}`;
  return `${head}  ${tries}${twice}\n         <${sender}> to <${to}>${others}${error === null ? '' : `\n         ${error}`}\n`;
}

function mailText(mail: ShownQueueMail): string {
  const rows: (readonly [string, string])[] = [
    ['mail', `${mail.id} of ${mail.user}`],
    ['state', `${mail.state}${mail.error === null ? '' : `: ${mail.error}`}`],
    ['account', `${mail.account}${mail.viaRelay === 1 ? ' (through the relay)' : ''}`],
    ['sender', `<${mail.sender}>`],
    ['from', mail.from],
    ['subject', mail.subject],
    ['message-id', mail.messageId],
    ['size', `${mail.size} octets`],
    ['taken', time(mail.created)],
    ['tries', String(mail.attempts)],
    ...(mail.state === 'waiting' ? [['next try', mail.nextTry === 0 ? 'now' : time(mail.nextTry)] as const] : []),
    ['priority', String(mail.priority)],
    ...(mail.repeated === 1 ? [['sent again', 'an answer was lost: it may arrive twice'] as const] : []),
    ...mail.states.map(
      ({ address, state, reply }) => ['to', `<${address}> ${state}${reply === undefined ? '' : `: ${reply}`}`] as const,
    ),
  ];
  return rows.map(([name, value]) => `${`${name}:`.padEnd(12)}${value}\n`).join('');
}

function time(ms: number): string {
  return new Date(ms).toISOString().slice(0, 19).replace('T', ' ');
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new MergeboxError('config', `${errorText(error)}; see mergebox --help`);
  }
}
