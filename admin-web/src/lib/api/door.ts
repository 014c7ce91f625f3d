/** Who is signed in, and the calls that this takes: all that is loaded before somebody is. */
import { AuthService } from '$gen/bridge/admin/v1/auth_pb';
import { createClient } from '@connectrpc/connect';
import { createGrpcWebTransport } from '@connectrpc/connect-web';
import { authenticate } from './interceptor';
import { Session } from './session.svelte';

const baseUrl = new URL('.', location.href).href.replace(/\/$/, '');
const open = createGrpcWebTransport({ baseUrl });

export const session = new Session(open);

/** Puts the session's token on each call. */
export const transport = createGrpcWebTransport({ baseUrl, interceptors: [authenticate(session)] });

export const door = {
  /** Signing in needs no token. */
  open: createClient(AuthService, open),
  auth: createClient(AuthService, transport),
};
