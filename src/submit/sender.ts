import { comparable, withoutTag } from './address.js';
import type { SendingAccount, SendingUser } from './types.js';

/** Which account of a user owns an address. */
export class SenderBook {
  readonly #owners = new Map<string, SendingAccount>();

  constructor(user: SendingUser) {
    for (const account of user.accounts) {
      for (const address of account.addresses) {
        const form = comparable(address);
        if (form !== null) this.#owners.set(`${form.local}@${form.domain}`, account);
      }
    }
  }

  /** The owner of the address itself or, for `local+tag@domain`, of `local@domain`; null when it is nobody's here. */
  owner(address: string): SendingAccount | null {
    const form = comparable(address);
    if (form === null) return null;
    const exact = this.#owners.get(`${form.local}@${form.domain}`);
    if (exact !== undefined) return exact;
    const plain = withoutTag(form.local);
    return plain === null ? null : (this.#owners.get(`${plain}@${form.domain}`) ?? null);
  }
}
