import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { importsOf, LAYERS, layerViolations } from '../harness/layers.js';
import { repositoryRoot } from '../harness/root.js';

const root = repositoryRoot();

function sources(): Map<string, string> {
  const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter((file) =>
    /\.m?ts$/.test(file),
  );
  return new Map(files.map((file) => [`src/${file}`, readFileSync(join(root, 'src', file), 'utf8')]));
}

t.test('no import in src goes up a layer', async (t) => {
  const files = sources();
  t.ok(files.size > 10, `${files.size} sources were looked at`);
  t.same(layerViolations(files), []);
});

t.test('every folder of src is in the table of layers', async (t) => {
  const folders = readdirSync(join(root, 'src'), { withFileTypes: true }).filter((entry) => entry.isDirectory());
  for (const { name } of folders) t.ok(name === 'demo' || Object.hasOwn(LAYERS, name), name);
});

const one = (path: string, source: string): string[] => layerViolations(new Map([[path, source]]));

t.test('layerViolations names file and line of an import that goes up', async (t) => {
  t.same(one('src/imap/x.ts', "import { a } from 'node:fs';\n\nimport { Store } from '../store/store.js';\n"), [
    'src/imap/x.ts:3: imap may not import store (../store/store.js)',
  ]);
  t.same(one('src/imap/commands/x.ts', "import type {\n  Store,\n} from '../../store/store.js';"), [
    'src/imap/commands/x.ts:1: imap may not import store (../../store/store.js)',
  ]);
  t.same(one('src/util/x.ts', "export * from '../mail/ids.js';"), [
    'src/util/x.ts:1: util may not import mail (../mail/ids.js)',
  ]);
  t.same(one('src/mailbox/x.ts', "export type { Pull } from '../sync/pull.js';"), [
    'src/mailbox/x.ts:1: mailbox may not import sync (../sync/pull.js)',
  ]);
  t.match(one('src/sync/x.ts', "const view = await import('../mailbox/view.js');"), [/sync may not import mailbox/]);
  t.match(one('src/store/x.ts', "type C = import('../config/config.js').Config;"), [/store may not import config/]);
  t.match(one('src/mail/x.ts', "import '../wire/chars.js';"), [/mail may not import wire/]);
  t.match(one('src/store/x.ts', "import { app } from '../app.js';"), [/store may not import app\.ts/]);
  t.match(one('src/store/x.ts', "import { x } from '../../test/x.js';"), [/outside src/]);
  t.match(one('src/helpers/x.ts', ''), [/helpers is not in the table/]);
  t.match(one('src/loose.ts', ''), [/loose\.ts is not in the table/]);
});

t.test('layerViolations lets types of config through where the table says so, and only types', async (t) => {
  t.same(one('src/upstream/x.ts', "import type { Endpoint } from '../config/config.js';"), []);
  t.same(one('src/submit/x.ts', "import { type Endpoint, type TlsMode } from '../config/config.js';"), []);
  t.match(one('src/admin/x.ts', "import { type Endpoint, load } from '../config/load.js';"), [
    /types only from config/,
  ]);
  t.match(one('src/imap/x.ts', "import type { Config } from '../config/config.js';"), [/imap may not import config/]);
  t.same(one('src/app.ts', "import { load } from './config/load.js';\nimport { x } from './store/store.js';"), []);
  t.same(one('src/demo/x.ts', "import { x } from '../imap/listener.js';"), []);
});

t.test('layerViolations keeps sockets out of pure layers and packages with their owner', async (t) => {
  t.match(one('src/wire/x.ts', "import { connect } from 'node:net';"), [/wire is pure/]);
  t.match(one('src/mail/x.ts', "import { readFile } from 'node:fs/promises';"), [/mail is pure/]);
  t.match(one('src/mailbox/x.ts', "import sqlite3 from 'sqlite3';"), [/sqlite3 belongs to store/]);
  t.match(one('src/sync/x.ts', "import { ImapFlow } from 'imapflow';"), [/imapflow belongs to upstream/]);
});

t.test('importsOf sees through comments and layout', async (t) => {
  const source = [
    '/* import { no } from "../a.js"; */',
    "// import { no } from '../b.js';",
    'import {',
    '  one,',
    '  type Two,',
    "} from './one.js';",
    "import three, { four } from './three.js';",
    "import * as five from './five.js';",
    "export { six } from './six.js';",
    "export type * from './seven.js';",
    "const text = 'no import here';",
  ].join('\n');
  t.same(
    importsOf(source).map(({ specifier, typeOnly, line }) => `${line} ${specifier} ${typeOnly}`),
    ['3 ./one.js false', '7 ./three.js false', '8 ./five.js false', '9 ./six.js false', '10 ./seven.js true'],
  );
});
