// Counts the assertions in a TAP version 14 text with nested subtests.

const POINT = /^( *)(not )?ok\b(.*)$/;
const DIRECTIVE = /(?<!\\)#\s*(skip|todo)\b/i;

/**
 * `{ passed, failed, files, problems }`: single assertions, whatever their depth; a summary line of a subtest counts
 * only when it fails although nothing in it did (a crash, a time-out, a wrong plan). A skipped or postponed test counts
 * as failed. `files` is the number of top-level points; `problems` tell what is behind `failed`, for people: the line with the
 * names of the tests around it, and its diagnostics.
 */
export function countTap(text) {
  const total = { passed: 0, failed: 0, files: 0, problems: [] };
  /** Failures among the children since the last point at a depth; undefined when there was no child. */
  const children = [];
  /** Names of the open subtests, by depth. */
  const names = [];
  /** The end of the diagnostics that are being read, and whether they belong to the last problem. */
  let yaml = null;
  let failing = false;
  for (const line of text.split('\n')) {
    if (yaml !== null) {
      if (line === yaml) yaml = null;
      else if (failing) total.problems[total.problems.length - 1] += `\n${line}`;
      continue;
    }
    const [, indent] = /^( *)---$/.exec(line) ?? [];
    if (indent !== undefined) {
      yaml = `${indent}...`;
      continue;
    }
    const depth = Math.floor((/^ */.exec(line)?.[0].length ?? 0) / 4);
    const [, name] = /^ *# Subtest: (.*)$/.exec(line) ?? [];
    if (name !== undefined) names.length = depth;
    if (name !== undefined) names[depth] = name;
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
    if (fails) total.problems.push([...names.slice(0, depth), line.trim()].join(' > '));
    failing = fails;
    markChild(children, depth);
    children[depth] += fails ? 1 : (failures ?? 0);
    if (depth === 0) total.files += 1;
  }
  return total;
}

function markChild(children, depth) {
  children[depth] ??= 0;
}
