import type { SampleMail, SamplePlace } from './sample-mail.js';

const HOUR = 60;
const DAY = 24 * HOUR;

const work = (...flags: string[]): SamplePlace => ({ account: 'work', mailbox: 'INBOX', flags });
const home = (...flags: string[]): SamplePlace => ({ account: 'home', mailbox: 'INBOX', flags });

const ALICE_AT_WORK = 'Alice Marsh <alice@work.example>';
const ALICE_AT_HOME = 'Alice Marsh <alice@home.example>';

/** What arrived at the work account only. */
const AT_WORK: readonly SampleMail[] = [
  {
    id: 'timetable-1',
    minutesAgo: 6 * DAY + 2 * HOUR + 14,
    from: 'Ben Okafor <ben@work.example>',
    to: ALICE_AT_WORK,
    cc: 'Chiara Rossi <chiara@work.example>',
    subject: 'Timetable for the summer season',
    text: `Hi Alice,

the harbour office gave us the tides for June to September. The 07:40 crossing will not work on
eleven days: at low water we cannot pass the bar before 08:15.

Could you look at the attached table and say which of the two variants you would print?

Ben`,
    attachments: [
      {
        filename: 'low-water-days.csv',
        contentType: 'text/csv',
        content: `day,low water,earliest passage,variant A,variant B
12 June,06:31,08:15,08:20,09:00
13 June,07:12,08:50,09:00,09:00
27 June,06:58,08:40,08:45,09:00
11 July,06:20,08:05,08:20,09:00
12 July,07:03,08:45,09:00,09:00
26 July,06:44,08:25,08:45,09:00
`,
      },
    ],
    places: [work('\\Seen', '\\Answered')],
  },
  {
    id: 'timetable-3',
    minutesAgo: 5 * DAY + 20 * HOUR + 41,
    from: 'Chiara Rossi <chiara@work.example>',
    to: ALICE_AT_WORK,
    cc: 'Ben Okafor <ben@work.example>',
    subject: 'Re: Timetable for the summer season',
    replyTo: 'timetable-2',
    text: `Variant B it is, then. I will ask the printer for a proof.

One question: do we still need the small map on the back? Nobody on the boat has ever looked at it.

Chiara`,
    places: [work('\\Seen')],
  },
  {
    id: 'timetable-4',
    minutesAgo: 3 * HOUR + 12,
    from: 'Ben Okafor <ben@work.example>',
    to: ALICE_AT_WORK,
    cc: 'Chiara Rossi <chiara@work.example>',
    subject: 'Re: Timetable for the summer season',
    replyTo: 'timetable-3',
    text: `Keep the map. The skippers hand it to people who ask where the bakery is.

The proof came in this morning and looks fine to me. If I hear nothing by tomorrow noon, it goes
to print.

Ben`,
    places: [work()],
  },
  {
    id: 'invitation-slipway',
    minutesAgo: 2 * DAY + 5 * HOUR + 27,
    from: 'Chiara Rossi <chiara@work.example>',
    to: ALICE_AT_WORK,
    subject: 'Invitation: walk over the slipway',
    text: 'We meet at the north gate at nine. Bring boots; the lower third is wet at any hour.',
    invitation: [
      'BEGIN:VCALENDAR',
      'VERSION:2.0',
      'PRODID:-//sample//mail//EN',
      'METHOD:REQUEST',
      'BEGIN:VEVENT',
      'UID:slipway-walk@work.example',
      'DTSTAMP:20250102T080000Z',
      'DTSTART:20300514T070000Z',
      'DTEND:20300514T083000Z',
      'SUMMARY:Walk over the slipway',
      'LOCATION:North gate',
      'ORGANIZER;CN=Chiara Rossi:mailto:chiara@work.example',
      'ATTENDEE;CN=Alice Marsh;RSVP=TRUE:mailto:alice@work.example',
      'END:VEVENT',
      'END:VCALENDAR',
      '',
    ].join('\r\n'),
    places: [work('\\Seen')],
  },
  {
    id: 'uebergabe',
    minutesAgo: 28 * HOUR + 52,
    from: 'Jürgen Groß <gross@werft.example>',
    to: ALICE_AT_WORK,
    subject: 'Übergabe der Pläne: Größe der Spanten',
    // An older program's way: ISO 8859-1 and quoted-printable, folded between two encoded words (RFC 2047 §2).
    rawSubject: '=?iso-8859-1?Q?=DCbergabe_der_Pl=E4ne=3A_Gr=F6=DFe?=\r\n =?iso-8859-1?Q?_der_Spanten?=',
    text: `Guten Tag Frau Marsh,

die geänderten Pläne liegen im Büro für Sie bereit. Bei den Spanten 14 bis 22 hat sich die Größe
um vier Millimeter geändert; das Übrige bleibt, wie es war.

Mit freundlichen Grüßen
Jürgen Groß`,
    places: [work()],
  },
  {
    id: 'holiday-calendar',
    minutesAgo: 4 * DAY + 3 * HOUR + 36,
    from: '"Lindqvist, Eva (Office)" <eva@work.example>',
    to: 'Everyone <all@work.example>',
    subject: 'Please enter your holidays by Friday',
    text: `Dear all,

please enter your summer holidays in the calendar by Friday. Two skippers must be there on every
day of July.

Thank you,
Eva`,
    html: `<p>Dear all,</p>
<p>please enter your <b>summer holidays</b> in the calendar by <b>Friday</b>. Two skippers must be
there on every day of July.</p>
<p>Thank you,<br>Eva</p>`,
    places: [work('\\Seen', '\\Flagged')],
  },
  {
    id: 'backup-report',
    minutesAgo: 9 * HOUR + 2,
    from: 'backup@files.work.example',
    to: 'alice@work.example',
    subject: '[files] backup finished, 0 errors, 1 warning',
    text: `job       nightly
started   02:00:01
finished  02:41:17
copied    1,204 files, 3.1 GiB
errors    0
warnings  1: /archive/2009 has not changed for five years; consider moving it to tape`,
    fields: { 'Auto-Submitted': 'auto-generated', Precedence: 'bulk' },
    places: [work()],
  },
];

