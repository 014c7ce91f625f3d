import { BadRequestSchema, ErrorInfoSchema } from '$gen/google/rpc/error_details_pb';
import { Code, ConnectError } from '@connectrpc/connect';
import { t } from '$lib/i18n/index.svelte';

/** What the server says is wrong, by the name of the field as the contract writes it. */
export type Violations = Readonly<Record<string, string>>;

export function violationsOf(error: unknown): Violations {
  const found: Record<string, string> = {};
  for (const detail of ConnectError.from(error).findDetails(BadRequestSchema)) {
    for (const { field, description } of detail.fieldViolations) {
      found[field] = found[field] ? `${found[field]}; ${description}` : description;
    }
  }
  return found;
}

/** Why a caller was refused, as a word: `PASSWORD_CHANGE_REQUIRED`, `ROLE_REFUSED` … */
export function reasonOf(error: unknown): string {
  return ConnectError.from(error).findDetails(ErrorInfoSchema)[0]?.reason ?? '';
}

export function codeOf(error: unknown): Code {
  return ConnectError.from(error).code;
}

export function isUnimplemented(error: unknown): boolean {
  return codeOf(error) === Code.Unimplemented;
}

/** A sentence for people: ours where we know more than the server, otherwise its own. */
export function explain(error: unknown): string {
  const it = ConnectError.from(error);
  const texts = t().errors;
  switch (it.code) {
    case Code.Unavailable:
    case Code.Unknown:
      return texts.unreachable;
    case Code.DeadlineExceeded:
      return texts.tooSlow;
    case Code.Aborted:
      return texts.conflict;
    case Code.PermissionDenied:
      return texts.forbidden;
    case Code.Unimplemented:
      return texts.notOffered;
    case Code.Unauthenticated:
      return reasonOf(error) === '' ? it.rawMessage : texts.signedOut;
    case Code.InvalidArgument: {
      const violations = Object.entries(violationsOf(error));
      if (violations.length === 0) return it.rawMessage;
      return violations.map(([field, text]) => (field ? `${field}: ${text}` : text)).join(' · ');
    }
    default:
      return it.rawMessage;
  }
}
