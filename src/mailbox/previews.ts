import { parseLargeMime } from '../mail/mime.js';
import { previewOf } from '../mail/preview.js';
import { isMergeboxError } from '../util/errors.js';
import type { MailContext } from './context.js';

/** Previews made at a time for one FETCH: each may have to fetch a mail. */
const AT_A_TIME = 4;
/** Mails that cannot be had before no more are asked for: a server that is down would be waited for with each of them. */
const MAX_FAILURES = 3;

/**
 * Previews (RFC 8970) of these messages, kept for the next time. With `lazy`, only of mail that is at hand; null where
 * it cannot be had.
 */
export async function makePreviews(
  context: MailContext,
  ids: readonly number[],
  lazy: boolean,
): Promise<Map<number, string>> {
  const made = new Map<number, string>();
  const waiting = [...new Set(ids)];
  let failures = 0;
  const work = async (): Promise<void> => {
    for (let id = waiting.shift(); id !== undefined; id = waiting.shift()) {
      const fetches = !lazy && failures < MAX_FAILURES;
      const preview = await makePreview(context, id, fetches);
      if (preview !== null) made.set(id, preview);
      else if (fetches) failures += 1;
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, work));
  if (made.size > 0) {
    await context.store.write((tx) =>
      tx.run(
        `UPDATE message SET preview = json_extract(made.value, '$[1]') FROM json_each(?) AS made
         WHERE message.id = json_extract(made.value, '$[0]')`,
        [JSON.stringify([...made])],
      ),
    );
  }
  return made;
}

async function makePreview({ bodies }: MailContext, id: number, fetches: boolean): Promise<string | null> {
  try {
    const body = fetches ? await bodies.load(id) : await bodies.atHand(id);
    if (body === null) return null;
    const bytes = await body.read(0, body.size);
    return previewOf(bytes, await parseLargeMime(bytes));
  } catch (error) {
    if (isMergeboxError(error)) return null;
    throw error;
  }
}
