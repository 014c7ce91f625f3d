import { timestampFromMs, type Timestamp } from '@bufbuild/protobuf/wkt';

/** Hours back from now. */
export const RANGES = ['1', '24', '168', '720'] as const;
export type Range = (typeof RANGES)[number];

const HOUR_MS = 3_600_000;

export function since(range: Range): Timestamp {
  return timestampFromMs(Date.now() - Number(range) * HOUR_MS);
}
