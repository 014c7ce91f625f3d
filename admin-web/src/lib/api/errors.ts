import { BadRequestSchema, ErrorInfoSchema } from '$gen/google/rpc/error_details_pb';
import { Code, ConnectError } from '@connectrpc/connect';
import { t } from '$lib/i18n/index.svelte';
import { fieldName } from './fields';

/** What the server says is wrong, by the name of the field as the contract writes it. */
export type Violations = Readonly<Record<string, string>>;

/** What went wrong, for people. */
export interface Told {
  text: string;
  /** The server's own words, where there are none in the reader's language. */
  words?: string;
}

/** In the reader's language, as far as it is there. */
export function violationsOf(error: unknown): Violations {
  const found: Record<string, string> = {};
  for (const detail of ConnectError.from(error).findDetails(BadRequestSchema)) {
    for (const { field, description } of detail.fieldViolations) {
      const text = t().said(description) ?? description;
      found[field] = found[field] ? `${found[field]}; ${text}` : text;
    }
  }
  return found;
}

/** Why a caller was refused, as a word: `PASSWORD_CHANGE_REQUIRED`, `ROLE_REFUSED` … Empty: not by the control plane. */
export function reasonOf(error: unknown): string {
  return ConnectError.from(error).findDetails(ErrorInfoSchema)[0]?.reason ?? '';
}

export function codeOf(error: unknown): Code {
  return ConnectError.from(error).code;
}

export function isUnimplemented(error: unknown): boolean {
  return codeOf(error) === Code.Unimplemented;
}

export function explain(error: unknown): Told {
  const texts = t().errors;
  switch (reasonOf(error)) {
    case '':
      return onTheWay(error);
    case 'INVALID': {
      const violations = Object.entries(violationsOf(error));
      return { text: violations.map(([field, text]) => (field ? texts.atField(fieldName(field), text) : text)).join(' · ') };
    }
    case 'CHANGED_MEANWHILE':
      return { text: texts.conflict };
    case 'ROLE_REFUSED':
      return { text: texts.forbidden };
    case 'TOKEN_MISSING':
    case 'TOKEN_REFUSED':
    case 'REFRESH_REFUSED':
      return { text: texts.signedOut };
    case 'UNKNOWN_METHOD':
      return { text: texts.notOffered };
    default:
      return inOurWords(ConnectError.from(error).rawMessage);
  }
}

/** What did not come from the control plane: the browser, the network, a proxy. */
function onTheWay(error: unknown): Told {
  const texts = t().errors;
  const { code, rawMessage } = ConnectError.from(error);
  switch (code) {
    case Code.Unavailable:
    case Code.Unknown:
      return { text: texts.unreachable };
    case Code.DeadlineExceeded:
      return { text: texts.tooSlow };
    case Code.Unimplemented:
      return { text: texts.notOffered };
    default:
      return inOurWords(rawMessage);
  }
}

function inOurWords(message: string): Told {
  const text = t().said(message);
  return text === undefined ? { text: t().errors.refused, words: message } : { text: text.charAt(0).toUpperCase() + text.slice(1) };
}
