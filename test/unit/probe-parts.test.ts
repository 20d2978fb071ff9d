import t from 'tap';
import { appendToList } from '../../src/config/edit.js';
import { parseAddress } from '../../src/probe/address.js';
import { findAutoconfig } from '../../src/probe/autoconfig.js';
import { collect, commonPlaces } from '../../src/probe/candidates.js';
import { freeId } from '../../src/probe/entry.js';
import { PROBE_LIMITS } from '../../src/probe/limits.js';
import { providerBehind, providerOf } from '../../src/probe/providers.js';
import type { HttpGet, Resolver, SrvRecord } from '../../src/probe/types.js';
import { parseXml } from '../../src/probe/xml.js';

const ADDRESS = parseAddress('Alice.B@Example.ORG');

const DOCUMENT = `<?xml version="1.0" encoding="UTF-8"?>
<!-- for mail programs -->
<clientConfig version="1.1">
  <emailProvider id="example.org">
    <domain>example.org</domain>
    <displayName>Ex &amp; Co &#x263A;</displayName>
    <incomingServer type="imap">
      <hostname>mail.%EMAILDOMAIN%</hostname><port>993</port>
      <socketType>SSL</socketType><authentication>password-cleartext</authentication>
      <username>%EMAILLOCALPART%</username>
    </incomingServer>
    <incomingServer type="pop3"><hostname>pop.example.org</hostname><port>110</port>
      <socketType>plain</socketType><username>%EMAILADDRESS%</username></incomingServer>
    <outgoingServer type='smtp'>
      <hostname><![CDATA[smtp.example.net]]></hostname><port>587</port>
      <socketType>STARTTLS</socketType><username>%EMAILADDRESS%</username>
    </outgoingServer>
    <incomingServer type="exchange"><hostname>x.example.org</hostname><port>443</port></incomingServer>
  </emailProvider>
</clientConfig>`;

const nothing: Resolver = { srv: async () => [], mx: async () => [] };
const absent: HttpGet = async () => ({ status: 404, location: null, body: Buffer.alloc(0) });
const noDial = (): never => {
  throw new Error('nothing is to be dialled here');
};

function serving(documents: Readonly<Record<string, string>>, asked: string[] = []): HttpGet {
  return async (url) => {
    asked.push(url.href);
    const found = documents[`${url.protocol}//${url.hostname}${url.pathname}`];
    if (found?.startsWith('→')) return { status: 302, location: found.slice(1), body: Buffer.alloc(0) };
    return { status: found === undefined ? 404 : 200, location: null, body: Buffer.from(found ?? '') };
  };
}

const PLACE = 'https://autoconfig.example.org/mail/config-v1.1.xml';

t.test('parseAddress takes addresses, IDNA domains among them, and nothing else', async (t) => {
  t.same(parseAddress('a+b@Bücher.example'), {
    address: 'a+b@Bücher.example',
    local: 'a+b',
    domain: 'xn--bcher-kva.example',
  });
  for (const wrong of [
    'alice',
    '@x.example',
    'a@',
    'a b@x.example',
    'a@b@c',
    'a@[1.2.3.4]',
    'a@1.2.3.4',
    'a@x..y',
    '"q"@x.y',
    'a@x\n.y',
  ])
    t.throws(() => parseAddress(wrong), { code: 'config' }, wrong);
});

t.test('parseXml reads elements, attributes, entities, CDATA and comments', async (t) => {
  const root = parseXml(Buffer.from(`\ufeff${DOCUMENT}`));
  t.equal(root.name, 'clientConfig');
  t.equal(root.attributes.get('version'), '1.1');
  const provider = root.children[0]!;
  t.equal(provider.children[1]!.text, 'Ex & Co ☺');
  t.equal(provider.children[4]!.children[0]!.text, 'smtp.example.net');
});

t.test('parseXml refuses what no such document needs', async (t) => {
  const bomb = '<!DOCTYPE a [<!ENTITY b "bbbb">]><a>&b;</a>';
  for (const [what, text] of Object.entries({
    doctype: bomb,
    'own entity': '<a>&b;</a>',
    'bare ampersand': '<a>a & b</a>',
    'unclosed element': '<a><b></a>',
    'crossed elements': '<a><b></a></b>',
    'second root': '<a/><b/>',
    'text outside': '<a/>x',
    'double attribute': '<a x="1" x="2"/>',
    'unquoted attribute': '<a x=1/>',
    'control by reference': '<a>&#1;</a>',
    'beyond Unicode': '<a>&#x110000;</a>',
    'late declaration': '<a/><?xml version="1.0"?>',
    nothing: '',
    'open comment': '<a><!-- x</a>',
    deep: '<a>'.repeat(PROBE_LIMITS.depth + 1) + '</a>'.repeat(PROBE_LIMITS.depth + 1),
    many: `<a>${'<b/>'.repeat(PROBE_LIMITS.elements)}</a>`,
  }))
    t.throws(() => parseXml(Buffer.from(text)), { code: 'protocol' }, what);
  t.throws(() => parseXml(Buffer.from([0x3c, 0x61, 0x3e, 0xff])), { code: 'protocol' }, 'not UTF-8');
  t.throws(() => parseXml(Buffer.alloc(PROBE_LIMITS.documentBytes + 1, 32)), { code: 'protocol' }, 'too large');
  t.equal(
    parseXml(Buffer.from(`<a>${'<b/>'.repeat(PROBE_LIMITS.elements - 1)}</a>`)).children.length,
    PROBE_LIMITS.elements - 1,
  );
});

