/** Sums of the statistics as charts want them. */
import type { UsagePoint, UsageSeries } from '$gen/bridge/admin/v1/stats_pb';
import type { TokenCounts } from '$gen/bridge/fleet/v1/usage_pb';
import { timestampMs } from '@bufbuild/protobuf/wkt';

export const HOUR_MS = 3_600_000;

/** One value for each hour up to `nowMs`, zero where nothing happened. */
export function byHour(points: readonly UsagePoint[], value: (point: UsagePoint) => number, hours: number, nowMs: number): number[] {
  const values = new Array<number>(hours).fill(0);
  const first = Math.floor(nowMs / HOUR_MS) - hours + 1;
  for (const point of points) {
    if (point.start === undefined) continue;
    const hour = Math.floor(timestampMs(point.start) / HOUR_MS) - first;
    if (hour >= 0 && hour < hours) values[hour] = (values[hour] ?? 0) + value(point);
  }
  return values;
}

export function requestsOf(point: UsagePoint): number {
  return Number(point.sums?.requests ?? 0n);
}

export function tokensOf(counts: TokenCounts | undefined): bigint {
  if (counts === undefined) return 0n;
  return counts.input + counts.output + counts.cacheRead + counts.cacheCreation;
}

export function groupName({ group, displayName }: UsageSeries, otherwise: string): string {
  return displayName || group || otherwise;
}
