import { posix } from 'node:path';

/** What one layer may import: whole modules, and modules of which it may import types only. */
export interface LayerRule {
  readonly imports: readonly string[];
  readonly types?: readonly string[];
}

/** The table of DESIGN.md §5; a layer may always import itself. */
export const LAYERS: Readonly<Record<string, LayerRule>> = {
  util: { imports: [] },
  config: { imports: ['util'] },
  mail: { imports: ['util'] },
  wire: { imports: ['util'] },
  auth: { imports: ['util'] },
  cache: { imports: ['util'] },
  store: { imports: ['util', 'mail'] },
  upstream: { imports: ['util', 'mail', 'wire'], types: ['config'] },
  probe: { imports: ['util', 'wire', 'upstream'], types: ['config'] },
  mailbox: { imports: ['util', 'mail', 'store', 'cache'] },
  sync: { imports: ['util', 'mail', 'store', 'cache', 'upstream'] },
  imap: { imports: ['util', 'mail', 'wire', 'auth'] },
  submit: { imports: ['util', 'mail', 'store', 'auth', 'upstream'], types: ['config'] },
  admin: { imports: ['util', 'mail', 'store', 'auth'], types: ['config'] },
};

/** The places that join all parts; no layer imports them. */
const JOINING = new Set([
  'account-command.ts',
  'rebuild-command.ts',
  'rebuild-user.ts',
  'account-probe.ts',
  'demo',
  'app.ts',
  'auto-accounts.ts',
  'check.ts',
  'cli.ts',
  'main.ts',
  'outgoing.ts',
  'queue-answer.ts',
  'queue-command.ts',
  'user-service.ts',
  'version.ts',
]);

/** Packages and Node modules that only some layers may use (a prefix that ends in `/` stands for all below it). */
const OWNED: Readonly<Record<string, readonly string[]>> = {
  sqlite3: ['store'],
  imapflow: ['upstream'],
  'smtp-server': ['submit', 'demo'],
  zod: ['config'],
  'prom-client': ['util', 'admin'],
};
const IMPURE = ['node:net', 'node:tls', 'node:http', 'node:https', 'node:dns', 'node:child_process', 'node:fs'];
const PURE = new Set(['mail', 'wire']);

export interface Import {
  readonly specifier: string;
  readonly typeOnly: boolean;
  /** From 1. */
  readonly line: number;
}

/** Every import and re-export of a TypeScript source, static or dynamic, comments left out. */
export function importsOf(source: string): Import[] {
  const text = source
    .replace(/\/\*.*?\*\//gs, (comment) => comment.replace(/[^\n]/g, ' '))
    .replace(/^[ \t]*\/\/.*$/gm, '');
  const found: Import[] = [];
  const statement =
    /^[ \t]*(?:import|export)\b(\s+type\b)?([^'";=()]*?)\bfrom\s*['"]([^'"]+)['"]|^[ \t]*import\s*['"]([^'"]+)['"]|\bimport\s*\(\s*['"]([^'"]+)['"]/gm;
  for (const match of text.matchAll(statement)) {
    const [, type, names = '', from, bare, dynamic] = match;
    found.push({
      specifier: from ?? bare ?? dynamic ?? '',
      typeOnly: type !== undefined || (from !== undefined && onlyTypes(names)),
      line: text.slice(0, match.index).split('\n').length,
    });
  }
  return found;
}

/** `{ type A, type B }` and nothing else. */
function onlyTypes(names: string): boolean {
  const list = /^\s*\{(.*)\}\s*$/s.exec(names)?.[1];
  if (list === undefined) return false;
  const specifiers = list.split(',').filter((name) => name.trim() !== '');
  return specifiers.length > 0 && specifiers.every((name) => /^\s*type\s/.test(name));
}

/**
 * What breaks the table, as `src/imap/x.ts:3: …` lines; none when all is well. `files` maps paths like
 * `src/imap/x.ts` to their text.
 */
export function layerViolations(files: ReadonlyMap<string, string>): string[] {
  const violations: string[] = [];
  for (const [path, source] of files) {
    const layer = layerOf(path);
    if (!Object.hasOwn(LAYERS, layer) && !JOINING.has(layer)) {
      violations.push(`${path}:1: ${layer} is not in the table of layers`);
      continue;
    }
    for (const each of importsOf(source)) {
      const fault = each.specifier.startsWith('.') ? innerFault(path, layer, each) : outerFault(layer, each);
      if (fault !== null) violations.push(`${path}:${each.line}: ${fault}`);
    }
  }
  return violations;
}

function innerFault(path: string, layer: string, { specifier, typeOnly }: Import): string | null {
  const resolved = posix.normalize(posix.join(posix.dirname(path), specifier)).replace(/\.js$/, '.ts');
  if (!resolved.startsWith('src/')) return `${specifier} lies outside src`;
  const target = layerOf(resolved);
  if (target === layer || JOINING.has(layer)) return null;
  const rule = LAYERS[layer];
  if (rule?.imports.includes(target)) return null;
  if (rule?.types?.includes(target)) return typeOnly ? null : `${layer} may import types only from ${target}`;
  return `${layer} may not import ${target} (${specifier})`;
}

function outerFault(layer: string, { specifier, typeOnly }: Import): string | null {
  if (JOINING.has(layer) || typeOnly) return null;
  const owners = OWNED[specifier];
  if (owners !== undefined && !owners.includes(layer)) return `${specifier} belongs to ${owners.join(', ')}`;
  const impure = IMPURE.some((name) => specifier === name || specifier.startsWith(`${name}/`));
  return PURE.has(layer) && impure ? `${layer} is pure and may not import ${specifier}` : null;
}

/** `imap` for `src/imap/commands/x.ts`, `app.ts` for `src/app.ts`. */
function layerOf(path: string): string {
  return path.split('/')[1] ?? '';
}
