/** Lines joined with CRLF; the last one gets none, so end with an empty string to end with a line end. */
export function mail(...lines: readonly string[]): Buffer {
  return Buffer.from(lines.join('\r\n'), 'latin1');
}

const BASE = [
  'Received: from mx.example.org (mx.example.org [192.0.2.1])',
  '\tby mail.example.net with ESMTPS; Tue, 2 Jan 2024 10:11:13 +0100',
  'Message-ID: <one@example.org>',
  'Date: Tue, 02 Jan 2024 10:11:12 +0100',
  'From: "Ann Example" <ann@Example.ORG>',
  'To: Bob <bob@example.net>, carol@example.com',
  'Subject: An ordinary subject',
  'MIME-Version: 1.0',
];

function multipart(subtype: string, boundary: string, ...parts: readonly (readonly string[])[]): string[] {
  return [
    `Content-Type: multipart/${subtype}; boundary="${boundary}"`,
    '',
    ...parts.flatMap((part) => [`--${boundary}`, ...part]),
    `--${boundary}--`,
    '',
  ];
}

const PLAIN = ['Content-Type: text/plain; charset=utf-8', '', 'Hello,', 'this is text.', ''];
const HTML = [
  'Content-Type: text/html; charset="utf-8"',
  'Content-Transfer-Encoding: quoted-printable',
  '',
  '<p>caf=C3=A9 =3D =E2=82=AC</p>=',
  ' more',
  '',
];
const IMAGE = [
  'Content-Type: image/png; name="a picture.png"',
  'Content-Transfer-Encoding: base64',
  'Content-ID: <img1@example.org>',
  'Content-Disposition: inline; filename="a picture.png"; size=70',
  '',
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9',
  'awAAAABJRU5ErkJggg==',
  '',
];

function* ordinary(): Generator<[string, Buffer]> {
  yield ['plain', mail(...BASE, '', 'Hello.', 'Bye.', '')];
  yield ['html-only', mail(...BASE, ...HTML)];
  yield ['alternative', mail(...BASE, ...multipart('alternative', '=_alt', PLAIN, HTML))];
  yield [
    'mixed-related-alternative',
    mail(
      ...BASE,
      ...multipart('mixed', 'outer', multipart('related', 'rel', multipart('alternative', 'alt', PLAIN, HTML), IMAGE), [
        'Content-Type: application/pdf',
        'Content-Transfer-Encoding: base64',
        'Content-Disposition: attachment; filename*0="a very long na"; filename*1="me.pdf"',
        'Content-Description: the report',
        '',
        'JVBERi0xLjQK',
        '',
      ]),
    ),
  ];
  yield [
    'forwarded',
    mail(
      ...BASE,
      ...multipart('mixed', 'fwd', PLAIN, [
        'Content-Type: message/rfc822',
        'Content-Disposition: attachment; filename="mail.eml"',
        '',
        ...BASE.slice(2),
        ...multipart('alternative', 'inner', PLAIN, HTML),
      ]),
    ),
  ];
  yield [
    'forwarded-twice',
    mail(
      ...BASE,
      'Content-Type: message/rfc822',
      '',
      'Subject: middle',
      'From: m@example.org',
      'Content-Type: message/rfc822',
      '',
      'Subject: innermost',
      '',
      'text',
      '',
    ),
  ];
  yield [
    'digest',
    mail(
      ...BASE,
      ...multipart(
        'digest',
        'dig',
        ['', 'Subject: first', 'From: a@example.org', '', 'one', ''],
        ['Content-Type: message/rfc822', '', 'Subject: second', '', 'two', ''],
        ['Content-Type: text/plain', '', 'three', ''],
      ),
    ),
  ];
  yield [
    'report',
    mail(
      ...BASE,
      ...multipart(
        'report; report-type=delivery-status',
        'rep',
        PLAIN,
        ['Content-Type: message/delivery-status', '', 'Reporting-MTA: dns; x', '', 'Final-Recipient: rfc822; y', ''],
        ['Content-Type: text/rfc822-headers', '', 'Subject: gone', '', ''],
      ).map((line) =>
        line.replace('; boundary="rep"', '').replace('delivery-status"', 'delivery-status; boundary="rep"'),
      ),
    ),
  ];
  yield [
    'encoded-headers',
    mail(
      'Message-ID: <enc@example.org>',
      'Date: Wed, 3 Jan 2024 00:00:00 GMT',
      'From: =?utf-8?q?J=C3=B6rg?= =?utf-8?q?_M=C3=BCller?= <joerg@example.org>',
      'Subject: =?utf-8?b?4oKsIHVuZCA=?=',
      ' =?iso-8859-1?q?=FCber?= plain',
      'To: =?utf-8?q?Team?=: a@example.org, "B, b" <b@example.org>;, undisclosed-recipients:;',
      '',
      'x',
      '',
    ),
  ];
  yield [
    'signed',
    mail(
      ...BASE,
      'Content-Language: en, de-DE',
      'Content-Location: http://example.org/a b',
      'Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==',
      ...multipart('signed; micalg=pgp-sha256', 'sig', PLAIN, [
        'Content-Type: application/pgp-signature; name="signature.asc"',
        'Content-Language: fr',
        'Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==',
        'Content-Location: sig',
        '',
        '-----BEGIN PGP SIGNATURE-----',
        '-----END PGP SIGNATURE-----',
        '',
      ]),
    ),
  ];
}

