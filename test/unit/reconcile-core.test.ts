import fc from 'fast-check';
import t from 'tap';
import { addFlags, type FlagText, flagList, flagText, hasFlag, removeFlags } from '../../src/mail/flags.js';
import type { Role } from '../../src/mail/ids.js';
import {
  type Authority,
  agreedFlags,
  type CopyAction,
  type CopyFacts,
  canHold,
  type DeletionPolicy,
  type Observed,
  owedChange,
  type Reconciled,
  reconcile,
  sameFlags,
} from '../../src/mail/reconcile.js';

const SEEN = '\\Seen';
const DELETED = '\\Deleted';

/** Everything a copy can show of one flag, and every way it can be gone. */
function observations(flag: string): Observed[] {
  const gone = (role: Role | null, flags = ''): Observed => ({ is: 'gone', to: { role, flags } });
  return [
    { is: 'unknown' },
    { is: 'missing' },
    { is: 'present', flags: '' },
    { is: 'present', flags: flag },
    { is: 'gone', to: null },
    gone('trash'),
    gone('archive'),
    gone(null, flag),
  ];
}

const AUTHORITIES: readonly Authority[] = ['both', 'upstream', 'mergebox'];
const POLICIES: readonly DeletionPolicy[] = ['trash', 'expunge', 'keep'];

function product<T extends object>(parts: { [K in keyof T]: readonly T[K][] }): T[] {
  let all: Partial<T>[] = [{}];
  for (const key of Object.keys(parts) as (keyof T)[]) {
    all = all.flatMap((each) => parts[key].map((value) => ({ ...each, [key]: value })));
  }
  return all as T[];
}

function copiesOver(flag: string, few: boolean): CopyFacts[] {
  return product<CopyFacts>({
    base: ['', flag],
    observed: observations(flag),
    offered: few ? [null] : [null, flagText([flag === SEEN ? DELETED : SEEN])],
    refused: few ? [''] : ['', flag],
    role: few ? ['inbox'] : ['inbox', 'trash'],
    authority: AUTHORITIES,
    onDelete: few ? ['trash'] : POLICIES,
  });
}

/** The rules in words of docs/sync.md, written down a second time: what is wrong with a result, or null. */
function fault(entry: FlagText, copies: readonly CopyFacts[], flag: string, result: Reconciled): string | null {
  const decides = copies.map(({ authority }) => authority !== 'mergebox');
  const deleting = copies.some(
    ({ observed, role }, n) =>
      decides[n] &&
      observed.is === 'gone' &&
      (observed.to === null || (observed.to.role === 'trash' && role !== 'trash')),
  );
  for (const [n, copy] of copies.entries()) {
    const { action } = result.copies[n]!;
    const wrong = wrongAction(copy, action, deleting);
    if (wrong !== null) return `copy ${n}: ${wrong}`;
  }
  const stays = result.copies.some(({ action }) => ['stay', 'store', 'putBack'].includes(action.do));
  if (stays !== (result.entry !== null)) return 'the entry stays if and only if a copy does';
  if (result.entry === null) return null;
  // What a server cannot hold and does not show counts as the entry has it.
  const counts = (copy: CopyFacts): boolean | null => {
    if (copy.observed.is !== 'present') return null;
    return hasFlag(copy.observed.flags, flag) || (!canHold(copy.offered, flag) && hasFlag(entry, flag));
  };
  const changes = copies.flatMap((copy, n) => {
    const now = counts(copy);
    return !decides[n] || now === null || now === hasFlag(copy.base, flag) ? [] : [now];
  });
  const spent =
    flag === DELETED &&
    copies.some(
      ({ observed, base }, n) =>
        decides[n] && observed.is === 'gone' && hasFlag(base, flag) && !hasFlag(observed.to?.flags ?? '', flag),
    );
  const renewed = copies.some((copy) => counts(copy) === true && !hasFlag(copy.base, flag));
  const expected =
    (!spent || renewed) && (changes.includes(true) || (!changes.includes(false) && hasFlag(entry, flag)));
  return hasFlag(result.entry, flag) === expected ? null : `${flag} is not ${expected}`;
}

