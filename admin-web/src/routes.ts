/** Which page is shown at which address. Every page is a file of its own, loaded when it is asked for. */
import type { RouteDefinition } from 'svelte-spa-router';
import wrap from 'svelte-spa-router/wrap';
import PageLoading from './shell/PageLoading.svelte';

type Page = Parameters<typeof wrap>[0]['asyncComponent'];

const page = (load: NonNullable<Page>) => wrap({ asyncComponent: load, loadingComponent: PageLoading });

export const routes: RouteDefinition = {
  '/': page(() => import('./pages/home/Home.svelte')),
  '/keys': page(() => import('./pages/keys/Keys.svelte')),
  '/providers': page(() => import('./pages/providers/Providers.svelte')),
  '/providers/:name': page(() => import('./pages/providers/ProviderPage.svelte')),
  '/models': page(() => import('./pages/models/Models.svelte')),
  '/health': page(() => import('./pages/health/Health.svelte')),
  '/settings': page(() => import('./pages/settings/Settings.svelte')),
  '/users': page(() => import('./pages/users/Users.svelte')),
  '/stats': page(() => import('./pages/stats/Stats.svelte')),
  '/fleet': page(() => import('./pages/fleet/Fleet.svelte')),
  '/explain': page(() => import('./pages/explain/Explain.svelte')),
  '/playground': page(() => import('./pages/playground/Playground.svelte')),
  '/tokens': page(() => import('./pages/tokens/Tokens.svelte')),
  '/history': page(() => import('./pages/history/History.svelte')),
  '/audit': page(() => import('./pages/audit/Audit.svelte')),
  '/account': page(() => import('./pages/account/Account.svelte')),
  '*': page(() => import('./pages/NotFound.svelte')),
};
