import { z } from 'zod';
import { type Path, type Problem, valueAt } from './problems.js';

type Issue = z.core.$ZodIssue;

/** What of the file does not fit the schema, in plain words; `prefix` is where `raw` stands in the file. */
export function shapeProblems(schema: z.ZodType, raw: unknown, prefix: Path = []): readonly Problem[] {
  const result = schema.safeParse(raw);
  return result.success ? [] : result.error.issues.flatMap((issue) => explain(issue, schema, raw, prefix));
}

function explain(issue: Issue, schema: z.ZodType, raw: unknown, prefix: Path): readonly Problem[] {
  const path = [...prefix, ...issue.path];
  if (issue.code === 'unrecognized_keys') {
    const allowed = allowedKeys(schemaAt(schema, issue.path)).join(', ');
    return issue.keys.map((key) => ({ path: [...path, key], text: `unknown key; allowed: ${allowed}` }));
  }
  const value = valueAt(raw, issue.path);
  if (value === undefined) return [{ path, text: `missing; ${expected(issue)}` }];
  if (issue.code === 'invalid_union') {
    const inner = closestOption(issue, schemaAt(schema, issue.path), value, path);
    if (inner !== null) return inner;
  }
  return [{ path, text: expected(issue) }];
}

/** For an object, the problems of the one option that is an object; else null. */
function closestOption(
  issue: Issue & { code: 'invalid_union' },
  schema: z.ZodType | null,
  value: unknown,
  path: Path,
): readonly Problem[] | null {
  // A union that says itself what it wants (a secret) needs no more.
  if (!issue.message.startsWith('Invalid input')) return null;
  if (!(schema instanceof z.ZodUnion) || typeof value !== 'object' || value === null) return null;
  const objects = schema.options.filter((option): option is z.ZodObject => option instanceof z.ZodObject);
  return objects.length === 1 && objects[0] !== undefined ? shapeProblems(objects[0], value, path) : null;
}

/** What is allowed there, without the value that stands there. */
function expected(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return `expected ${TYPE_WORDS[issue.expected] ?? `a ${issue.expected}`}`;
    case 'invalid_value':
      return `expected one of ${issue.values.map((value) => JSON.stringify(value)).join(', ')}`;
    case 'too_small':
      return issue.origin === 'string'
        ? 'must not be empty'
        : `expected ${ofWhat(issue.origin)}at least ${issue.minimum}`;
    case 'too_big':
      return `expected ${ofWhat(issue.origin)}at most ${issue.maximum}`;
    case 'invalid_format':
    case 'custom':
      return `expected ${issue.message}`;
    case 'invalid_union':
      return issue.message.startsWith('Invalid input') ? 'of the wrong kind' : `expected ${issue.message}`;
    default:
      return issue.message;
  }
}

const TYPE_WORDS: Readonly<Record<string, string>> = {
  object: 'an object',
  array: 'a list',
  int: 'a whole number',
  boolean: 'true or false',
};

function ofWhat(origin: string): string {
  return origin === 'array' ? 'a list of ' : '';
}

/** The keys of an object schema, in its order. */
export function allowedKeys(schema: z.ZodType | null): readonly string[] {
  return schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
}

/** The schema of the value at `path`, with defaults and optionals taken off. */
export function schemaAt(schema: z.ZodType, path: Path): z.ZodType | null {
  let current: z.ZodType | null = bare(schema);
  for (const part of path) {
    if (current instanceof z.ZodUnion) {
      current = (current.options as readonly z.ZodType[]).find((option) => option instanceof z.ZodObject) ?? null;
    }
    if (current instanceof z.ZodObject) current = (current.shape[String(part)] as z.ZodType | undefined) ?? null;
    else if (current instanceof z.ZodArray) current = current.element as z.ZodType;
    else return null;
    if (current !== null) current = bare(current);
  }
  return current;
}

function bare(schema: z.ZodType): z.ZodType {
  let current = schema;
  while (current instanceof z.ZodDefault || current instanceof z.ZodPrefault || current instanceof z.ZodOptional) {
    current = current.unwrap() as z.ZodType;
  }
  return current;
}
