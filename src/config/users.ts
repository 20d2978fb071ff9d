import { parseScryptHash } from '../util/phc.js';
import type { Problem } from './problems.js';

/** The parts of a user that are compared with each other; null where the file has nothing usable. */
interface LooseUser {
  readonly name: string | null;
  readonly passwordHash: string | null;
  readonly defaultAccount: string | null;
  readonly accounts: readonly { readonly id: string | null; readonly addresses: readonly string[] }[];
}

/**
 * What no single key can show: names and ids used twice, addresses with two owners, a default account that does not
 * exist, hashes that cannot be read. Takes the file as parsed, whatever its shape, so that one run tells everything.
 */
export function userProblems(raw: unknown): readonly Problem[] {
  const users = list(member(raw, 'users')).map(loosen);
  return [
    ...duplicates(users.map((user) => user.name)).map(([index, first]) => ({
      path: ['users', index, 'name'],
      text: `the same name as users[${first}]; every user needs a name of its own`,
    })),
    ...users.flatMap((user, index) => problemsOf(user, index)),
  ];
}

function problemsOf(user: LooseUser, index: number): readonly Problem[] {
  const at = ['users', index];
  const ids = user.accounts.map((account) => account.id);
  const problems: Problem[] = duplicates(ids).map(([number, first]) => ({
    path: [...at, 'accounts', number, 'id'],
    text: `the same id as accounts[${first}] of this user; every account needs an id of its own`,
  }));
  if (user.passwordHash !== null && parseScryptHash(user.passwordHash) === null) {
    const text = 'not a password hash; expected the output of mergebox hash-password ($scrypt$ln=…,r=…,p=…$salt$hash)';
    problems.push({ path: [...at, 'passwordHash'], text });
  }
  if (user.defaultAccount !== null && !ids.includes(user.defaultAccount)) {
    const known = ids.filter((id) => id !== null).join(', ');
    problems.push({ path: [...at, 'defaultAccount'], text: `no account has this id; expected one of: ${known}` });
  }
  return [...problems, ...sharedAddresses(user, at)];
}

function sharedAddresses(user: LooseUser, at: readonly PropertyKey[]): Problem[] {
  const owners = new Map<string, number>();
  const problems: Problem[] = [];
  for (const [number, account] of user.accounts.entries()) {
    for (const [position, address] of account.addresses.entries()) {
      const key = address.toLowerCase();
      const owner = owners.get(key);
      if (owner === undefined) owners.set(key, number);
      else if (owner !== number) {
        const text = `${address} belongs to accounts[${owner}] already; mail from it could leave by either`;
        problems.push({ path: [...at, 'accounts', number, 'addresses', position], text });
      }
    }
  }
  return problems;
}

/** Each later index with the first that has the same value, compared without case (they become file and folder names). */
function duplicates(values: readonly (string | null)[]): (readonly [number, number])[] {
  const first = new Map<string, number>();
  const found: (readonly [number, number])[] = [];
  for (const [index, value] of values.entries()) {
    if (value === null) continue;
    const key = value.toLowerCase();
    const before = first.get(key);
    if (before === undefined) first.set(key, index);
    else found.push([index, before]);
  }
  return found;
}

function loosen(raw: unknown): LooseUser {
  return {
    name: text(member(raw, 'name')),
    passwordHash: text(member(raw, 'passwordHash')),
    defaultAccount: text(member(raw, 'defaultAccount')),
    accounts: list(member(raw, 'accounts')).map((account) => ({
      id: text(member(account, 'id')),
      addresses: list(member(account, 'addresses')).flatMap((address) => text(address) ?? []),
    })),
  };
}

function member(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined;
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}