/** What arrived at the home account only. */
const AT_HOME: readonly SampleMail[] = [
  {
    id: 'seventy-1',
    minutesAgo: 3 * DAY + 1 * HOUR + 8,
    from: 'Mira Marsh <mira@marsh.example>',
    to: ALICE_AT_HOME,
    subject: "Dad's seventieth",
    text: `Alice!

Seven weeks to go and we have neither a place nor a cake. I could ask at the boathouse, they take
forty people and do not mind Uncle Pat singing.

Do you know whether Dad still eats nuts?

M.`,
    places: [home('\\Seen', '\\Answered')],
  },
  {
    id: 'seventy-3',
    minutesAgo: 2 * DAY + 7 * HOUR + 33,
    from: 'Mira Marsh <mira@marsh.example>',
    to: ALICE_AT_HOME,
    subject: "Re: Dad's seventieth",
    replyTo: 'seventy-2',
    text: `The boathouse is ours, from four o'clock. No nuts, noted.

You do the invitations, I do the cake, and neither of us tells Mum what it costs.

M.`,
    places: [home()],
  },
  {
    id: 'slow-kitchen-118',
    minutesAgo: 26 * HOUR + 19,
    from: 'The Slow Kitchen <letter@slowkitchen.example>',
    to: 'alice@home.example',
    subject: 'Letter 118: what to do with too much rhubarb',
    text: `THE SLOW KITCHEN, LETTER 118

It is that week again: rhubarb on every doorstep. Three things that are better than crumble:

1. Roast it with orange peel and nothing else.
2. Cook it down with ginger until it stands up by itself.
3. Put it in vinegar and forget it until August.

You get this letter because you asked for it. To leave: https://slowkitchen.example/leave`,
    html: `<html><body style="font-family: serif; max-width: 36em">
<h1>The Slow Kitchen</h1><p><i>Letter 118</i></p>
<p>It is that week again: rhubarb on every doorstep. Three things that are better than crumble:</p>
<ol><li>Roast it with orange peel and nothing else.</li>
<li>Cook it down with ginger until it stands up by itself.</li>
<li>Put it in vinegar and forget it until August.</li></ol>
<p><small>You get this letter because you asked for it.
<a href="https://slowkitchen.example/leave">Leave</a></small></p></body></html>`,
    fields: {
      'List-Id': 'The Slow Kitchen <letter.slowkitchen.example>',
      'List-Unsubscribe': '<https://slowkitchen.example/leave>, <mailto:leave@slowkitchen.example>',
      'List-Unsubscribe-Post': 'List-Unsubscribe=One-Click',
      Precedence: 'bulk',
    },
    places: [home()],
  },
  {
    id: 'kyoto',
    minutesAgo: 5 * DAY + 3 * HOUR + 57,
    from: '田中 花子 <hanako@tanaka.example>',
    to: ALICE_AT_HOME,
    subject: '京都の桜 – the pictures you asked for',
    rawSubject: '=?UTF-8?B?5Lqs6YO944Gu5qGc?= =?UTF-8?Q?_=E2=80=93?= the pictures you asked for',
    text: `アリスさん、

桜の写真です。 The best evening was the second one, at the canal: you can see the lanterns in the
water if you look at the left edge.

花子`,
    attachments: [
      {
        filename: 'canal-at-night.svg',
        contentType: 'image/svg+xml',
        content: `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 160 100">
  <rect width="160" height="60" fill="#1b2340"/><rect y="60" width="160" height="40" fill="#11182e"/>
  <g fill="#ffc9d6"><circle cx="30" cy="28" r="14"/><circle cx="50" cy="22" r="12"/><circle cx="120" cy="26" r="16"/></g>
  <g fill="#ffb347"><rect x="18" y="44" width="5" height="8"/><rect x="18" y="68" width="5" height="8" opacity=".5"/></g>
</svg>
`,
      },
    ],
    places: [home('\\Seen')],
  },
  {
    id: 'library-due',
    minutesAgo: 14 * HOUR + 45,
    from: 'Town Library <loans@library.example>',
    to: 'alice@home.example',
    subject: 'Two books are due in three days',
    text: `Dear reader 40213,

these are due in three days:

  The Pilot's Handbook of Tidal Waters
  Bread Without Hurry

You can extend both once.`,
    places: [home()],
  },
  {
    id: 'choir-rehearsal',
    minutesAgo: 50,
    from: 'Tomasz Wójcik <tomasz@choir.example>',
    to: 'choir@choir.example',
    subject: '[choir] Rehearsal moved to the small hall',
    text: `All,

the big hall has no heating this week. We sing in the small one, same time. Altos please bring the
Duruflé.

Tomasz

-- 
choir@choir.example`,
    fields: { 'List-Id': '<choir.choir.example>', 'List-Post': '<mailto:choir@choir.example>' },
    places: [home()],
  },
];

