import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t from 'tap';
import { repositoryRoot } from '../harness/root.js';

interface Count {
  passed: number;
  failed: number;
  files: number;
  problems: string[];
}
const module = (await import(pathToFileURL(join(repositoryRoot(), 'scripts/tap-count.mjs')).href)) as {
  countTap(text: string): Count;
};
const count = (...lines: string[]): Count => module.countTap(['TAP version 14', ...lines].join('\n'));

t.test('countTap counts single assertions at any depth, not their summaries', async (t) => {
  const result = count(
    '# Subtest: a.test.js',
    '    # Subtest: sub',
    '        ok 1 - should be equal',
    '        not ok 2 - boo',
    '          ---',
    '          found: |',
    'ok 9 - text inside a diagnostic',
    '          ...',
    '        1..2',
    '    not ok 1 - sub',
    '    ok 2 - flat',
    '    1..2',
    'not ok 1 - a.test.js',
    '1..1',
  );
  const problem = 'a.test.js > sub > not ok 2 - boo\n          found: |\nok 9 - text inside a diagnostic';
  t.same(result, { passed: 2, failed: 1, files: 1, problems: [problem] });
});

t.test('countTap takes a crash, a file without tests and an excuse as failures', async (t) => {
  t.match(count('# Subtest: a.test.js', '    1..0', 'not ok 1 - a.test.js'), { passed: 0, failed: 1 });
  t.match(count('# Subtest: a', '    ok 1', '    1..1', 'not ok 1 - a # exit 3'), { passed: 1, failed: 1 });
  t.match(count('ok 1 - a.test.js # SKIP no tests found'), { passed: 0, failed: 1, files: 1 });
  t.match(count('# Subtest: a', '    ok 1 - x # TODO later', '    ok 2 - y', '    1..2', 'ok 1 - a'), {
    passed: 1,
    failed: 1,
  });
  t.match(count(), { passed: 0, failed: 0, files: 0 });
});
