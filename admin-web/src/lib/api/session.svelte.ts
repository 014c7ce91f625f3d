import { AuthService } from '$gen/bridge/admin/v1/auth_pb';
import { Role, type User } from '$gen/bridge/admin/v1/user_pb';
import { createClient, type Client, type Transport } from '@connectrpc/connect';

interface Tokens {
  accessToken: string;
  refreshToken: string;
}

/**
 * Who is signed in, in this tab.
 *
 * Tokens live in memory only: a page that is reloaded asks for the password again, and nothing that
 * reads the browser's storage can take a session along. When a session ends while somebody works, the
 * page stays as it is, calls wait, and a dialog over the page asks for the password.
 */
export class Session {
  user = $state.raw<User>();
  /** The session has ended under a page that is still open. */
  isExpired = $state(false);
  /** Somebody has been signed in here: what was loaded then stays. */
  wasSignedIn = $state(false);

  #tokens: Tokens | undefined;
  #refreshing: Promise<boolean> | undefined;
  #waiting: ((isSignedIn: boolean) => void)[] = [];
  readonly #auth: Client<typeof AuthService>;

  /** `transport` must be one that carries no token: signing in would wait for itself. */
  constructor(transport: Transport) {
    this.#auth = createClient(AuthService, transport);
  }

  get accessToken(): string | undefined {
    return this.#tokens?.accessToken;
  }

  get mustChangePassword(): boolean {
    return this.user?.mustChangePassword ?? false;
  }

  readonly isAdmin = $derived(this.user?.role === Role.ADMIN);
  /** May change what all share. */
  readonly isOperator = $derived(this.isAdmin || this.user?.role === Role.OPERATOR);
  /** May read what all share. */
  readonly isReader = $derived(this.isOperator || this.user?.role === Role.AUDITOR);
  readonly isAuditor = $derived(this.isAdmin || this.user?.role === Role.AUDITOR);
  /** May have keys of their own. */
  readonly isOwner = $derived(this.isOperator || this.user?.role === Role.USER);

  async signIn(email: string, password: string): Promise<void> {
    const { accessToken, refreshToken, user } = await this.#auth.login({ email, password });
    const isSomebodyElse = this.user !== undefined && this.user.id !== user?.id;
    this.#tokens = { accessToken, refreshToken };
    this.user = user;
    this.wasSignedIn = true;
    this.isExpired = false;
    // Another person's half-filled form is nobody's business.
    this.#answer(!isSomebodyElse);
    if (isSomebodyElse) location.hash = '#/';
  }

  /** After a change of password: the old pair is void. */
  replace(tokens: Tokens, user: User): void {
    this.#tokens = { accessToken: tokens.accessToken, refreshToken: tokens.refreshToken };
    this.user = user;
  }

  forget(): void {
    this.#tokens = undefined;
    this.user = undefined;
    this.isExpired = false;
    this.#answer(false);
  }

  /**
   * For a call that was refused with `usedToken`: true when there is another one to try with. Calls at
   * once share one refresh, for a refresh token that comes twice ends its session.
   */
  async renew(usedToken: string | undefined): Promise<boolean> {
    if (this.accessToken !== usedToken && this.accessToken !== undefined && !this.isExpired) return true;
    if (!this.isExpired) {
      this.#refreshing ??= this.#refresh().finally(() => (this.#refreshing = undefined));
      if (await this.#refreshing) return true;
    }
    if (this.user === undefined) return false;
    this.isExpired = true;
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  async #refresh(): Promise<boolean> {
    if (this.#tokens === undefined) return false;
    try {
      const { accessToken, refreshToken } = await this.#auth.refresh({ refreshToken: this.#tokens.refreshToken });
      this.#tokens = { accessToken, refreshToken };
      return true;
    } catch {
      return false;
    }
  }

  #answer(isSignedIn: boolean): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve(isSignedIn);
  }
}
