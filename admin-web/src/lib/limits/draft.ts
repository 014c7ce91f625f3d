/** Limits as a form holds them: texts, until the server has read them. */
import { BudgetPeriod, BudgetSchema, KeyLimitsSchema, type Budget, type KeyLimits } from '$gen/bridge/fleet/v1/resource_pb';
import { create } from '@bufbuild/protobuf';

const MICROS = 1_000_000;

export interface BudgetDraft {
  period: '1' | '2' | '3';
  unit: 'tokens' | 'money';
  amount: string;
}

export interface LimitsDraft {
  requestsPerMinute: string;
  tokensPerMinute: string;
  concurrent: string;
  budgets: BudgetDraft[];
}

export function limitsDraftOf(limits: KeyLimits | undefined): LimitsDraft {
  return {
    requestsPerMinute: text(limits?.requestsPerMinute),
    tokensPerMinute: text(limits?.tokensPerMinute),
    concurrent: text(limits?.concurrentRequests),
    budgets: (limits?.budgets ?? []).map(budgetDraft),
  };
}

/** `undefined`: no limits at all. */
export function limitsOf(draft: LimitsDraft): KeyLimits | undefined {
  const limits = create(KeyLimitsSchema, { budgets: draft.budgets.filter((it) => filled(it.amount)).map(budgetOf) });
  if (filled(draft.requestsPerMinute)) limits.requestsPerMinute = whole(draft.requestsPerMinute);
  if (filled(draft.tokensPerMinute)) limits.tokensPerMinute = BigInt(whole(draft.tokensPerMinute));
  if (filled(draft.concurrent)) limits.concurrentRequests = whole(draft.concurrent);
  const isEmpty = limits.budgets.length === 0 && limits.requestsPerMinute === undefined && limits.tokensPerMinute === undefined && limits.concurrentRequests === undefined;
  return isEmpty ? undefined : limits;
}

function budgetDraft({ period, amount }: Budget): BudgetDraft {
  const known = period === BudgetPeriod.DAY ? '1' : period === BudgetPeriod.WEEK ? '2' : '3';
  if (amount.case === 'costMicros') return { period: known, unit: 'money', amount: `${Number(amount.value) / MICROS}` };
  return { period: known, unit: 'tokens', amount: text(amount.value) };
}

function budgetOf({ period, unit, amount }: BudgetDraft): Budget {
  return create(BudgetSchema, {
    period: Number(period),
    amount: unit === 'money' ? { case: 'costMicros', value: BigInt(Math.round(Number(amount) * MICROS)) } : { case: 'tokens', value: BigInt(whole(amount)) },
  });
}

function text(value: number | bigint | undefined): string {
  return value === undefined ? '' : `${value}`;
}

/** Number inputs give numbers, empty ones nothing. */
function filled(value: string | number | null | undefined): boolean {
  return value !== undefined && value !== null && `${value}`.trim() !== '';
}

function whole(value: string): number {
  return Math.max(0, Math.round(Number(value)));
}
