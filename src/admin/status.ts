/** What an account does now. `failed: …` needs a person; everything else is retried by itself. */
export type AccountState = 'starting' | 'syncing' | 'idle' | 'offline' | 'held' | `failed: ${string}`;

/** One action that an account's server refused for good. Clients see what the server has until it is tried again. */
export interface RefusedAction {
  readonly id: number;
  readonly kind: string;
  /** The copy it is about; null where there is none. */
  readonly folder: string | null;
  readonly uidValidity: number | null;
  readonly uid: number | null;
  /** The folder it was to go to, or that was to be made, renamed or deleted. */
  readonly target: string | null;
  /** Flags that were to be set (`+`) and cleared (`-`). */
  readonly flags: string | null;
  /** Who asked for it. */
  readonly reason: string;
  /** ISO 8601. */
  readonly since: string;
  readonly attempts: number;
  /** In the server's words. */
  readonly error: string | null;
  /** Mergebox has the only copy of the mail: dropping it writes it to a file first. */
  readonly onlyCopy: boolean;
  /** Command lines. */
  readonly retry: string;
  readonly drop: string;
}

export interface AccountStatus {
  readonly user: string;
  readonly account: string;
  readonly state: AccountState;
  /** When a sync last completed, ISO 8601; null before the first. */
  readonly lastSync: string | null;
  /** Actions that still have to be done upstream. */
  readonly pending: number;
  /** Actions that the server refused for good and that wait for a person. */
  readonly parked: number;
  /** The first of them. */
  readonly refused: readonly RefusedAction[];
  readonly lastError: string | null;
  readonly folders: number;
  /** Copies known in all its folders. */
  readonly messages: number;
  /** How far fetching bodies ahead has come; absent where none are. */
  readonly offline?: OfflineStatus;
}

/** Bodies that are kept to be readable without their server. */
export interface OfflineStatus {
  /** As configured. */
  readonly policy: string;
  /** Mails that are to be kept, and how many of them are. */
  readonly wanted: number;
  readonly kept: number;
  /** Octets that the user's accounts take together. */
  readonly octets: number;
  /** The room for them is used up; older mail stays out. */
  readonly full: boolean;
}

/** The body of `GET /api/status` and of `mergebox status --json`. */
export interface StatusReport {
  /** True when every account is `starting`, `syncing` or `idle` and nothing is parked. */
  readonly healthy: boolean;
  readonly version: string;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly accounts: readonly AccountStatus[];
  /** Outgoing mail that is not delivered yet. */
  readonly queue: { readonly waiting: number; readonly held: number };
}

/** The answer to `POST /api/sync`. */
export interface SyncReport {
  /** True when every account asked for has been synced (with `wait`) or told to (without). */
  readonly ok: boolean;
  readonly accounts: readonly { readonly user: string; readonly account: string; readonly result: string }[];
}

/** Whether an account needs nobody's attention. */
export function isHealthy({ state, parked }: Pick<AccountStatus, 'state' | 'parked'>): boolean {
  return parked === 0 && (state === 'starting' || state === 'syncing' || state === 'idle');
}

/** What `mergebox status` prints: a line per account, and its last error below it. */
export function statusText(report: StatusReport): string {
  const head = ['USER', 'ACCOUNT', 'STATE', 'LAST SYNC', 'PENDING', 'PARKED', 'FOLDERS', 'MESSAGES'];
  const rows = report.accounts.map((each) => [
    each.user,
    each.account,
    each.state,
    each.lastSync ?? 'never',
    ...[each.pending, each.parked, each.folders, each.messages].map(String),
  ]);
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => (row[column] ?? '').length)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  const lines = report.accounts.flatMap(({ lastError, parked, refused, offline }, index) => [
    line(rows[index] ?? []),
    ...(offline === undefined ? [] : [`  offline: ${offlineText(offline)}`]),
    ...(lastError === null ? [] : [`  last error: ${lastError}`]),
    ...refused.flatMap(refusedLines),
    ...(parked > refused.length && refused.length > 0 ? [`  and ${parked - refused.length} more`] : []),
  ]);
  const { waiting, held } = report.queue;
  const summary = `queue: ${waiting} waiting, ${held} held; ${report.healthy ? 'healthy' : 'NOT HEALTHY'}`;
  return `${[line(head), ...lines, summary].join('\n')}\n`;
}

function offlineText({ policy, wanted, kept, octets, full }: OfflineStatus): string {
  const room = `${(octets / 1_048_576).toFixed(1)} MiB for all accounts`;
  return `${kept} of ${wanted} mails are here (${policy}; ${room}${full ? '; no room left' : ''})`;
}

function refusedLines(action: RefusedAction): string[] {
  const { id, kind, folder, uid, target, flags, reason, since, error, onlyCopy, retry, drop } = action;
  const what = [
    kind,
    ...(flags === null ? [] : [flags]),
    ...(folder === null ? [] : [`of UID ${uid ?? '?'} in "${folder}"`]),
    ...(target === null ? [] : [`${kind.endsWith('folder') ? 'of' : 'to'} "${target}"`]),
  ];
  return [
    `  refused ${id}: ${what.join(' ')}, asked for ${since} (${reason})`,
    `    ${error ?? 'refused'}`,
    ...(onlyCopy ? ['    the mail is only here; dropping it writes it to a file'] : []),
    `    ${retry}   or   ${drop}`,
  ];
}
