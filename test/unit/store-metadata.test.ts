import t from 'tap';
import { insertMessages } from '../../src/store/messages.js';
import { metadataOf } from '../../src/store/metadata.js';
import type { NewMessage } from '../../src/store/rows.js';
import { Store } from '../../src/store/store.js';
import { scratch } from './support/mail-world.js';

const every = Buffer.from(Array.from({ length: 256 }, (_, octet) => octet));

function message(n: number, parts: Partial<Pick<NewMessage, 'envelope' | 'structure' | 'header'>>): NewMessage {
  const filled = {
    envelope: Buffer.from(`(e${n})`),
    structure: Buffer.from(`(s${n})`),
    header: Buffer.from(`H: ${n}\r\n\r\n`),
  };
  return { matchKey: `m${n}`, mergeKey: null, messageId: `"${n}" \u00ff`, size: n, pinned: null, ...filled, ...parts };
}

t.test('metadataOf gives the octets that insertMessages took, whatever they are', async (t) => {
  const store = await Store.open(await scratch(t));
  t.teardown(() => store.close());
  const messages = [
    message(1, { structure: Buffer.alloc(0) }),
    message(2, { envelope: Buffer.alloc(0), structure: Buffer.alloc(0), header: Buffer.alloc(0) }),
    message(3, { header: every, envelope: Buffer.from([0]), structure: Buffer.from([0xff, 0, 0xc3]) }),
    message(4, { header: Buffer.concat(Array.from({ length: 1_200 }, () => every)) }),
    ...Array.from({ length: 1_200 }, (_, n) => message(n + 5, { header: Buffer.alloc(n % 700, n) })),
  ];
  const ids = await store.write((tx) => insertMessages(tx, messages));
  t.same(
    ids,
    messages.map((_, n) => n + 1),
    'ids follow each other',
  );
  const asked = [...ids].reverse().filter((id) => id % 3 !== 1 || id < 5);
  const rows = await store.read((tx) =>
    metadataOf(tx, asked, { envelope: true, structure: true, header: true, ids: true }),
  );
  t.equal(rows.size, asked.length);
  const wrong = asked.filter((id) => {
    const [row, own] = [rows.get(id)!, messages[id - 1]!];
    return !(
      row.envelope!.equals(own.envelope) &&
      row.structure!.equals(own.structure) &&
      row.header!.equals(own.header)
    );
  });
  t.same(wrong, []);
  t.equal(rows.get(2)?.email, 2);
  const some = await store.read((tx) => metadataOf(tx, [3, 99_999, 1], { header: true }));
  t.same([...some.keys()].sort(), [1, 3], 'what is not there is left out');
  t.equal(some.get(3)?.envelope, undefined, 'what was not asked for is not there');
  t.same(await store.read((tx) => metadataOf(tx, [], { header: true })), new Map());
  t.same([...(await store.read((tx) => metadataOf(tx, [2], {}))).keys()], [2]);
  const stored = await store.read((tx) =>
    tx.get<{ message_id: string }>('SELECT message_id FROM message WHERE id = 7'),
  );
  t.equal(stored?.message_id, '"7" \u00ff');
});
