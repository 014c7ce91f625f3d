import { UsagePointSchema } from '$gen/bridge/admin/v1/stats_pb';
import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { expect, it } from 'vitest';
import { byHour, HOUR_MS, requestsOf } from './usage';

it('puts each point into its hour, and nothing outside', () => {
  const now = 100 * HOUR_MS + 1;
  const point = (hour: number, requests: bigint) => create(UsagePointSchema, { start: timestampFromMs(hour * HOUR_MS), sums: { requests } });
  const points = [point(97, 9n), point(98, 1n), point(100, 2n), point(100, 3n), point(101, 9n)];
  expect(byHour(points, requestsOf, 3, now)).toEqual([1, 0, 5]);
});