function wrongAction(copy: CopyFacts, action: CopyAction, deleting: boolean): string | null {
  const { observed, authority, onDelete, role } = copy;
  const reached = deleting && authority !== 'upstream' && onDelete !== 'keep' && role !== 'trash';
  const expected =
    observed.is === 'gone'
      ? authority === 'mergebox' && !reached
        ? ['putBack']
        : ['forget']
      : observed.is === 'missing'
        ? ['stay']
        : reached
          ? ['discard']
          : authority === 'upstream'
            ? ['stay']
            : ['stay', 'store', 'restore'];
  if (!expected.includes(action.do)) return `${action.do} instead of ${expected}`;
  if (action.do === 'discard' && action.how !== onDelete) return `discarded by ${action.how}`;
  if (action.do === 'restore' && role !== 'trash') return 'restored from elsewhere than Trash';
  return null;
}

/** What the copies show when the actions are done; those that left the entry are left out. */
function done(facts: readonly CopyFacts[], result: Reconciled): { entry: FlagText; copies: CopyFacts[] } | null {
  const { entry } = result;
  if (entry === null) return null;
  const copies = facts.flatMap((copy, n): CopyFacts[] => {
    const { base, action } = result.copies[n]!;
    switch (action.do) {
      case 'store': {
        const agreed = agreedFlags(base, entry, copy.refused);
        const told = flagList(addFlags(removeFlags(base, action.remove), action.add));
        const now = flagText(told.filter((each) => canHold(copy.offered, each)));
        return [{ ...copy, base: agreed, observed: { is: 'present', flags: now } }];
      }
      case 'stay':
        return [{ ...copy, base }];
      case 'putBack':
        return [{ ...copy, base: entry, observed: { is: 'present', flags: entry } }];
      default:
        return [];
    }
  });
  return { entry, copies };
}

/** Doing nothing: the same entry and bases, and no action. */
function idleFault(entry: FlagText, copies: readonly CopyFacts[], result: Reconciled): string | null {
  const repeated = reconcile(
    result.entry ?? entry,
    copies.map((copy, n) => ({ ...copy, base: result.copies[n]!.base })),
  );
  if (result.entry !== null && repeated.entry !== result.entry) {
    return `asked again, "${repeated.entry}" instead of "${result.entry}"`;
  }
  const after = done(copies, result);
  if (after === null) return null;
  const again = reconcile(after.entry, after.copies);
  if (again.entry === null || !sameFlags(again.entry, after.entry)) return `"${again.entry}" when all is done`;
  const busy = again.copies.filter(({ action }) => action.do !== 'stay');
  return busy.length === 0 ? null : `when all is done, ${JSON.stringify(busy)}`;
}

function judge(entry: FlagText, copies: readonly CopyFacts[], flag: string): string | null {
  const result = reconcile(entry, copies);
  return fault(entry, copies, flag, result) ?? idleFault(entry, copies, result);
}

for (const flag of [SEEN, DELETED, '\\Flagged']) {
  t.test(`reconcile: every state of one and two copies over ${flag}`, async (t) => {
    const faults: string[] = [];
    let states = 0;
    const look = (entry: FlagText, copies: readonly CopyFacts[]): void => {
      states += 1;
      const wrong = judge(entry, copies, flag);
      if (wrong !== null && faults.length < 3) faults.push(`${wrong}: "${entry}" ${JSON.stringify(copies)}`);
    };
    const all = copiesOver(flag, false);
    const few = copiesOver(flag, true);
    for (const entry of ['', flag]) {
      for (const first of all) {
        look(entry, [first]);
        for (const second of few) look(entry, [first, second]);
      }
    }
    t.same(faults, [], `${states} states`);
    t.ok(states > 100_000, `${states} states`);
  });
}

t.test('reconcile: every state of three copies over \\Deleted', async (t) => {
  const faults: string[] = [];
  let states = 0;
  const few = copiesOver(DELETED, true);
  for (const entry of ['', DELETED]) {
    for (const first of few) {
      for (const second of few) {
        for (const third of few) {
          states += 1;
          const wrong = judge(entry, [first, second, third], DELETED);
          if (wrong !== null && faults.length < 3) faults.push(`${wrong}: ${JSON.stringify([first, second, third])}`);
        }
      }
    }
  }
  t.same(faults, [], `${states} states`);
});

