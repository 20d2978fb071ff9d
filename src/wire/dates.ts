const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'] as const;
const MONTH_BY_LOWER = new Map<string, number>(MONTHS.map((name, index) => [name.toLowerCase(), index]));

/**
 * `date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE` without the quotes
 * (RFC 9051 §9), in seconds since the Unix epoch; null when it is none. A day of one digit is let through.
 */
export function parseDateTime(text: string): number | null {
  const match = /^ ?(\d{1,2})-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)$/.exec(text);
  if (match === null) return null;
  const day = dayStart(match[1]!, match[2]!, match[3]!);
  const [hour, minute, second, zoneHour, zoneMinute] = [match[4], match[5], match[6], match[8], match[9]].map(
    Number,
  ) as [number, number, number, number, number];
  // 60 is a leap second.
  if (day === null || hour > 23 || minute > 59 || second > 60 || zoneMinute > 59) return null;
  const offset = (zoneHour * 60 + zoneMinute) * 60 * (match[7] === '-' ? -1 : 1);
  return day + hour * 3_600 + minute * 60 + second - offset;
}

/**
 * `date-text = date-day "-" date-month "-" date-year` (RFC 9051 §9) as midnight UTC in seconds since the Unix epoch;
 * null when it is none.
 */
export function parseDate(text: string): number | null {
  const match = /^(\d{1,2})-([A-Za-z]{3})-(\d{4})$/.exec(text);
  return match === null ? null : dayStart(match[1]!, match[2]!, match[3]!);
}

function dayStart(day: string, month: string, year: string): number | null {
  const monthIndex = MONTH_BY_LOWER.get(month.toLowerCase());
  if (monthIndex === undefined) return null;
  const date = new Date(0);
  // Not Date.UTC: it takes the years 0 to 99 for 1900 to 1999.
  date.setUTCFullYear(Number(year), monthIndex, Number(day));
  return date.getUTCDate() === Number(day) && date.getUTCMonth() === monthIndex ? date.getTime() / 1_000 : null;
}

/**
 * INTERNALDATE in a response, quotes included: `"17-Jul-1996 02:44:25 +0000"`. `seconds` count from the Unix epoch;
 * fractions are cut, and years stay within 0 to 9999, all that the grammar can say.
 */
export function formatDateTime(seconds: number): string {
  const date = new Date(Math.min(Math.max(Math.floor(seconds), -62_167_219_200), 253_402_300_799) * 1_000);
  const day = String(date.getUTCDate()).padStart(2, ' ');
  const year = String(date.getUTCFullYear()).padStart(4, '0');
  return `"${day}-${MONTHS[date.getUTCMonth()]!}-${year} ${date.toISOString().slice(-13, -5)} +0000"`;
}