/** What arrived in both accounts: each is one mail in the merged INBOX. */
const IN_BOTH: readonly SampleMail[] = [
  {
    id: 'saturday-train',
    minutesAgo: 95,
    from: 'Mira Marsh <mira@marsh.example>',
    to: 'Alice Marsh <alice@work.example>, Alice Marsh <alice@home.example>',
    subject: 'Saturday: which train?',
    text: `I never know which of your addresses you read, so here it is at both.

The 10:12 or the 11:12? I have to tell Jo by tonight.

M.`,
    places: [work(), home()],
  },
  {
    id: 'dentist',
    minutesAgo: 30 * HOUR + 22,
    from: 'Dr. Amara Diallo, Dentist <practice@diallo.example>',
    to: 'alice@work.example',
    cc: 'alice@home.example',
    subject: 'Your appointment next Tuesday, 8:20',
    text: `This is to remind you of your appointment next Tuesday at 8:20.

If you cannot come, please call us the day before.`,
    // Read at work, new at home: the merged INBOX shows it read, and soon the home server does too.
    places: [work('\\Seen'), home()],
  },
  {
    id: 'energy-agenda',
    minutesAgo: 7 * DAY + 4 * HOUR + 11,
    from: 'Harbour Energy Cooperative <board@energy.example>',
    to: 'Members: alice@work.example, alice@home.example, ben@work.example;',
    subject: 'Agenda of the yearly meeting',
    text: `Dear members,

the agenda is attached. The vote on the second roof comes right after the accounts, so please be on
time.

The board`,
    attachments: [
      {
        filename: 'agenda.txt',
        contentType: 'text/plain',
        content: `1. Accounts of the past year
2. Vote: panels on the roof of the net store
3. Election of two auditors
4. Soup
`,
      },
    ],
    places: [work('\\Seen'), home('\\Seen')],
  },
  {
    id: 'pat-retires',
    minutesAgo: 8 * HOUR + 38,
    from: 'Ben Okafor <ben@okafor.example>',
    to: 'alice@home.example, alice@work.example',
    subject: 'Pat retires: who brings what?',
    text: `Private address, so that Pat does not see it on the office screen.

So far: Chiara brings the bread, Eva the speech, I bring the boat. Alice, could you do salad?

Ben`,
    places: [work(), home('\\Flagged')],
  },
];

export const INBOX_SAMPLES: readonly SampleMail[] = [...AT_WORK, ...AT_HOME, ...IN_BOTH];
