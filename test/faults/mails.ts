export interface TemplateMail {
  /** Its Message-ID without brackets and domain; 'none…' has none. */
  readonly id: string;
  readonly at: 'work' | 'home' | 'both';
  /** Default INBOX. */
  readonly folder?: string;
  readonly flags?: string;
  /** INTERNALDATE. */
  readonly date: string;
  /** Octets of its body. */
  readonly size?: number;
}

const day = (n: number): string => `${String(n).padStart(2, '0')}-Mar-2026 10:00:00 +0000`;

/** What both servers hold before each case. */
export const TEMPLATE: readonly TemplateMail[] = [
  { id: 'both1', at: 'both', date: day(1) },
  { id: 'both2', at: 'both', date: day(2), flags: '\\Seen' },
  { id: 'both3', at: 'both', date: day(3) },
  { id: 'both4', at: 'both', date: day(4) },
  { id: 'work1', at: 'work', date: day(5) },
  { id: 'work2', at: 'work', date: day(6), flags: '\\Flagged $Label1' },
  { id: 'none1', at: 'work', date: day(7) },
  { id: 'home1', at: 'home', date: day(8) },
  { id: 'home2', at: 'home', date: day(9) },
  // Another client of that server marked it and did not expunge.
  { id: 'marked', at: 'home', date: day(10), flags: '\\Deleted' },
  { id: 'large', at: 'work', folder: 'Archive', date: day(11), size: 1_500_000 },
  { id: 'junk1', at: 'work', folder: 'Junk', date: day(12) },
  { id: 'junk2', at: 'work', folder: 'Junk', date: day(13) },
  { id: 'plan', at: 'home', folder: 'Plans', date: day(14) },
];

/** The mail as the server `at` received it: copies differ in what the way to there wrote. */
export function mailText({ id, size = 300 }: Pick<TemplateMail, 'id' | 'size'>, at: string): string {
  const lines = [
    `Received: from relay.example by mx.${at}.example; Sun, 1 Mar 2026 10:00:00 +0000`,
    'From: Bob <bob@sender.example>',
    'To: alice@work.example',
    `Subject: about ${id}`,
    'Date: Sun, 1 Mar 2026 09:59:00 +0000',
    ...(id.startsWith('none') ? [] : [`Message-ID: <${id}@test.example>`]),
    '',
    ...Array.from({ length: Math.ceil(size / 62) }, (_, n) => `${id} ${n} ${'.'.repeat(60)}`.slice(0, 60)),
  ];
  return `${lines.join('\r\n')}\r\n`;
}
