import type { Role } from '../mail/ids.js';
import type { SampleAccountId, SampleMail } from './sample-mail.js';

const HOUR = 60;
const DAY = 24 * HOUR;

/** The folders of the two servers, which call the same things by different names. */
export const SAMPLE_FOLDERS: Readonly<Record<SampleAccountId, Readonly<Record<string, Role | null>>>> = {
  work: {
    Drafts: 'drafts',
    'Sent Items': 'sent',
    'Deleted Items': 'trash',
    'Junk E-mail': 'junk',
    Archive: 'archive',
    'Projects/Slipway': null,
  },
  home: { Drafts: 'drafts', Sent: 'sent', Trash: 'trash', Spam: 'junk', 'All done': 'archive', Recipes: null },
};

/** What lies outside INBOX at the start. */
export const FOLDER_SAMPLES: readonly SampleMail[] = [
  {
    id: 'timetable-2',
    minutesAgo: 5 * DAY + 23 * HOUR,
    from: 'Alice Marsh <alice@work.example>',
    to: 'Ben Okafor <ben@work.example>',
    cc: 'Chiara Rossi <chiara@work.example>',
    subject: 'Re: Timetable for the summer season',
    replyTo: 'timetable-1',
    text: `Variant B. Nine o'clock on all of those days can be printed in one line, and nobody misses
a boat because of a footnote.

Alice`,
    places: [{ account: 'work', mailbox: 'Sent Items', flags: ['\\Seen'] }],
  },
  {
    id: 'seventy-2',
    minutesAgo: 2 * DAY + 20 * HOUR,
    from: 'Alice Marsh <alice@home.example>',
    to: 'Mira Marsh <mira@marsh.example>',
    subject: "Re: Dad's seventieth",
    replyTo: 'seventy-1',
    text: 'Boathouse, yes. No nuts since March, doctor said so, and he sulks about it.\n\nA.',
    places: [{ account: 'home', mailbox: 'Sent', flags: ['\\Seen'] }],
  },
  {
    id: 'invitations-draft',
    minutesAgo: 20 * HOUR,
    from: 'Alice Marsh <alice@home.example>',
    to: 'Uncle Pat <pat@marsh.example>',
    subject: 'You are invited',
    text: 'Dear Pat,\n\nin seven weeks Dad turns seventy, and',
    places: [{ account: 'home', mailbox: 'Drafts', flags: ['\\Seen', '\\Draft'] }],
  },
  {
    id: 'contract-2019',
    minutesAgo: 200 * DAY,
    from: 'Eva Lindqvist <eva@work.example>',
    to: 'Alice Marsh <alice@work.example>',
    subject: 'Your contract, countersigned',
    text: 'For your files. The signed original is in the grey cupboard.\n\nEva',
    places: [{ account: 'work', mailbox: 'Archive', flags: ['\\Seen'] }],
  },
  {
    id: 'boat-licence',
    minutesAgo: 340 * DAY,
    from: 'Harbour Authority <licences@harbour.example>',
    to: 'alice@home.example',
    subject: 'Your licence has been renewed',
    text: 'Your licence for small craft has been renewed for five years.',
    places: [{ account: 'home', mailbox: 'All done', flags: ['\\Seen'] }],
  },
  {
    id: 'prize-9931',
    minutesAgo: 11 * HOUR,
    from: '"PRIZE OFFICE" <winner@prize.example>',
    to: 'undisclosed-recipients:;',
    subject: 'CONGRATULATIONS your number was drawn!!!',
    text: 'Dear beneficiary, you must answer today or the sum goes to the next winner.',
    places: [
      { account: 'work', mailbox: 'Junk E-mail' },
      { account: 'home', mailbox: 'Spam' },
    ],
  },
  {
    id: 'parking',
    minutesAgo: 9 * DAY,
    from: 'Eva Lindqvist <eva@work.example>',
    to: 'all@work.example',
    subject: 'Car park closed on Monday',
    text: 'The car park is closed on Monday. Bicycles are fine.\n\nEva',
    places: [{ account: 'work', mailbox: 'Deleted Items', flags: ['\\Seen'] }],
  },
  {
    id: 'slipway-survey',
    minutesAgo: 12 * DAY,
    from: 'Depth & Daughters Survey <office@depth.example>',
    to: 'Alice Marsh <alice@work.example>',
    subject: 'Survey of the slipway, final report',
    text: `The concrete is sound above the mark. Below it, two joints need work before winter.

Invoice follows by post.`,
    places: [{ account: 'work', mailbox: 'Projects/Slipway', flags: ['\\Seen'] }],
  },
  {
    id: 'rye-bread',
    minutesAgo: 60 * DAY,
    from: 'Mira Marsh <mira@marsh.example>',
    to: 'Alice Marsh <alice@home.example>',
    subject: "Grandmother's rye bread",
    text: `500 g rye, 350 g water, 10 g salt, the starter from the blue jar. Two hours, then the whole
night in the cold. Do not open the oven, whatever it smells like.`,
    places: [{ account: 'home', mailbox: 'Recipes', flags: ['\\Seen', '\\Flagged'] }],
  },
];
