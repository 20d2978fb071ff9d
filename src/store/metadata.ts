import { jsonIds, type NewMessage } from './rows.js';
import type { ReadTx, WriteTx } from './store.js';

/** Octets of metadata that one statement takes: each is copied twice on its way, and larger blocks leave holes behind. */
const PACK_BYTES = 96 << 10;

const NUL = Buffer.alloc(1);

/**
 * Inserts the wire forms of messages with consecutive ids. They go over many in one piece of memory, since what takes
 * time is the number of values that are bound, not their octets.
 */
export async function insertMetadata(tx: WriteTx, firstId: number, messages: readonly NewMessage[]): Promise<void> {
  let parts: Buffer[] = [];
  let places: number[][] = [];
  let bytes = 0;
  let first = firstId;
  const flush = async (): Promise<void> => {
    await tx.run(
      `INSERT INTO metadata (id, envelope, structure, header)
       SELECT ?3 + key, substr(?2, value ->> 0, value ->> 1), substr(?2, value ->> 2, value ->> 3),
         substr(?2, value ->> 4, value ->> 5) FROM json_each(?1)`,
      // A NUL at the end: of an empty BLOB the parts would be NULL.
      [JSON.stringify(places), Buffer.concat([...parts, NUL], bytes + 1), first],
    );
    first += places.length;
    [parts, places, bytes] = [[], [], 0];
  };
  for (const { envelope, structure, header } of messages) {
    // SQL counts from 1.
    const at = bytes + 1;
    const [ofStructure, ofHeader] = [at + envelope.length, at + envelope.length + structure.length];
    places.push([at, envelope.length, ofStructure, structure.length, ofHeader, header.length]);
    parts.push(envelope, structure, header);
    bytes += envelope.length + structure.length + header.length;
    if (bytes >= PACK_BYTES) await flush();
  }
  if (places.length > 0) await flush();
}

type WireForm = 'envelope' | 'structure' | 'header';

export interface MetadataWants {
  readonly envelope?: boolean;
  readonly structure?: boolean;
  readonly header?: boolean;
  readonly ids?: boolean;
  readonly preview?: boolean;
}

/** What is known of one message, as asked for. */
export interface MetadataRow {
  readonly id: number;
  envelope?: Buffer;
  structure?: Buffer;
  header?: Buffer;
  /** The number behind the EMAILID. */
  email?: number;
  thread?: number | null;
  preview?: string | null;
}

/** The asked parts of these messages, by id. */
export async function metadataOf(
  tx: ReadTx,
  ids: readonly number[],
  wants: MetadataWants,
): Promise<Map<number, MetadataRow>> {
  const forms = (['envelope', 'structure', 'header'] as const).filter((form) => wants[form]);
  const rows = forms.length > 0 ? await wireForms(tx, ids, forms) : new Map<number, MetadataRow>();
  if (forms.length > 0 && !wants.ids && !wants.preview) return rows;
  const columns = ['id'];
  if (wants.ids) columns.push('COALESCE(email_id, id) AS email', 'thread_id AS thread');
  if (wants.preview) columns.push('preview');
  const narrow = await tx.all<MetadataRow>(
    `SELECT ${columns.join(', ')} FROM message WHERE id IN (SELECT value FROM json_each(?))`,
    [jsonIds(ids)],
  );
  return new Map(narrow.map((row) => [row.id, Object.assign(row, rows.get(row.id))]));
}

/**
 * The wire forms of a page of messages come as one value each, from which they are cut: a value per message costs more
 * than all that is in it. They are views of the same memory, which lasts as long as one of them.
 */
async function wireForms(
  tx: ReadTx,
  ids: readonly number[],
  forms: readonly WireForm[],
): Promise<Map<number, MetadataRow>> {
  const lengths = forms.map((form) => `length(metadata.${form})`).join(', ');
  // The aggregates see the rows in one order. As text, for group_concat knows nothing else; no octet is changed.
  const joined = forms.map((form) => `CAST(group_concat(CAST(metadata.${form} AS TEXT), '') AS BLOB) AS ${form}`);
  const row = (await tx.get<{ places: string } & Record<WireForm, Buffer | null>>(
    `SELECT json_group_array(json_array(metadata.id, ${lengths})) AS places, ${joined.join(', ')}
     FROM json_each(?) AS wanted CROSS JOIN metadata ON metadata.id = wanted.value`,
    [jsonIds(ids)],
  ))!;
  const rows = new Map<number, MetadataRow>();
  const used = forms.map(() => 0);
  for (const [id, ...sizes] of JSON.parse(row.places) as [number, ...number[]][]) {
    const found: MetadataRow = { id };
    for (const [index, form] of forms.entries()) {
      const start = used[index]!;
      used[index] = start + sizes[index]!;
      found[form] = row[form]?.subarray(start, used[index]) ?? NOTHING;
    }
    rows.set(id, found);
  }
  return rows;
}

const NOTHING = Buffer.alloc(0);