const keyword = fc.constantFrom('$Work', '$work', '$Label1', 'Junk', 'NonJunk', SEEN, '\\Flagged', DELETED);
const flags = fc.array(keyword, { maxLength: 4 }).map((list) => flagText(list));
const observed = fc.oneof(
  flags.map((text): Observed => ({ is: 'present', flags: text })),
  fc.constantFrom<Observed>({ is: 'unknown' }, { is: 'missing' }, { is: 'gone', to: null }),
  fc
    .record({ role: fc.constantFrom<Role | null>('trash', 'archive', null), flags })
    .map((to): Observed => ({ is: 'gone', to })),
);
const facts = fc.record<CopyFacts>({
  base: flags,
  observed,
  offered: fc.option(fc.array(fc.oneof(keyword, fc.constant('\\*'))).map((list) => flagText(list))),
  refused: fc.oneof(fc.constant(''), flags),
  role: fc.constantFrom<Role | null>('inbox', 'trash', 'junk', null),
  authority: fc.constantFrom(...AUTHORITIES),
  onDelete: fc.constantFrom(...POLICIES),
});

t.test('reconcile: done once, it has nothing more to do, whatever the keywords', async (t) => {
  fc.assert(
    fc.property(flags, fc.array(facts, { minLength: 1, maxLength: 3 }), (entry, copies) => {
      const wrong = idleFault(entry, copies, reconcile(entry, copies));
      if (wrong !== null) throw new Error(wrong);
    }),
    { numRuns: 3_000 },
  );
  t.pass();
});

t.test('reconcile: the order in which copies are named makes no difference', async (t) => {
  fc.assert(
    fc.property(flags, fc.array(facts, { minLength: 2, maxLength: 3 }), (entry, copies) => {
      const one = reconcile(entry, copies);
      const two = reconcile(entry, [...copies].reverse());
      if ((one.entry === null) !== (two.entry === null)) return false;
      if (one.entry !== null && !sameFlags(one.entry, two.entry!)) return false;
      return one.copies.every(({ action }, n) => action.do === two.copies.at(-1 - n)!.action.do);
    }),
    { numRuns: 2_000 },
  );
  t.pass();
});

t.test('reconcile: accounts that report one after the other end where those that report together do', async (t) => {
  const orders = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
  ];
  fc.assert(
    fc.property(flags, flags, fc.array(flags, { minLength: 3, maxLength: 3 }), (base, entry, shown) => {
      const ends = orders.map((order) => {
        let now = entry;
        const copies: CopyFacts[] = shown.map(() => ({
          base,
          observed: { is: 'unknown' },
          offered: null,
          refused: '',
          role: 'inbox',
          authority: 'both',
          onDelete: 'trash',
        }));
        for (const n of order) {
          copies[n] = { ...copies[n]!, observed: { is: 'present', flags: shown[n]! } };
          const result = reconcile(now, copies);
          now = result.entry!;
          for (const [m, copy] of copies.entries()) {
            copies[m] = { ...copy, base: result.copies[m]!.base, observed: { is: 'unknown' } };
          }
        }
        return now;
      });
      const together = reconcile(
        entry,
        shown.map((text) => ({
          base,
          observed: { is: 'present', flags: text },
          offered: null,
          refused: '',
          role: 'inbox',
          authority: 'both',
          onDelete: 'trash',
        })),
      ).entry!;
      return ends.every((end) => sameFlags(end, together));
    }),
    { numRuns: 2_000 },
  );
  t.pass();
});

t.test('reconcile: a deletion wins over what the other side changed meanwhile', async (t) => {
  const common = { offered: null, refused: '', role: 'inbox', authority: 'both', onDelete: 'trash' } as const;
  const gone: CopyFacts = { ...common, base: '', observed: { is: 'gone', to: null } };
  const flagged: CopyFacts = { ...common, base: '', observed: { is: 'present', flags: '\\Flagged' } };
  t.match(reconcile(SEEN, [gone, flagged]), {
    entry: null,
    copies: [{ action: { do: 'forget' } }, { action: { do: 'discard' } }],
  });
});

t.test(
  'owedChange and agreedFlags: what a server cannot hold counts as agreed on, what it refused does not',
  async (t) => {
    const copy = { base: '', flags: '\\Seen $Own $No', offered: '\\Seen $No', refused: '$No' };
    t.same(owedChange(copy), { add: ['\\Seen'], remove: [] });
    t.equal(agreedFlags(copy.base, copy.flags, copy.refused), '\\Seen $Own');
    t.same(owedChange({ ...copy, base: '\\Seen $No', flags: '' }), { add: [], remove: ['\\Seen'] });
  },
);