function* odd(): Generator<[string, Buffer]> {
  const address = (to: string): Buffer => mail('From: a@example.org', `To: ${to}`, '', 'x', '');
  const type = (value: string): Buffer => mail('From: a@example.org', `Content-Type: ${value}`, '', 'x', '');
  const addresses: Readonly<Record<string, string>> = {
    group: 'Friends: a@b, "C" <c@d>;, e@f',
    'group-open': 'g: a@b, c',
    'group-nested': 'x:y:z@w;',
    'group-empty': 'g:',
    route: 'N <@r,@s:a@b>, M <@r a@b>',
    comments: '(c0) a@b (c1) (c\\)2), joe (Joe Q), N (c) <c@d>',
    quotes: '"Joe \\"Q\\" \\\\ X" <j@d>, "a b"@c, "only a name"',
    words: 'some words, a, b c, d@e',
    literal: 'x@[1.2.3.4], N <y@[ipv6:::1]>',
    dots: 'a..b@c, .a@b, a.@b, N. M. <n@m>',
    empty: '<>, N <>, , a@b,',
    broken: 'N <a@b, c@d',
    'broken-angle': 'N <a b@c>, d@e',
    'broken-tail': 'N <a@b> junk, c@d',
    unterminated: '"unterm <c@d>',
    'unterminated-comment': 'N <a@b> (c',
    'at-only': '@, joe@, @x, a@b@c',
    semicolons: 'a@b; c@d; e@f',
    spaces: 'N < a @ b . c >,  M   Q  <m@q>',
    eightbit: 'J\xf6rg <j@\xf6.example>, \xc3\xa9@\xc3\xbc.x',
    encoded: '=?x?q?a?= =?x?q?b?= <a@b>',
  };
  for (const [name, value] of Object.entries(addresses)) yield [`address-${name}`, address(value)];
  yield ['address-domain-dot', address('a@b.c., N <d@e.>')];
  yield ['address-dot-space', address('a . b@c')];
  const types: Readonly<Record<string, string>> = {
    'no-subtype': 'text',
    words: 'foo bar',
    empty: '',
    'half-quoted': 'text/plain; charset="unterminated',
    junk: 'text/plain junk; charset=x',
    'empty-subtype': 'image/',
    global: 'message/global',
    params: 'text/plain; x=a=b; y=/etc; name=?utf-8?q?x?=; q==?x?=;; z=1; w',
    rfc2231: "application/x; name*=utf-8''a%20b; t*1=r%; t*0*=utf-8''q; z*2=foo; b=\"q\\\"x\"; C*0=1; c*1=2",
    eightbit: 'text/plain; name="\xe9.txt"; charset=utf-8',
    comments: '(a) text (b) / (c) html (d) ; (e) charset (f) = (g) utf-8 (h)',
    case: 'TEXT/Plain; Charset=UTF-8; FORMAT=flowed',
    folded: 'text/plain;\r\n\tcharset=utf-8;\r\n name="a\r\n b"',
  };
  for (const [name, value] of Object.entries(types)) yield [`type-${name}`, type(value)];
  yield [
    'content-fields',
    mail(
      'Content-Type: text/plain',
      'Content-Type: text/html',
      'Content-Transfer-Encoding: 8BIT (c)',
      'Content-ID: <a"b>',
      'Content-Description: desc  tab\tx',
      ' folded',
      'Content-Disposition: attachment (c); filename="x;y"',
      'Content-Language: (c)',
      '',
      'x',
    ),
  ];
  yield ['content-bad', mail('Content-Transfer-Encoding: "base64"', 'Content-Disposition: ; x=y', '', 'x')];
  yield ['disposition-twice', mail('Content-Disposition: a', 'Content-Disposition: b; x=y', '', 'x')];
  yield [
    'fields-twice',
    mail('Subject: one', 'Subject: two', 'From: a@b', 'From: c@d', 'Date: d1', 'Date: d2', '', 'x', ''),
  ];
  yield ['fields-empty', mail('Subject:', 'From:', 'Sender: ', 'Reply-To:', 'To: a@b', 'Date:', 'Cc:', '', 'x', '')];
  yield [
    'fields-folded',
    mail('Subject: folded', ' subject', '\there  too  ', 'Message-ID: <a', ' @b>', 'In-Reply-To:', ' <c@d>', '', 'x'),
  ];
  yield [
    'fields-odd',
    mail('Subject : spaced', 'a line without colon', ':no name', 'From: a@b', ' ', 'X-Empty:', '', 'x', ''),
  ];
  yield ['fields-reply', mail('From: a@b', 'Reply-To: r@r', 'Sender: s@s', 'In-Reply-To: <x"y\\z>', '', 'x', '')];
  yield ['fields-trailing', mail('Subject: x \t', 'Date: d  ', 'Message-ID: <a@b>\t', '', 'x', '')];
  yield ['fields-cr', mail('Subject: a\rb', 'Date: d\re', 'To: a@b,\rc@d', '', 'x\ry', '')];
  yield ['subject-quotes', mail('Subject: "quoted" \\ text', 'From: a@b', '', 'x', '')];
  yield ['subject-eightbit', mail('Subject: \xc3\xa9t\xc3\xa9', 'Date: \xe9', '', '\xe9\xe9', '')];
  yield ['header-nul', mail('Subject: nul\0x', 'From: a\0b@c', 'X-Nul: \0', '', 'nul \0 in body', '')];
  yield ['no-blank-line', mail('From: a@b', 'Subject: no blank line', '')];
  yield ['no-line-end', mail('From: a@b', 'Subject: no line end')];
  yield ['no-header', mail('', 'only a body', '')];
  yield ['empty-body', mail(...BASE, '', '')];
  yield [
    'bare-lf',
    Buffer.from(
      mail(...BASE, ...multipart('mixed', 'lf', PLAIN, HTML))
        .toString('latin1')
        .replaceAll('\r', ''),
      'latin1',
    ),
  ];
  const typed = 'Content-Type: multipart/mixed; boundary=aa';
  const mixed = (...lines: string[]): Buffer => mail('Subject: m', typed, '', ...lines);
  yield ['boundary-none', mail('Content-Type: multipart/mixed', '', 'no boundary', '')];
  yield ['boundary-unused', mixed('no parts', '')];
  yield ['boundary-quoted-empty', mail('Content-Type: multipart/mixed; boundary=""', '', '--', '', 'x', '----', '')];
  yield ['boundary-preamble', mixed('preamble', '--aa', '', 'one', '--aa--', 'epilogue', '')];
  yield ['boundary-unclosed', mixed('--aa', '', 'one', '--aa', '', 'two', '')];
  yield ['boundary-after-close', mixed('--aa', '', 'one', '--aa--junk', '--aa', '', 'two', '')];
  yield ['boundary-padded', mixed('--aa  ', '', 'one', '--aa\t', '', 'two', '--aa--  ', '')];
  yield ['boundary-prefix', mixed('--aa', '', 'one', '--aax', '', 'two', '--aa--', '')];
  yield ['boundary-in-header', mixed('--aa', 'Content-Type: image/png', '--aa', '--aa', '', '--aa--', '')];
  yield ['boundary-in-root-header', mail(typed, '--aa', '', 'one', '--aa--', '')];
  yield ['boundary-last-line', mixed('--aa', '', 'one', '--aa')];
  yield ['boundary-close-last-line', mixed('--aa', '', 'one', '--aa--')];
  yield ['boundary-mid-line', mixed('--aa', '', 'x --aa', ' --aa', '-aa', '--a', '--aa--', '')];
  yield [
    'boundary-nested-prefix',
    mixed(
      '--aa',
      'Content-Type: multipart/alternative; boundary=aabb',
      '',
      '--aabb',
      '',
      'x',
      '--aabb',
      '',
      'y',
      '--aabb--',
      '--aa',
      '',
      'z',
      '--aa--',
      '',
    ),
  ];
  yield [
    'boundary-nested-longer-outer',
    mail(
      'Content-Type: multipart/mixed; boundary=aabb',
      '',
      '--aabb',
      typed,
      '',
      '--aa',
      '',
      'x',
      '--aabb',
      '',
      'y',
      '--aabb--',
      '',
    ),
  ];
  yield [
    'boundary-nested-same',
    mixed('--aa', typed, '', '--aa', '', 'x', '--aa--', '', 'between', '--aa', '', 'y', '--aa--', ''),
  ];
  yield [
    'boundary-dashes',
    mixed(
      '--aa',
      'Content-Type: multipart/mixed; boundary=aa--',
      '',
      '--aa--',
      '',
      'x',
      '--aa----',
      '--aa',
      '',
      'y',
      '--aa--',
      '',
    ),
  ];
  yield [
    'boundary-parent-ends-child',
    mixed(
      '--aa',
      'Content-Type: multipart/mixed; boundary=bb',
      '',
      '--bb',
      '',
      'q',
      '--aa',
      '',
      'last',
      '--bb',
      '',
      'w',
      '--aa--',
      '',
    ),
  ];
  yield ['message-empty', mixed('--aa', 'Content-Type: message/rfc822', '', '--aa', '', 'last', '--aa--', '')];
  yield ['message-no-blank', mixed('--aa', 'Content-Type: message/rfc822', '--aa', '', 'last', '--aa--', '')];
  yield ['message-cut', mail('Content-Type: message/rfc822', '', 'Subject: inner', 'X-Cut: yes')];
  yield [
    'message-base64',
    mail('Content-Type: message/rfc822', 'Content-Transfer-Encoding: base64', '', 'U3ViamVjdDogeA0KDQpoaQ0K', ''),
  ];
  yield [
    'message-with-parts',
    mixed(
      '--aa',
      'Content-Type: message/rfc822',
      '',
      'Subject: in',
      'Content-Type: multipart/mixed; boundary=bb',
      '',
      '--bb',
      '',
      'q',
      '--bb--',
      '',
      '--aa',
      '',
      'last',
      '--aa--',
      '',
    ),
  ];
}

