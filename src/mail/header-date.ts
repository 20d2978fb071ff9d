/** A Date field: the instant, in seconds since the Unix epoch, and the sender's offset from UTC in minutes. */
export interface MessageDate {
  readonly instant: number;
  readonly offset: number;
}

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];

/** RFC 5322 §4.3, in hours; military letters and unknown names count as UTC there. */
const ZONES: Readonly<Record<string, number>> = {
  est: -5,
  edt: -4,
  cst: -6,
  cdt: -5,
  mst: -7,
  mdt: -6,
  pst: -8,
  pdt: -7,
};

/** `[day-name ","] day month year hour ":" minute [":" second] [zone]` (RFC 5322 §3.3 and §4.3), bounded throughout. */
const DATE =
  /^\s{0,20}(?:[a-z]{2,9}\s{0,20},?\s{1,20}|[a-z]{2,9},)?(\d{1,2})[\s-]{1,20}([a-z]{3,9})[\s-]{1,20}(\d{2,4})\s{1,20}(\d{1,2})\s?[:.]\s?(\d{2})(?:\s?[:.]\s?(\d{2}))?\s{0,20}([+-]\d{4}|[a-z]{1,5})?/i;

/** Reads an unfolded Date field; null when it is none. */
export function parseMessageDate(value: string): MessageDate | null {
  const match = DATE.exec(value);
  if (match === null) return null;
  const [, day, name = '', digits = '', hour, minute, second = '0', zone = ''] = match;
  const month = MONTHS.indexOf(name.slice(0, 3).toLowerCase());
  const year = fullYear(digits);
  const offset = zoneOffset(zone);
  if (month < 0 || Number(hour) > 23 || Number(minute) > 59 || Number(second) > 60) return null;
  const midnight = Date.UTC(year, month, Number(day));
  // Date.UTC carries a 31st of February over into March.
  if (new Date(midnight).getUTCDate() !== Number(day)) return null;
  const local = midnight / 1000 + Number(hour) * 3600 + Number(minute) * 60 + Number(second);
  return { instant: local - offset * 60, offset };
}

/** RFC 5322 §4.3: two digits below 50 are this century, other short years count from 1900. */
function fullYear(digits: string): number {
  const year = Number(digits);
  if (digits.length === 2) return year < 50 ? 2000 + year : 1900 + year;
  return digits.length === 3 ? 1900 + year : year;
}

function zoneOffset(zone: string): number {
  if (/^[+-]/.test(zone)) {
    const minutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(3, 5));
    return zone.startsWith('-') ? -minutes : minutes;
  }
  return (ZONES[zone.toLowerCase()] ?? 0) * 60;
}
