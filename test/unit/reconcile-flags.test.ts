import fc from 'fast-check';
import t from 'tap';
import { addFlags, flagDelta, flagList, flagText, hasFlag, removeFlags } from '../../src/mail/flags.js';
import { canHold, type CopyFlags, joinFlags, reconcileFlags, withUnholdable } from '../../src/mail/reconcile.js';

/** All sets of these three: what reconciling knows of a flag does not depend on the others. */
const FLAGS = ['\\Seen', '\\Deleted', '$Work'];
const SETS = Array.from({ length: 8 }, (_, bits) => flagText(FLAGS.filter((_, n) => bits & (1 << n))));

/** The rule, for one flag: a server that set it wins, then one that cleared it, then what the entry shows. */
function expected(entry: boolean, copies: readonly { base: boolean; observed: boolean }[]): boolean {
  if (copies.some(({ base, observed }) => observed && !base)) return true;
  if (copies.some(({ base, observed }) => base && !observed)) return false;
  return entry;
}

function check(entry: string, copies: readonly CopyFlags[]): string | null {
  const result = reconcileFlags(entry, copies);
  for (const flag of FLAGS) {
    const states = copies.map(({ base, observed }) => ({
      base: hasFlag(base, flag),
      observed: hasFlag(observed, flag),
    }));
    if (hasFlag(result, flag) !== expected(hasFlag(entry, flag), states)) {
      return `${flag} of "${entry}" and ${JSON.stringify(copies)}: "${result}"`;
    }
  }
  const again = reconcileFlags(
    result,
    copies.map(({ observed }) => ({ base: observed, observed })),
  );
  return again === result ? null : `not idempotent: "${entry}" and ${JSON.stringify(copies)}`;
}

t.test('reconcileFlags: every state of one and of two copies over \\Seen, \\Deleted and a keyword', async (t) => {
  const faults: string[] = [];
  let states = 0;
  for (const entry of SETS) {
    for (const base of SETS) {
      for (const observed of SETS) {
        states += 1;
        const fault = check(entry, [{ base, observed }]);
        if (fault !== null) faults.push(fault);
        for (const base2 of SETS) {
          for (const observed2 of SETS) {
            states += 1;
            const two = check(entry, [
              { base, observed },
              { base: base2, observed: observed2 },
            ]);
            if (two !== null) faults.push(two);
          }
        }
      }
    }
  }
  t.same(faults.slice(0, 3), [], `${states} states`);
});

t.test('reconcileFlags: every state of three copies over one flag', async (t) => {
  const one = ['', '\\Seen'];
  const faults: string[] = [];
  for (let bits = 0; bits < 128; bits += 1) {
    const pick = (n: number): string => one[(bits >> n) & 1]!;
    const copies = [0, 1, 2].map((n) => ({ base: pick(2 * n), observed: pick(2 * n + 1) }));
    const fault = check(pick(6), copies);
    if (fault !== null) faults.push(fault);
  }
  t.same(faults, []);
});

const keyword = fc.constantFrom('$Work', '$work', '$Label1', 'Junk', 'NonJunk', '\\Seen', '\\Flagged', '\\Deleted');
const flags = fc.array(keyword, { maxLength: 5 }).map((list) => flagText(list));
const copy = fc.record({ base: flags, observed: flags });

/** The same flags, however spelled. */
const same = (a: string, b: string): boolean => {
  const { add, remove } = flagDelta(a, b);
  return add.length + remove.length === 0;
};

t.test('reconcileFlags: the order in which copies are named makes no difference', async (t) => {
  fc.assert(
    fc.property(flags, fc.array(copy, { minLength: 1, maxLength: 3 }), (entry, copies) =>
      same(reconcileFlags(entry, copies), reconcileFlags(entry, [...copies].reverse())),
    ),
  );
  t.pass();
});

t.test('reconcileFlags: copies with one base converge, whichever of them is reported first', async (t) => {
  fc.assert(
    fc.property(flags, flags, flags, (base, first, second) => {
      // A server that is told our flags shows them from then on.
      const run = (order: readonly string[]): string => {
        let entry = base;
        const bases = order.map(() => base);
        const shown = [...order];
        for (let round = 0; round < 3; round += 1) {
          for (const [n, observed] of shown.entries()) {
            entry = reconcileFlags(entry, [{ base: bases[n]!, observed }]);
            bases[n] = entry;
            shown[n] = entry;
            // The others are pushed to as well, unless they have changed something themselves meanwhile.
            for (const m of shown.keys()) {
              if (m === n || shown[m] !== bases[m]) continue;
              shown[m] = entry;
              bases[m] = entry;
            }
          }
        }
        if (!shown.every((each) => same(each, entry))) throw new Error('servers differ in the end');
        return entry;
      };
      const [one, two] = [run([first, second]), run([second, first])];
      // A flag that one server set and another cleared since the base does not exist: they had the same base.
      return same(one, two);
    }),
  );
  t.pass();
});

t.test('joinFlags: what is set anywhere is set, in canonical form', async (t) => {
  t.equal(joinFlags(['\\Seen $b', '', '$B \\Deleted $a']), '\\Deleted \\Seen $a $b');
  t.equal(joinFlags([]), '');
});

t.test('withUnholdable: keeps only what the server cannot hold', async (t) => {
  const offered = flagText(['\\Seen', '\\Deleted', '$Known']);
  t.equal(withUnholdable('\\Seen', '\\Flagged \\Deleted $Known $Own', offered), '\\Flagged \\Seen $Own');
  t.equal(withUnholdable('\\Seen', '\\Flagged $Own', null), '\\Seen', 'a server that did not tell holds all');
  t.equal(withUnholdable('', '$Own \\Flagged', flagText(['\\*', '\\Seen'])), '\\Flagged');
});

t.test('canHold: RFC 9051 §7.1: \\* allows new keywords, not system flags', async (t) => {
  t.ok(canHold(flagText(['\\*']), '$New'));
  t.notOk(canHold(flagText(['\\*']), '\\Flagged'));
  t.ok(canHold(flagText(['\\FLAGGED', '$new']), '$NEW'));
  t.notOk(canHold('', '\\Seen'));
  t.ok(canHold(null, '\\Seen'));
});

t.test('flags: canonical text, whatever the order, case and repetition', async (t) => {
  fc.assert(
    fc.property(fc.array(keyword, { maxLength: 8 }), fc.array(keyword, { maxLength: 4 }), (list, more) => {
      const text = flagText(list);
      const lower = flagList(text).map((flag) => flag.toLowerCase());
      if (new Set(lower).size !== lower.length) return false;
      if (flagText(flagList(text)) !== text) return false;
      const added = addFlags(text, more);
      if (!more.every((flag) => hasFlag(added, flag))) return false;
      const removed = removeFlags(added, more);
      if (more.some((flag) => hasFlag(removed, flag))) return false;
      const { add, remove } = flagDelta(text, added);
      return remove.length === 0 && same(addFlags(text, add), added);
    }),
  );
  t.equal(flagText(['$b', '\\recent', '\\SEEN', '$a', '\\answered', '$B']), '\\Answered \\Seen $a $b');
});
