import type { ApiKey } from '$gen/bridge/admin/v1/api_key_pb';

/** What somebody is doing about keys: one dialog at a time. */
export type KeyTask =
  | { kind: 'create' }
  | { kind: 'edit' | 'rotate' | 'revoke' | 'delete'; key: ApiKey }
  /** The full key, shown this once. */
  | { kind: 'show'; name: string; secret: string };
