/** What was done in a run, in order: printed when a check fails, and counted for the summary. */
export class Journal {
  readonly lines: string[] = [];
  /** How often each kind of operation ended in each way: `client move` → `OK` → 12. */
  readonly outcomes = new Map<string, Map<string, number>>();
  /** Answers that are wrong whatever else goes on (BAD, a connection lost for no reason). */
  readonly faults: string[] = [];
  readonly #echo: boolean;
  readonly #start = Date.now();

  constructor(echo: boolean) {
    this.#echo = echo;
  }

  say(line: string): void {
    const text = `${String(Date.now() - this.#start).padStart(7)} ${line}`;
    this.lines.push(text);
    if (this.#echo) process.stdout.write(`${text}\n`);
  }

  /** One operation of an actor is over. */
  did(actor: string, kind: string, what: string, outcome: string): void {
    this.say(`${actor}: ${kind} ${what} → ${outcome}`);
    const key = `${actor.replace(/\d+$/, '')} ${kind}`;
    const counts = this.outcomes.get(key) ?? new Map<string, number>();
    this.outcomes.set(key, counts);
    const short = outcome.replace(/\d+/g, 'n').slice(0, 60);
    counts.set(short, (counts.get(short) ?? 0) + 1);
  }

  fault(text: string): void {
    this.say(`FAULT ${text}`);
    this.faults.push(text);
  }

  /** Operations so far. */
  get operations(): number {
    return [...this.outcomes.values()].reduce(
      (sum, counts) => sum + [...counts.values()].reduce((all, n) => all + n, 0),
      0,
    );
  }

  /** A line per kind and outcome. */
  summary(): string {
    const lines = [...this.outcomes]
      .sort(([a], [b]) => a.localeCompare(b))
      .map(([key, counts]) => {
        const parts = [...counts].sort((a, b) => b[1] - a[1]).map(([outcome, n]) => `${outcome} ×${n}`);
        return `  ${key}: ${parts.join(', ')}`;
      });
    return lines.join('\n');
  }
}