t.test('parseXml takes linear time for hostile text', async (t) => {
  const size = PROBE_LIMITS.documentBytes;
  for (const text of [
    '<a '.padEnd(size, ' '),
    `<a>${'<!--'.repeat(size / 5)}`,
    `<a ${'x="1"'.repeat(size / 8)}`,
    `<a>${'&'.repeat(size - 5)}`,
    `<${'a'.repeat(size - 2)}`,
    '<?a'.padEnd(size, '?'),
    `<a x="${'='.repeat(size - 10)}`,
  ]) {
    const start = process.cpuUsage();
    t.throws(() => parseXml(Buffer.from(text)));
    t.ok(process.cpuUsage(start).user < 200_000, `${text.slice(0, 12)}…`);
  }
});

t.test('findAutoconfig takes the servers with TLS from the first document that is one', async (t) => {
  const asked: string[] = [];
  const found = await findAutoconfig(ADDRESS, serving({ [PLACE]: DOCUMENT }, asked), () => undefined);
  t.equal(found?.url, PLACE);
  t.same(found?.candidates, [
    {
      service: 'imap',
      host: 'mail.example.org',
      port: 993,
      tls: 'implicit',
      source: 'autoconfig',
      username: 'Alice.B',
    },
    {
      service: 'smtp',
      host: 'smtp.example.net',
      port: 587,
      tls: 'starttls',
      source: 'autoconfig',
      username: 'Alice.B@Example.ORG',
    },
  ]);
  t.same(
    asked.filter((url) => url.startsWith('http:')).filter((url) => url.includes('lice')),
    [],
    'no address in clear',
  );
  t.ok(asked.includes(`${PLACE}?emailaddress=Alice.B%40Example.ORG`));
  t.equal(await findAutoconfig(ADDRESS, absent, () => undefined), null);
});

t.test('findAutoconfig follows redirects to HTTPS only, and not for ever', async (t) => {
  const get = serving({ [PLACE]: '→https://elsewhere.example/doc', 'https://elsewhere.example/doc': DOCUMENT });
  t.equal((await findAutoconfig(ADDRESS, get, () => undefined))?.candidates.length, 2);
  for (const target of [
    'http://elsewhere.example/doc',
    'file:///etc/passwd',
    'https://u:p@elsewhere.example/doc',
    PLACE,
  ]) {
    const notes: string[] = [];
    const hostile = serving({ [PLACE]: `→${target}`, 'http://elsewhere.example/doc': DOCUMENT });
    t.equal(await findAutoconfig(ADDRESS, hostile, (note) => notes.push(note)), null, target);
    t.match(notes, [/it leads/]);
  }
});

t.test('findAutoconfig drops servers whose names or ports are none', async (t) => {
  const server = (host: string, port: string, user = 'x'): string =>
    `<incomingServer type="imap"><hostname>${host}</hostname><port>${port}</port><socketType>SSL</socketType><username>${user}</username></incomingServer>`;
  const document = (servers: string): string =>
    `<clientConfig><emailProvider>${servers}</emailProvider></clientConfig>`;
  for (const [host, port] of [
    ['192.0.2.1', '993'],
    ['a b', '993'],
    ['a/../b', '993'],
    ['a.example:1', '993'],
    ['', '993'],
    ['a.example', '0'],
    ['a.example', '65536'],
    ['a.example', '99x'],
    ['-a.example', '993'],
  ] as const) {
    const found = await findAutoconfig(ADDRESS, serving({ [PLACE]: document(server(host, port)) }), () => undefined);
    t.same(found?.candidates, [], `${host}:${port}`);
  }
  const odd = await findAutoconfig(
    ADDRESS,
    serving({ [PLACE]: document(server('a.example', '993', 'x y')) }),
    () => undefined,
  );
  t.equal(odd?.candidates[0]?.username, null, 'a name that could hold a second command is not used');
  const many = await findAutoconfig(
    ADDRESS,
    serving({ [PLACE]: document(server('a.example', '993').repeat(50)) }),
    () => undefined,
  );
  t.equal(many?.candidates.length, PROBE_LIMITS.records);
});

