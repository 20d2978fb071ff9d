import type { Role } from '../mail/ids.js';
import type { Authority, DeletionPolicy } from '../mail/reconcile.js';

/** What the reconciliation has to know of an account's configuration. */
export interface AccountPolicy {
  /** Row id. */
  readonly id: number;
  /** The id in the configuration. */
  readonly name: string;
  readonly authority: Authority;
  readonly onUpstreamDelete: DeletionPolicy;
  /** Lower case. */
  readonly addresses: readonly string[];
  /** Configured folder paths by role. */
  readonly folders: Readonly<Partial<Record<Role, string>>>;
  readonly isDefault: boolean;
  /** Its folders live here, as all of a local account and what a POP3 account has: no server keeps their mail. */
  readonly local?: boolean;
}

/** The configured accounts of one user, by row id. */
export class AccountBook {
  readonly #byId: ReadonlyMap<number, AccountPolicy>;

  constructor(accounts: readonly AccountPolicy[]) {
    this.#byId = new Map(accounts.map((account) => [account.id, account]));
  }

  has(id: number): boolean {
    return this.#byId.has(id);
  }

  get(id: number): AccountPolicy {
    const account = this.#byId.get(id);
    if (!account) throw new RangeError(`no account with row id ${id}`);
    return account;
  }

  all(): readonly AccountPolicy[] {
    return [...this.#byId.values()];
  }

  named(name: string): AccountPolicy | undefined {
    return this.all().find((account) => account.name === name);
  }

  /** The account of mail that no address assigns. */
  default(): AccountPolicy | undefined {
    return this.all().find((account) => account.isDefault) ?? this.all()[0];
  }

  /** The account that owns an address; a `+tag` in the local part is ignored. */
  owning(address: string): AccountPolicy | undefined {
    const lower = address.toLowerCase();
    const plain = lower.replace(/\+[^@]*@/, '@');
    return this.all().find((account) => account.addresses.includes(lower) || account.addresses.includes(plain));
  }

  /** Row ids of the accounts whose mail is kept here. */
  locals(): readonly number[] {
    return this.all().flatMap(({ id, local }) => (local === true ? [id] : []));
  }

  /** Whether changes made here go out to the account. */
  pushes(id: number): boolean {
    return this.get(id).authority !== 'upstream';
  }
}
