import type { Action } from '$lib/api/action.svelte';
import { door, session } from '$lib/api/door';
import { t } from '$lib/i18n/index.svelte';

/** Ends the session at the server. Whatever that says: here nobody is signed in afterwards. */
export async function signOut(action: Action): Promise<void> {
  await action.run(() => door.auth.logout({}), t().signIn.signedOut);
  session.forget();
}
