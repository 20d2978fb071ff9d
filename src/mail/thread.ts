import { sortYielding } from './sort-merge.js';

/** What threading needs to know of one mail. */
export interface ThreadMail {
  /** The number it has in the answer. */
  readonly number: number;
  /** Without angle brackets; null when there is none. */
  readonly messageId: string | null;
  /** Oldest first. */
  readonly references: readonly string[];
  /** Sent, seconds since the Unix epoch. */
  readonly date: number;
  /** INTERNALDATE, which orders threads in REFS. */
  readonly arrival: number;
  /** Folded base subject, and whether it was a reply's. */
  readonly subject: string;
  readonly isReply: boolean;
}

/** A message in a thread, or with `mail` null the place of one that is missing. */
export interface ThreadNode {
  readonly mail: ThreadMail | null;
  children: ThreadNode[];
}

/** Between two steps of a long computation: lets others run. */
type Breathe = () => Promise<void>;

/** Mails handled between two calls of `breathe`. */
const SLICE = 1_000;

/** RFC 5256 §3 ORDEREDSUBJECT: one thread per base subject, all later mails below the first. */
export async function threadBySubject(mails: readonly ThreadMail[], breathe: Breathe): Promise<ThreadNode[]> {
  const sorted = await sortYielding(mails, byDate, breathe);
  const bySubject = new Map<string, ThreadNode>();
  for (const [index, mail] of sorted.entries()) {
    if (index % SLICE === 0) await breathe();
    const first = bySubject.get(mail.subject);
    if (first === undefined) bySubject.set(mail.subject, { mail, children: [] });
    else first.children.push({ mail, children: [] });
  }
  return [...bySubject.values()];
}

function byDate(a: ThreadMail, b: ThreadMail): number {
  return a.date - b.date || a.number - b.number;
}

interface Node extends ThreadNode {
  mail: ThreadMail | null;
  children: Node[];
  parent: Node | null;
  /** Leads towards the root of its tree, shortened on every look (union-find). */
  up: Node | null;
}

/** RFC 5256 §3 REFERENCES, or with `refs` without merging by subject and with the threads ordered by their last arrival. */
export async function threadByReferences(
  mails: readonly ThreadMail[],
  refs: boolean,
  breathe: Breathe,
): Promise<ThreadNode[]> {
  const nodes = await link(mails, breathe);
  const roots = await prune(nodes, breathe);
  const sorted = await sortYielding(roots, byNodeDate, breathe);
  const threads = refs ? sorted : mergeSubjects(sorted);
  await sortAll(threads, breathe);
  if (!refs) return sortYielding(threads, byNodeDate, breathe);
  const latest = new Map<ThreadNode, number>();
  for (const [index, thread] of threads.entries()) {
    if (index % SLICE === 0) await breathe();
    latest.set(thread, lastArrival(thread));
  }
  return sortYielding(threads, (a, b) => latest.get(a)! - latest.get(b)! || byNodeDate(a, b), breathe);
}

/** Step 1: every mail below the last one it refers to, then the chains between those that are referred to. */
async function link(mails: readonly ThreadMail[], breathe: Breathe): Promise<Node[]> {
  const byId = new Map<string, Node>();
  const all: Node[] = [];
  const own: Node[] = [];
  const create = (mail: ThreadMail | null): Node => {
    const node: Node = { mail, children: [], parent: null, up: null };
    all.push(node);
    return node;
  };
  for (const [index, mail] of mails.entries()) {
    if (index % SLICE === 0) await breathe();
    const node = create(mail);
    own.push(node);
    // Only the first mail with a Message-ID is known by it; others are on their own.
    if (mail.messageId !== null && !byId.has(mail.messageId)) byId.set(mail.messageId, node);
  }
  const chains = mails.map(({ references }) => references);
  const find = (id: string): Node => {
    let node = byId.get(id);
    if (node === undefined) {
      node = create(null);
      byId.set(id, node);
    }
    return node;
  };
  for (const [index, references] of chains.entries()) {
    if (index % SLICE === 0) await breathe();
    const last = references.at(-1);
    if (last !== undefined) adopt(find(last), own[index]!);
  }
  for (const [index, references] of chains.entries()) {
    if (index % SLICE === 0) await breathe();
    for (let at = 1; at < references.length; at += 1) adopt(find(references[at - 1]!), find(references[at]!));
  }
  return all;
}

