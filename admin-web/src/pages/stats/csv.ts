/** Tables for spreadsheets. */
import type { RequestRecord, UsageSeries } from '$gen/bridge/admin/v1/stats_pb';
import { t } from '$lib/i18n/index.svelte';
import { durationMs, timestampDate } from '@bufbuild/protobuf/wkt';
import { toast } from 'svelte-sonner';

type Cell = string | number | bigint | undefined;

export function usageRows(series: readonly UsageSeries[]): Cell[][] {
  const rows: Cell[][] = [['group', 'start', 'requests', 'errors', 'input', 'output', 'cache_read', 'cache_creation', 'cost_micros']];
  for (const { group, displayName, points } of series) {
    for (const { start, sums } of points) {
      const tokens = sums?.tokens;
      rows.push([displayName || group, start && timestampDate(start).toISOString(), sums?.requests, sums?.errors, tokens?.input, tokens?.output, tokens?.cacheRead, tokens?.cacheCreation, sums?.costMicros]);
    }
  }
  return rows;
}

export function requestRows(requests: readonly RequestRecord[]): Cell[][] {
  const rows: Cell[][] = [['request_id', 'started_at', 'key', 'model', 'status', 'error_type', 'input', 'output', 'latency_ms', 'first_token_ms', 'node', 'cost_micros']];
  for (const { entry, keyName, nodeId, costMicros } of requests) {
    if (entry === undefined) continue;
    const { startedAt, latency, firstToken, tokens } = entry;
    rows.push([entry.requestId, startedAt && timestampDate(startedAt).toISOString(), keyName, entry.model, entry.httpStatus, entry.errorType, tokens?.input, tokens?.output, latency && durationMs(latency), firstToken && durationMs(firstToken), nodeId, costMicros]);
  }
  return rows;
}

export function toCsv(rows: readonly Cell[][]): string {
  return rows.map((row) => row.map(quoted).join(',')).join('\r\n') + '\r\n';
}

export function download(name: string, rows: readonly Cell[][]): void {
  const url = URL.createObjectURL(new Blob([toCsv(rows)], { type: 'text/csv' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  URL.revokeObjectURL(url);
  toast.success(t().stats.exported(name));
}

function quoted(cell: Cell): string {
  const text = cell === undefined ? '' : `${cell}`;
  // A spreadsheet would run what begins like a formula, and names come from clients.
  const safe = typeof cell === 'string' && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
