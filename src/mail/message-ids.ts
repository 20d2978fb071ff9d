import { hash } from 'node:crypto';
import { HeaderPicker, pickedValue } from './header-pick.js';

/** Message-IDs of one field; what is older is dropped. */
const MAX_REFERENCES = 1_000;

/** The message ids of a Message-ID, References or In-Reply-To value, without brackets, in their order. */
export function messageIds(value: string | undefined): string[] {
  if (value === undefined) return [];
  const ids = value.match(/<[^<>]+>/g) ?? [];
  return ids.slice(-MAX_REFERENCES).map((id) => id.slice(1, -1));
}

const PICKER = new HeaderPicker(['references', 'in-reply-to', 'message-id']);
/** More of one mail do not help to find its thread: the first is the root, the last are its nearest relatives. */
const MAX_THREAD_IDS = 30;

/**
 * What ties a mail to others, as 48-bit hashes: the root of its thread first, its own Message-ID last. Empty when it
 * names no mail and has no name itself.
 */
export function threadReferences(header: Buffer): number[] {
  const values: (string | undefined)[] = [];
  for (const field of PICKER.pick(header)) values[field.index] ??= pickedValue(header, field);
  const [chain, replied, own] = values.map(messageIds);
  const above = [...(chain ?? []), ...(replied ?? []).slice(0, 1)];
  const ids = [...above.slice(0, 1), ...above.slice(1).slice(-MAX_THREAD_IDS), ...(own ?? []).slice(0, 1)];
  return [...new Set(ids.map((id) => Number.parseInt(hash('sha1', id, 'hex').slice(0, 12), 16)))];
}