t.test('collect sorts SRV records, hears a service declined, and knows customers by their exchanger', async (t) => {
  const records: Readonly<Record<string, SrvRecord[]>> = {
    '_imaps._tcp.example.org': [
      { name: 'b.example.org', port: 993, priority: 10, weight: 5 },
      { name: 'a.example.org.', port: 1993, priority: 0, weight: 1 },
      { name: 'c.example.org', port: 993, priority: 0, weight: 9 },
      { name: 'bad name', port: 993, priority: 0, weight: 9 },
    ],
    '_pop3s._tcp.example.org': [{ name: '', port: 0, priority: 0, weight: 0 }],
  };
  const resolver: Resolver = {
    srv: async (name) => records[name] ?? [],
    mx: async () => ['aspmx.l.google.com'],
  };
  const { candidates, declined, notes } = await collect(ADDRESS, { resolver, get: absent, dial: noDial });
  t.same(
    candidates.filter(({ source }) => source === 'SRV record').map(({ host }) => host),
    ['c.example.org', 'a.example.org', 'b.example.org'],
  );
  t.same([...declined], ['pop3']);
  t.same(
    candidates.filter(({ source }) => source === 'MX record').map(({ host }) => host),
    ['imap.gmail.com', 'pop.gmail.com', 'smtp.gmail.com'],
  );
  t.match(notes, [/Google: .*app password/]);
  const broken: Resolver = {
    srv: async () => Promise.reject(new Error('SERVFAIL')),
    mx: async () => Promise.reject(new Error('SERVFAIL')),
  };
  t.match((await collect(ADDRESS, { resolver: broken, get: absent, dial: noDial })).notes, [/DNS: .*SERVFAIL/]);
});

t.test('collect asks nobody about a provider in the table', async (t) => {
  const unasked = (): never => t.fail('asked') as never;
  const reach = { resolver: { srv: unasked, mx: unasked }, get: unasked, dial: noDial };
  const { candidates } = await collect(parseAddress('x@gmail.com'), reach);
  t.same(
    candidates.map(({ service, port }) => `${service} ${port}`),
    ['imap 993', 'pop3 995', 'smtp 465'],
  );
  t.same(
    (await collect(parseAddress('me@icloud.com'), reach)).candidates.map(({ tls }) => tls),
    ['implicit', 'starttls'],
  );
  t.equal((await collect(parseAddress('me@free.fr'), reach)).candidates[0]?.username, 'me');
  t.equal(providerOf('example.org'), undefined);
  t.equal(providerBehind('evilgoogle.com'), undefined);
  t.equal(providerBehind('x.mail.protection.outlook.com')?.name, 'Microsoft');
});

t.test('commonPlaces tries TLS from the start first and stays in the domain', async (t) => {
  const places = commonPlaces(ADDRESS, ['imap', 'smtp']);
  t.equal(places[0]?.tls, 'implicit');
  t.ok(places.every(({ host }) => host === 'example.org' || host.endsWith('.example.org')));
  t.same((await collect(ADDRESS, { resolver: nothing, get: absent, dial: noDial })).candidates, []);
});

t.test('appendToList leaves the rest of the text as it stands', async (t) => {
  const path = ['users', 0, 'accounts'];
  const before =
    '{\n  "x": "a\\"]}",\n  "users": [ { "name": "n",\n      "accounts": [\n        { "id": "a" }\n      ] } ]\n}\n';
  const after = appendToList(before, path, { id: 'b', list: [1] });
  t.equal(
    after,
    before.replace(
      '{ "id": "a" }',
      '{ "id": "a" },\n        {\n          "id": "b",\n          "list": [\n            1\n          ]\n        }',
    ),
  );
  for (const text of [
    '{"users":[{"accounts":[]}]}',
    '{"users":[{"name":"x"}]}',
    '{"users":[{}]}',
    '\ufeff{"users": [{"accounts": [ {"id":"a","v":[{}]} ]}], "z": [1,2,{"a":"]"}]}',
    '{\r\n\t"users": [\r\n\t\t{\r\n\t\t\t"accounts": [\r\n\t\t\t]\r\n\t\t}\r\n\t]\r\n}',
  ]) {
    const changed = appendToList(text, path, { id: 'new' });
    const [was, is] = [text, changed].map(
      (each) => JSON.parse(each.replace('\ufeff', '')) as { users: [{ accounts?: unknown[] }] },
    );
    t.same(is!.users[0].accounts, [...(was!.users[0].accounts ?? []), { id: 'new' }], text);
    if (text.includes('\r\n')) t.notMatch(changed, /[^\r]\n/);
  }
  t.throws(() => appendToList('{"users":[]}', path, {}), RangeError);
  t.throws(() => appendToList('{"users":[{"accounts":{}}]}', path, {}), RangeError);
  t.throws(() => appendToList('{"users":[', path, {}), { name: 'JsonError' });
});

t.test('freeId names an account after its domain and evades names that are taken', async (t) => {
  t.equal(freeId('corp.example', []), 'corp');
  t.equal(freeId('mail.corp.example', ['Corp', 'corp-2']), 'corp-3');
  t.equal(freeId('xn--bcher-kva.example', []), 'xn--bcher-kva');
});
