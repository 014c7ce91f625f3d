/** Times, amounts and sizes as people read them, in their language. */
import { language, t } from '$lib/i18n/index.svelte';
import { durationMs, timestampDate, type Duration, type Timestamp } from '@bufbuild/protobuf/wkt';

const MINUTE_S = 60;
const HOUR_S = 3600;
const DAY_S = 86_400;
/** The time that pages show is late by up to this; what just happened is not to come. */
const LATE_S = 15;

export function dateTime(at: Timestamp | undefined): string {
  if (at === undefined) return '–';
  return new Intl.DateTimeFormat(language.current, { dateStyle: 'medium', timeStyle: 'medium' }).format(timestampDate(at));
}

export function ago(at: Timestamp | undefined, nowMs: number): string {
  if (at === undefined) return t().common.never;
  const ahead = Math.round((timestampDate(at).getTime() - nowMs) / 1000);
  const seconds = ahead > 0 && ahead <= LATE_S ? 0 : ahead;
  const format = new Intl.RelativeTimeFormat(language.current, { numeric: 'auto' });
  const size = Math.abs(seconds);
  if (size < MINUTE_S) return format.format(seconds, 'second');
  if (size < HOUR_S) return format.format(Math.round(seconds / MINUTE_S), 'minute');
  if (size < DAY_S) return format.format(Math.round(seconds / HOUR_S), 'hour');
  return format.format(Math.round(seconds / DAY_S), 'day');
}

export function milliseconds(duration: Duration | undefined): string {
  if (duration === undefined) return '–';
  const ms = durationMs(duration);
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
}

export function count(value: bigint | number): string {
  return new Intl.NumberFormat(language.current).format(value);
}

export function compact(value: bigint | number): string {
  return new Intl.NumberFormat(language.current, { notation: 'compact', maximumFractionDigits: 1 }).format(value);
}

export function money(micros: bigint | undefined, currency: string): string {
  if (micros === undefined) return '–';
  const amount = Number(micros) / 1e6;
  const digits = amount !== 0 && amount < 1 ? 4 : 2;
  const number = new Intl.NumberFormat(language.current, { minimumFractionDigits: 2, maximumFractionDigits: digits }).format(amount);
  return currency ? `${number} ${currency}` : number;
}

export function percent(part: bigint | number, whole: bigint | number): string {
  const share = Number(whole) === 0 ? 0 : Number(part) / Number(whole);
  return new Intl.NumberFormat(language.current, { style: 'percent', maximumFractionDigits: 1 }).format(share);
}

/** Days, hours, minutes: the two largest that count. */
export function span(seconds: number): string {
  const units: [number, string][] = [[DAY_S, 'day'], [HOUR_S, 'hour'], [MINUTE_S, 'minute'], [1, 'second']];
  const parts: string[] = [];
  let rest = Math.max(0, Math.floor(seconds));
  for (const [size, unit] of units) {
    const number = Math.floor(rest / size);
    rest -= number * size;
    if (number > 0 || (size === 1 && parts.length === 0)) {
      parts.push(new Intl.NumberFormat(language.current, { style: 'unit', unit, unitDisplay: 'narrow' }).format(number));
    }
    if (parts.length === 2) break;
  }
  return parts.join(' ');
}

/** For `<input type="datetime-local">`: local time without a zone. */
export function toLocalInput(at: Timestamp | undefined): string {
  if (at === undefined) return '';
  const date = timestampDate(at);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
