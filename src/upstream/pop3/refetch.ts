import { MergeboxError } from '../../util/errors.js';
import type { KeptFiles } from '../local-parts.js';
import type { KnownMail } from './book.js';
import { MailIntake } from './intake.js';
import { listMails } from './listing.js';
import { matchNames } from './match.js';
import type { Pop3Session } from './session.js';

/** Reads a mail again whose file is damaged; throws `unavailable` when the server has it no more, byte for byte. */
export async function refetch(
  session: Pop3Session,
  rows: readonly KnownMail[],
  content: string,
  files: KeptFiles,
): Promise<void> {
  const { numbers } = matchNames(rows, (await listMails(session)).mails);
  for (const number of numbers.values()) {
    const found = await files.lease(async (lease) => {
      const intake = new MailIntake(lease);
      await session
        .retr(number, (bytes) => intake.take(bytes))
        .catch(async (error: unknown) => {
          await intake.discard();
          throw error;
        });
      const { message } = await intake.finish();
      await lease.settle();
      return message.content;
    });
    if (found === content) return;
  }
  throw new MergeboxError('unavailable', `read kept message ${content.slice(0, 12)}: damaged here, gone at the server`);
}
