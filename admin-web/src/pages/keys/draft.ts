/** A key as a form holds it: texts, until the server has read them. */
import { LossPolicy } from '$gen/bridge/admin/v1/settings_pb';
import type { ApiKey } from '$gen/bridge/admin/v1/api_key_pb';
import { toLocalInput } from '$lib/format';
import { limitsDraftOf, type LimitsDraft } from '$lib/limits/draft';
import { timestampFromDate, type Timestamp } from '@bufbuild/protobuf/wkt';

export interface KeyDraft extends LimitsDraft {
  name: string;
  email: string;
  owner: string;
  expires: string;
  allowedModels: string[];
  allowedProviders: string[];
  loss: '0' | '1' | '2' | '3';
}

export function draftOf(key?: ApiKey): KeyDraft {
  return {
    name: key?.name ?? '',
    email: key?.email ?? '',
    owner: key?.ownerUserId ?? '',
    expires: toLocalInput(key?.expiresAt),
    allowedModels: [...(key?.allowedModels ?? [])],
    allowedProviders: [...(key?.allowedProviders ?? [])],
    loss: `${key?.lossPolicy ?? LossPolicy.UNSPECIFIED}`,
    ...limitsDraftOf(key?.limits),
  };
}

export function expiryOf({ expires }: KeyDraft): Timestamp | undefined {
  return expires === '' ? undefined : timestampFromDate(new Date(expires));
}

/** The policy is a number of the contract; forms keep it as its text. */
export function lossOf({ loss }: KeyDraft): LossPolicy {
  return Number(loss);
}