function* hostile(): Generator<[string, Buffer]> {
  yield ['nested-99', nestedMultiparts(99)];
  yield ['nested-1000', nestedMultiparts(1000)];
  yield ['nested-messages-1000', mail(...Array<string[]>(1000).fill(['Content-Type: message/rfc822', '']).flat(), 'x')];
  yield ['parts-20000', manyParts(20_000)];
  yield [
    'addresses-100000',
    mail(`To: ${Array.from({ length: 100_000 }, (_, i) => `a${i}@b.example`).join(',\r\n ')}`, '', 'x'),
  ];
  yield ['long-line', mail(`Subject: ${'x'.repeat(3_000_000)}`, 'From: a@b', '', 'x')];
  yield ['many-fields', mail(...Array.from({ length: 50_000 }, (_, i) => `X-${i}: y`), 'From: a@b', '', 'x')];
  yield [
    'dashes',
    mail(
      'Content-Type: multipart/mixed; boundary=aaaa',
      '',
      ...Array<string>(100_000).fill('--aaa'),
      '--aaaa',
      '',
      'x',
    ),
  ];
}

/** `depth` multiparts, each the only part of the one above. */
export function nestedMultiparts(depth: number): Buffer {
  const lines: string[] = [];
  for (let i = 0; i < depth; i += 1) lines.push(`Content-Type: multipart/mixed; boundary=b${i}.`, '', `--b${i}.`);
  return mail(...lines, '', 'innermost', '');
}

export function manyParts(count: number): Buffer {
  const lines = ['Content-Type: multipart/mixed; boundary=aa', ''];
  for (let i = 0; i < count; i += 1) lines.push('--aa', '', String(i));
  return mail(...lines, '--aa--', '');
}

/**
 * Mail for the MIME tests, by name: ordinary, broken and hostile. All with CRLF line ends but the one that says so.
 * Texts are binary strings: one character per octet.
 */
export const CORPUS: ReadonlyMap<string, Buffer> = new Map([...ordinary(), ...odd(), ...hostile()]);
