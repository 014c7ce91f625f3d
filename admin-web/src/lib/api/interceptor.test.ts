import { Code, ConnectError } from '@connectrpc/connect';
import { describe, expect, it } from 'vitest';
import { authenticate } from './interceptor';

/** A server that takes one token, and a session whose renewals are counted. */
function bed(first: string | undefined, renewed: string | undefined) {
  const session = {
    accessToken: first,
    renewals: 0,
    async renew(): Promise<boolean> {
      session.renewals += 1;
      await Promise.resolve();
      session.accessToken = renewed;
      return renewed !== undefined;
    },
  };
  const call = authenticate(session)(async (request) => {
    if (request.header.get('authorization') !== 'Bearer good') throw new ConnectError('no', Code.Unauthenticated);
    return { stream: false } as never;
  });
  return { session, ask: () => call({ header: new Headers() } as never) };
}

describe('the token on each call', () => {
  it('is sent, and a good one is not renewed', async () => {
    const { session, ask } = bed('good', undefined);
    await ask();
    expect(session.renewals).toBe(0);
  });

  it('is renewed once when it was refused, and the call is made again', async () => {
    const { session, ask } = bed('old', 'good');
    await ask();
    expect(session.renewals).toBe(1);
  });

  it('leaves the refusal as it is when there is no other token', async () => {
    const { ask } = bed('old', undefined);
    await expect(ask()).rejects.toThrow('no');
  });

  it('does not go round in circles', async () => {
    const { session, ask } = bed('old', 'also old');
    await expect(ask()).rejects.toThrow('no');
    expect(session.renewals).toBe(1);
  });

  it('is not renewed for somebody who never signed in', async () => {
    const { session, ask } = bed(undefined, 'good');
    await expect(ask()).rejects.toThrow('no');
    expect(session.renewals).toBe(0);
  });
});
