import type { Log } from '../../util/log.js';
import { RefusedError } from '../errors.js';
import type { Authorisation } from '../port.js';
import type { KnownMail } from './book.js';
import { inWindow } from './in-window.js';
import { headerKeyOf, listMails } from './listing.js';
import { matchNames } from './match.js';
import type { Pop3Session } from './session.js';

/**
 * DELE of exactly these mails, in a session that does nothing else: found by name, never by a number of another session,
 * and looked at once more, since some servers use a name again. Resolves when the server has answered QUIT: only then it
 * has deleted anything (RFC 1939 §6). What it shows no more is no error. A lost answer is looked at again by calling this
 * again. Throws `refused` when the server did not delete all of them.
 */
export async function deleteMails(
  session: Pop3Session,
  mails: readonly KnownMail[],
  authorised: Authorisation,
  log: Log,
): Promise<void> {
  const listing = await listMails(session);
  const { present, numbers } = matchNames(mails, listing.mails);
  const sizes = present.length > 0 ? await session.list() : new Map<number, number>();
  const same: number[] = [];
  await inWindow(session.pipelining, present, async (row) => {
    const number = numbers.get(row.uid)!;
    if (await isSame(session, row, number, sizes.get(number))) same.push(number);
    else log.warn({ uid: row.uid }, 'not deleted: the server has another mail under its UIDL');
  });
  log.info({ mails: same.length, actions: authorised.actions.length, reason: authorised.reason }, 'upstream: DELE');
  let refusal: RefusedError | null = null;
  await inWindow(session.pipelining, same, async (number) => {
    try {
      await session.dele(number);
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
      refusal ??= error;
    }
  });
  await session.quit();
  if (refusal !== null) throw refusal;
}

async function isSame(
  session: Pop3Session,
  { headerKey, octets }: KnownMail,
  number: number,
  size: number | undefined,
): Promise<boolean> {
  if (headerKey === null) return false;
  const header = await session.top(number);
  return header === null ? size === undefined || size === octets : headerKeyOf(header) === headerKey;
}
