import { Code, ConnectError, type Interceptor } from '@connectrpc/connect';
import type { Session } from './session.svelte';

/** Puts the access token on every call, and tries a refused one once more when there is a new token. */
export function authenticate(session: Pick<Session, 'accessToken' | 'renew'>): Interceptor {
  return (next) => async (request) => {
    const used = session.accessToken;
    if (used !== undefined) request.header.set('authorization', `Bearer ${used}`);
    try {
      return await next(request);
    } catch (error) {
      if (ConnectError.from(error).code !== Code.Unauthenticated || used === undefined) throw error;
      if (!(await session.renew(used))) throw error;
      request.header.set('authorization', `Bearer ${session.accessToken ?? ''}`);
      return await next(request);
    }
  };
}
