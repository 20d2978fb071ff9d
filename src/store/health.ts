import { errorText, isMergeboxError } from '../util/errors.js';
import { Handle } from './driver.js';
import { damaged, type StateFile } from './state-file.js';

/**
 * Looks at a database before anything is written to it, and so that nothing is: by a read-only handle, which leaves the
 * write-ahead log as it is. Throws `corrupt` with what to do. A database that was closed in good order and not touched
 * since is believed (reading 800 MB takes most of a second); after a crash its structure is checked, and when somebody
 * wrote to it meanwhile, its indexes against its rows as well.
 */
export async function requireHealth(file: string, state: StateFile): Promise<void> {
  const examination = await state.examine();
  if (examination === 'nothing') return;
  try {
    const verdict = await verdictOf(file, examination);
    if (verdict !== 'ok') throw damaged(file, verdict);
  } catch (error) {
    if (isMergeboxError(error, 'corrupt') && error.cause !== undefined) throw damaged(file, errorText(error));
    throw error;
  }
}

async function verdictOf(file: string, examination: 'structure' | 'content'): Promise<string> {
  const handle = await Handle.open(file, 'read');
  try {
    const check = examination === 'structure' ? 'quick_check' : 'integrity_check';
    const rows = await handle.all<Record<string, string>>(`PRAGMA ${check}(1)`);
    const [verdict = 'no answer'] = Object.values(rows[0] ?? {});
    return verdict.replace(/^\*\*\* in database main \*\*\*\s*/, '').replace(/\s+/g, ' ');
  } finally {
    await handle.close();
  }
}
