import { HeaderFilter } from '../mail/header-filter.js';
import type { SectionText } from '../mail/mime-section.js';
import type { FetchAttribute, FetchItem, FetchPartial } from '../wire/fetch-item.js';
import type { MetadataWants } from './backend.js';

/** A section of which the octets come from the body, or, for the mail's own header, from the stored header. */
export interface SectionItem {
  readonly label: string;
  readonly path: readonly number[];
  readonly text: SectionText;
  /** For HEADER.FIELDS(.NOT): applied to the octets of HEADER. */
  readonly filter: HeaderFilter | null;
  readonly partial: FetchPartial | null;
  /** From the stored header alone. */
  readonly fromHeader: boolean;
}

export type PlanItem =
  | { readonly type: 'attribute'; readonly name: FetchAttribute }
  | { readonly type: 'section'; readonly section: SectionItem }
  | { readonly type: 'binary'; readonly binary: BinaryItem };

/** A part to be decoded (RFC 3516). */
export interface BinaryItem {
  readonly label: string;
  readonly path: readonly number[];
  readonly partial: FetchPartial | null;
  /** BINARY.SIZE: only how many octets. */
  readonly sizeOnly: boolean;
}

/** What a FETCH needs from where, worked out once for all its messages. */
export interface FetchPlan {
  readonly items: readonly PlanItem[];
  readonly wants: MetadataWants;
  /** Whether stored metadata is needed: otherwise the listing has it all. */
  readonly needsMetadata: boolean;
  readonly needsBody: boolean;
  /** Whether \Seen is set (RFC 9051 §6.4.5: BODY[…] without PEEK, RFC822 and RFC822.TEXT). */
  readonly setsSeen: boolean;
  /** Whether the attribute is among the items. */
  has(name: FetchAttribute): boolean;
}

/** `extra` names attributes that the answer carries though they were not asked for (UID FETCH, CHANGEDSINCE). */
export function planFetch(items: readonly FetchItem[], extra: readonly FetchAttribute[]): FetchPlan {
  const missing = extra.filter((name) => !items.some((item) => item.type === 'attribute' && item.name === name));
  // UID in front: a client that reads as it parses knows at once which message follows.
  const all: FetchItem[] = [...missing.map((name) => ({ type: 'attribute' as const, name })), ...items];
  const planned = all.map(planItem);
  const attributes = new Set(planned.map((item) => (item.type === 'attribute' ? item.name : '')));
  const sections = planned.flatMap((item) => (item.type === 'section' ? [item.section] : []));
  const wants = {
    envelope: attributes.has('ENVELOPE'),
    structure: attributes.has('BODY') || attributes.has('BODYSTRUCTURE'),
    header: sections.some(({ fromHeader }) => fromHeader),
    ids: attributes.has('EMAILID') || attributes.has('THREADID'),
    saved: attributes.has('SAVEDATE'),
    ...previewWant(attributes),
  };
  return {
    items: planned,
    wants,
    needsMetadata: Object.values(wants).some((want) => want !== false),
    needsBody: sections.some(({ fromHeader }) => !fromHeader) || planned.some(({ type }) => type === 'binary'),
    setsSeen: items.some((item) => (item.type === 'section' || item.type === 'binary') && !item.peek),
    has: (name) => attributes.has(name),
  };
}

/** RFC 8970 §3.1: LAZY is only for a client that does not ask for all. */
function previewWant(attributes: ReadonlySet<string>): Pick<MetadataWants, 'preview'> {
  if (attributes.has('PREVIEW')) return { preview: 'full' };
  return attributes.has('PREVIEW (LAZY)') ? { preview: 'lazy' } : {};
}

function planItem(item: FetchItem): PlanItem {
  if (item.type === 'attribute') return item;
  if (item.type !== 'section') {
    const { label, part: path } = item;
    const sizeOnly = item.type === 'binarySize';
    return { type: 'binary', binary: { label, path, partial: sizeOnly ? null : item.partial, sizeOnly } };
  }
  const { part, text, fields } = item.section;
  const isFields = text === 'HEADER.FIELDS' || text === 'HEADER.FIELDS.NOT';
  const section: SectionItem = {
    label: item.label,
    path: part,
    text: text === 'ALL' ? null : isFields ? 'HEADER' : text,
    filter: isFields ? new HeaderFilter(fields, text === 'HEADER.FIELDS.NOT') : null,
    partial: item.partial,
    fromHeader: part.length === 0 && (isFields || text === 'HEADER'),
  };
  return { type: 'section', section };
}