/** Makes `child` one of `parent` unless it has a parent or that would close a loop. */
function adopt(parent: Node, child: Node): void {
  // A node without a parent is the root of its tree: the loop is closed when the other one is in that tree.
  if (child.parent !== null || rootOf(parent) === child) return;
  child.parent = parent;
  child.up = parent;
  parent.children.push(child);
}

function rootOf(node: Node): Node {
  let root = node;
  while (root.up !== null) root = root.up;
  for (let at = node; at.up !== null; ) {
    const next = at.up;
    at.up = root;
    at = next;
  }
  return root;
}

/** Steps 2 and 3: missing mails without children go; others give way to their children, but at the top only to one. */
async function prune(nodes: readonly Node[], breathe: Breathe): Promise<Node[]> {
  const order: Node[] = nodes.filter(({ parent }) => parent === null);
  const roots = order.slice();
  for (let at = 0; at < order.length; at += 1) {
    if (at % SLICE === 0) await breathe();
    for (const child of order[at]!.children) order.push(child);
  }
  for (let at = order.length - 1; at >= 0; at -= 1) {
    if (at % SLICE === 0) await breathe();
    const node = order[at]!;
    if (node.children.some(({ mail }) => mail === null)) {
      node.children = node.children.flatMap((child) => (child.mail === null ? child.children : [child]));
    }
  }
  return roots.flatMap((root) => (root.mail === null && root.children.length < 2 ? root.children : [root]));
}

/** A missing mail is dated by its first child (RFC 5256 §3 step 4). */
function dated(node: ThreadNode): ThreadMail {
  return node.mail ?? node.children[0]!.mail!;
}

function byNodeDate(a: ThreadNode, b: ThreadNode): number {
  return byDate(dated(a), dated(b));
}

/** Step 5: threads with one base subject become one. `roots` are in order of date. */
function mergeSubjects(roots: readonly ThreadNode[]): ThreadNode[] {
  const chosen = new Map<string, ThreadNode>();
  for (const root of roots) {
    const { subject, isReply } = dated(root);
    if (subject === '') continue;
    const other = chosen.get(subject);
    const better =
      other !== undefined && other.mail !== null && (root.mail === null || (dated(other).isReply && !isReply));
    if (other === undefined || better) chosen.set(subject, root);
  }
  const merged = new Map<ThreadNode, ThreadNode>();
  const gone = new Set<ThreadNode>();
  for (const root of roots) {
    const { subject, isReply } = dated(root);
    const first = subject === '' ? root : chosen.get(subject)!;
    if (first === root) continue;
    gone.add(root);
    const into = merged.get(first) ?? first;
    if (into.mail === null) into.children = into.children.concat(root.mail === null ? root.children : [root]);
    else if (isReply && !dated(first).isReply) into.children.push(root);
    else merged.set(first, { mail: null, children: [first, root] });
  }
  return roots.filter((root) => !gone.has(root)).map((root) => merged.get(root) ?? root);
}

/** Step 6 below the roots. */
async function sortAll(roots: readonly ThreadNode[], breathe: Breathe): Promise<void> {
  const stack = [...roots];
  for (let count = 0; stack.length > 0; count += 1) {
    if (count % SLICE === 0) await breathe();
    const node = stack.pop()!;
    if (node.children.length > 1) node.children = await sortYielding(node.children, byNodeDate, breathe);
    for (const child of node.children) stack.push(child);
  }
}

function lastArrival(thread: ThreadNode): number {
  let latest = 0;
  const stack = [thread];
  while (stack.length > 0) {
    const node = stack.pop()!;
    latest = Math.max(latest, node.mail?.arrival ?? 0);
    for (const child of node.children) stack.push(child);
  }
  return latest;
}

/** `thread-list` of RFC 5256 §5: without recursion, since a thread may be as deep as a mailbox has mails. */
export function formatThreads(threads: readonly ThreadNode[]): string {
  const out: string[] = [];
  for (const thread of threads) formatThread(thread, out);
  return out.join('');
}

function formatThread(thread: ThreadNode, out: string[]): void {
  const stack: (ThreadNode | '(' | ')')[] = [')', thread, '('];
  while (stack.length > 0) {
    const next = stack.pop()!;
    if (typeof next === 'string') {
      out.push(next);
      continue;
    }
    if (next.mail !== null) out.push(String(next.mail.number));
    const { children } = next;
    if (children.length === 1) {
      if (next.mail !== null) out.push(' ');
      stack.push(children[0]!);
    } else if (children.length > 1) {
      if (next.mail !== null) out.push(' ');
      for (let at = children.length - 1; at >= 0; at -= 1) stack.push(')', children[at]!, '(');
    }
  }
}
