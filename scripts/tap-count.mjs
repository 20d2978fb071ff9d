// Counts the assertions in a TAP version 14 text with nested subtests.

const POINT = /^( *)(not )?ok\b(.*)$/;
const DIRECTIVE = /(?<!\\)#\s*(skip|todo)\b/i;

/**
 * `{ passed, failed, files, problems }`: single assertions, whatever their depth; a summary line of a subtest counts
 * only when it fails although nothing in it did (a crash, a time-out, a wrong plan). A skipped or postponed test counts
 * as failed. `files` is the number of top-level points; `problems` are the lines behind `failed`, for people.
 */
export function countTap(text) {
  const total = { passed: 0, failed: 0, files: 0, problems: [] };
  /** Failures among the children since the last point at a depth; undefined when there was no child. */
  const children = [];
  let yaml = null;
  for (const line of text.split('\n')) {
    if (yaml !== null) {
      if (line === yaml) yaml = null;
      continue;
    }
    const [, indent] = /^( *)---$/.exec(line) ?? [];
    if (indent !== undefined) {
      yaml = `${indent}...`;
      continue;
    }
    const depth = Math.floor((/^ */.exec(line)?.[0].length ?? 0) / 4);
    if (/^ *1\.\.\d+/.test(line)) markChild(children, depth);
    const point = POINT.exec(line);
    if (point === null) continue;
    const failures = children[depth + 1];
    children.length = depth + 1;
    const bad = point[2] !== undefined;
    const excused = DIRECTIVE.test(point[3]);
    const fails = failures === undefined || failures === 0 ? bad || excused : false;
    if (fails) total.failed += 1;
    else if (failures === undefined) total.passed += 1;
    if (fails) total.problems.push(line.trim());
    markChild(children, depth);
    children[depth] += fails ? 1 : (failures ?? 0);
    if (depth === 0) total.files += 1;
  }
  return total;
}

function markChild(children, depth) {
  children[depth] ??= 0;
}
