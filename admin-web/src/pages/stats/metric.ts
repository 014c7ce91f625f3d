/** What a chart can show of a sum. */
import type { UsageSums } from '$gen/bridge/admin/v1/stats_pb';
import { compact, count } from '$lib/format';
import { tokensOf } from '$lib/usage';
import { durationMs, type Duration } from '@bufbuild/protobuf/wkt';

export const METRICS = ['requests', 'errors', 'tokens', 'cost', 'latency', 'firstToken'] as const;
export type Metric = (typeof METRICS)[number];

const MICROS = 1_000_000;

export function valueOf(metric: Metric, sums: UsageSums | undefined): number {
  if (sums === undefined) return 0;
  switch (metric) {
    case 'requests':
      return Number(sums.requests);
    case 'errors':
      return Number(sums.errors);
    case 'tokens':
      return Number(tokensOf(sums.tokens));
    case 'cost':
      return Number(sums.costMicros) / MICROS;
    case 'latency':
      return ms(sums.latency?.p50);
    case 'firstToken':
      return ms(sums.firstToken?.p50);
  }
}

export function show(metric: Metric, value: number): string {
  switch (metric) {
    case 'requests':
    case 'errors':
      return count(value);
    case 'tokens':
      return compact(value);
    case 'cost':
      return value.toFixed(value !== 0 && value < 1 ? 4 : 2);
    case 'latency':
    case 'firstToken':
      return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
  }
}

function ms(duration: Duration | undefined): number {
  return duration === undefined ? 0 : durationMs(duration);
}
