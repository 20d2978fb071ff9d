import { type MutateClient, mailboxArgument } from './mutate-client.js';
import type { ParsedResponse } from './mutate-errors.js';
import type { UpstreamQuota } from './port.js';

/** More roots or resources than any server has. */
const MAX_QUOTAS = 100;

/** What GETQUOTAROOT of the INBOX tells (RFC 9208 §4.1.3); nothing where the server has no QUOTA. */
export async function fetchQuotas(client: MutateClient): Promise<UpstreamQuota[]> {
  if (!client.has('QUOTA')) return [];
  const quotas: UpstreamQuota[] = [];
  const untagged = {
    QUOTA: async ({ attributes }: ParsedResponse): Promise<void> => {
      const [root, list] = attributes ?? [];
      const words = Array.isArray(list) ? list.map(word) : [];
      for (let at = 0; at + 2 < words.length && quotas.length < MAX_QUOTAS; at += 3) {
        const [resource, used, limit] = [words[at]!.toUpperCase(), Number(words[at + 1]), Number(words[at + 2])];
        if (!Number.isSafeInteger(used) || !Number.isSafeInteger(limit) || !/^[A-Z][A-Z0-9-]{0,30}$/.test(resource))
          continue;
        if (quotas.some((each) => each.root === word(root) && each.resource === resource)) continue;
        quotas.push({ root: word(root).slice(0, 255), resource, used, limit });
      }
    },
  };
  await client.exec('ask for the quota', 'GETQUOTAROOT', [mailboxArgument('INBOX')], { untagged });
  return quotas;
}

function word(token: unknown): string {
  return String((token as { value?: unknown } | null)?.value ?? '');
}
