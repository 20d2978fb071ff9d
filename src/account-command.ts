import { parseArgs } from 'node:util';
import { errorText, MergeboxError } from './util/errors.js';
import { Secret } from './util/secret.js';

export const ACCOUNT_USAGE = `  mergebox account probe ADDRESS [--password-stdin] [--write] [--user U] [--id ID]
                          [--host HOST [--port N]] [--confirm HOST]… [--ca FILE] [--dns SERVER]
                            find out how to talk to an address's servers; see docs/accounts.md`;

const OPTIONS = {
  config: { type: 'string' },
  'password-stdin': { type: 'boolean' },
  write: { type: 'boolean' },
  user: { type: 'string' },
  id: { type: 'string' },
  host: { type: 'string' },
  port: { type: 'string' },
  confirm: { type: 'string', multiple: true },
  ca: { type: 'string' },
  dns: { type: 'string' },
} as const;

/** Whether the arguments are of `mergebox account …`, which has options of its own. */
export function isAccountCommand(args: readonly string[]): boolean {
  return (
    parseArgs({ args: [...args], options: OPTIONS, strict: false, allowPositionals: true }).positionals[0] === 'account'
  );
}

/** Runs it; true when all went well. Throws `config` for wrong arguments. */
export async function accountCommand(
  args: readonly string[],
  defaultConfig: string,
  readInput: () => Promise<string>,
  print: (text: string) => void,
): Promise<boolean> {
  const { values, positionals } = parse(args);
  const [, action, address, ...more] = positionals;
  if (action !== 'probe' || address === undefined || more.length > 0) {
    throw new MergeboxError('config', 'account: expected "account probe ADDRESS"; see mergebox --help');
  }
  if (values.id !== undefined && !/^[A-Za-z0-9_-]{1,32}$/.test(values.id)) {
    throw new MergeboxError('config', '--id takes 1 to 32 of A-Z a-z 0-9 _ -');
  }
  const password = values['password-stdin'] === true ? await readInput() : null;
  if (password === '') throw new MergeboxError('config', 'account probe: no password on standard input');
  const { probeAccount } = await import('./account-probe.js');
  return probeAccount(
    {
      address,
      configFile: values.config ?? defaultConfig,
      password: password === null ? null : new Secret(password),
      write: values.write ?? false,
      user: values.user,
      id: values.id,
      host: values.host,
      port: portOf(values.port, values.host),
      confirmed: values.confirm ?? [],
      ca: values.ca,
      dns: values.dns,
    },
    print,
  );
}

function portOf(text: string | undefined, host: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const port = Number(text);
  if (host === undefined || !/^\d{1,5}$/.test(text) || port < 1 || port > 65_535) {
    throw new MergeboxError('config', '--port takes a number from 1 to 65535, and --host beside it');
  }
  return port;
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new MergeboxError('config', `${errorText(error)}; see mergebox --help`);
  }
}
