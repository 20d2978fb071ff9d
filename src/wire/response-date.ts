import { matches } from './response-scan.js';

/** Stands for no date; no date is before the year 0. */
export const NO_DATE = Number.NEGATIVE_INFINITY;

const SP = 32;
const DAY = 86_400;

/**
 * `"17-Jul-1996 02:44:25 -0700"` (RFC 9051 date-time) at its opening quote, as seconds since the Unix epoch; `NO_DATE`
 * for anything else.
 */
export function parseInternalDate(bytes: Buffer, at: number, end: number): number {
  if (end - at < 28 || bytes[at] !== 34 || bytes[at + 27] !== 34) return NO_DATE;
  const day = (bytes[at + 1] === SP ? 0 : digit(bytes, at + 1) * 10) + digit(bytes, at + 2);
  const month = monthAt(bytes, at + 4);
  const year = twoDigits(bytes, at + 8) * 100 + twoDigits(bytes, at + 10);
  const time = twoDigits(bytes, at + 13) * 3_600 + twoDigits(bytes, at + 16) * 60 + twoDigits(bytes, at + 19);
  const zone = twoDigits(bytes, at + 23) * 3_600 + twoDigits(bytes, at + 25) * 60;
  const sign = bytes[at + 22] === 45 ? 1 : -1;
  const seconds = daysSinceEpoch(year, month, day) * DAY + time + sign * zone;
  return Number.isNaN(seconds) ? NO_DATE : seconds;
}

function digit(bytes: Buffer, at: number): number {
  const value = bytes[at]! - 48;
  return value >= 0 && value <= 9 ? value : Number.NaN;
}

function twoDigits(bytes: Buffer, at: number): number {
  return digit(bytes, at) * 10 + digit(bytes, at + 1);
}

const MONTHS = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'];

/** 1 to 12. */
function monthAt(bytes: Buffer, at: number): number {
  for (let month = 0; month < 12; month += 1) if (matches(bytes, at, MONTHS[month]!)) return month + 1;
  return Number.NaN;
}

/** Days from 1970-01-01 in the proleptic Gregorian calendar; years are counted from March so that leap days end them. */
function daysSinceEpoch(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  return y * 365 + Math.floor(y / 4) - Math.floor(y / 100) + Math.floor(y / 400) + dayOfYear - 719_468;
}
