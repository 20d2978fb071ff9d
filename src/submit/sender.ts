import { comparable, withoutTag } from './address.js';
import type { RelayTarget, SendingAccount, SendingUser } from './types.js';

/** Who sends mail from an address, and through what. */
export interface Sender {
  readonly account: SendingAccount;
  /** Null when there is no server for it. */
  readonly target: RelayTarget | null;
  /** `target` is the user's relay, not the account's own server. */
  readonly viaRelay: boolean;
}

/** Which account of a user owns an address, and which server mail from it leaves through. */
export class SenderBook {
  readonly user: SendingUser;
  readonly #owners = new Map<string, SendingAccount>();
  readonly #relayed = new Set<string>();

  constructor(user: SendingUser) {
    this.user = user;
    for (const account of user.accounts) {
      for (const address of account.addresses) {
        const key = keyOf(address);
        if (key !== null) this.#owners.set(key, account);
      }
    }
    for (const address of user.relay?.addresses ?? []) {
      const key = keyOf(address);
      if (key !== null) this.#relayed.add(key);
    }
  }

  /**
   * The owner of the address itself, or for `local+tag@domain` of `local@domain`, or of `*@domain`; null when it is
   * nobody's here.
   */
  owner(address: string): Sender | null {
    const keys = keysOf(address);
    const account = keys.map((key) => this.#owners.get(key)).find((each) => each !== undefined);
    if (account === undefined) return null;
    const { relay } = this.user;
    const viaRelay =
      relay !== undefined && relay !== null && (relay.addresses === null || keys.some((key) => this.#relayed.has(key)));
    return { account, viaRelay, target: viaRelay ? relay : account.smtp };
  }

  /** As `owner`, for a mail that was accepted earlier; null when the configuration has no such way any more. */
  route(account: string, viaRelay: boolean): Sender | null {
    const found = this.user.accounts.find(({ id }) => id === account);
    const target = viaRelay ? (this.user.relay ?? null) : (found?.smtp ?? null);
    return found === undefined || target === null ? null : { account: found, viaRelay, target };
  }
}

function keyOf(address: string): string | null {
  const form = comparable(address);
  return form === null ? null : `${form.local}@${form.domain}`;
}

/** The keys an address may be listed under, the closest first. */
function keysOf(address: string): readonly string[] {
  const form = comparable(address);
  if (form === null) return [];
  const plain = withoutTag(form.local);
  const locals = plain === null ? [form.local, '*'] : [form.local, plain, '*'];
  return locals.map((local) => `${local}@${form.domain}`);
}
