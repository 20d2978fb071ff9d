import type { Role } from './ids.js';

/** Patterns of folder paths, levels separated by `/` whatever the server uses. */
export interface FolderChoice {
  readonly include: readonly string[];
  readonly exclude: readonly string[];
}

interface Folder {
  readonly path: string;
  readonly delimiter: string | null;
  readonly role: Role | null;
}

/** Mail is moved into these, and filed in them, by what people do every day: they are always there. */
const NEEDED: ReadonlySet<Role | null> = new Set<Role | null>(['inbox', 'drafts', 'sent', 'trash']);

/**
 * Whether the folder is to be synced: included, and not excluded. A pattern stands for the folder and all below it; `*`
 * stands for any characters, `%` for any within a level; the namespace's prefix (`INBOX.`) may be left out.
 */
export function isChosen({ path, delimiter, role }: Folder, prefix: string, choice: FolderChoice): boolean {
  if (NEEDED.has(role)) return true;
  const slashed = (text: string): string => (delimiter === null ? text : text.replaceAll(delimiter, '/'));
  const names = [
    slashed(path),
    ...(prefix !== '' && path.startsWith(prefix) ? [slashed(path.slice(prefix.length))] : []),
  ];
  const covered = (patterns: readonly string[]): boolean =>
    patterns.some((pattern) => names.some((name) => covers(pattern, name)));
  return covered(choice.include) && !covered(choice.exclude);
}

function covers(pattern: string, name: string): boolean {
  if (matches(pattern, name)) return true;
  // At many servers everything is below INBOX, so that its name alone means no more than itself.
  if (pattern.toUpperCase() === 'INBOX') return name.toUpperCase() === 'INBOX';
  for (let at = name.indexOf('/'); at !== -1; at = name.indexOf('/', at + 1)) {
    if (matches(pattern, name.slice(0, at))) return true;
  }
  return false;
}

/** Takes time proportional to both lengths, whatever the pattern. */
function matches(pattern: string, name: string): boolean {
  let reached: boolean[] = [true, ...Array<boolean>(name.length).fill(false)];
  for (const sign of pattern) {
    const next: boolean[] = Array<boolean>(name.length + 1).fill(false);
    for (let at = 0; at <= name.length; at += 1) {
      if (sign === '*' || sign === '%') {
        const on = at > 0 && next[at - 1] === true && (sign === '*' || name[at - 1] !== '/');
        next[at] = reached[at] === true || on;
      } else next[at] = at > 0 && reached[at - 1] === true && name[at - 1] === sign;
    }
    reached = next;
  }
  return reached[name.length] === true;
}
