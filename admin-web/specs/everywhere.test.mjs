// What holds on every page: each list in all its states, what an action does while it runs, where the focus is.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { startPlane } from './plane.mjs';
import { ADMIN_EMAIL, chooseFor, holds, openPage, openSignedIn, settled, signIn, startBrowser, stopBrowser, toast } from './support.mjs';

const PASSWORD = 'an admin of an untouched one';
/** The bed may be an old one. */
const NAME = `not before ${Date.now().toString(36)}`;
const names = (bed) => bed.test('tab-names').click();
const requests = (bed) => bed.test('tab-requests').click();

/** Each list: its page, what it asks for, what it says when there is nothing, if that can be. `open` leads to it on its page. */
const LISTS = [
  { hash: 'health', method: 'HealthService/ListHealth', empty: 'No providers' },
  { hash: 'fleet', method: 'FleetService/WatchFleet', empty: 'No data plane' },
  { hash: 'fleet', method: 'FleetService/ListBreakerOverrides', empty: 'None' },
  { hash: 'stats', method: 'StatsService/GetSummary' },
  { hash: 'stats', method: 'StatsService/GetTokenUsage', empty: 'No traffic in this time' },
  { hash: 'stats', method: 'StatsService/ListRequests', open: requests, empty: 'No requests' },
  { hash: 'keys', method: 'ApiKeyService/ListApiKeys', empty: 'No API keys yet' },
  { hash: 'providers', method: 'ProviderService/ListProviders', empty: 'No providers' },
  { hash: 'models', method: 'ModelService/ListModelRules', empty: 'No rules' },
  { hash: 'models', method: 'ModelService/ListModels', open: names },
  { hash: 'users', method: 'UserService/ListUsers' },
  { hash: 'tokens', method: 'ServiceTokenService/ListServiceTokens', empty: 'No service tokens' },
  { hash: 'history', method: 'ConfigService/ListRevisions' },
  { hash: 'audit', method: 'AuditService/ListEntries' },
  { hash: 'account', method: 'AuthService/ListSessions' },
];

before(startBrowser);
after(stopBrowser);

async function go(bed, hash) {
  await bed.page.evaluate((hash) => (location.hash = `#/${hash}`), hash);
  await bed.page.locator(`main[data-location="/${hash}"] h1`).waitFor();
}

/** From elsewhere, so that it is asked for anew. */
async function open(bed, { hash, open }) {
  await go(bed, 'nowhere');
  await go(bed, hash);
  await open?.(bed);
}

test('each list while it loads, when it fails, and after another try', async (t) => {
  const bed = await openSignedIn({ hash: '#/nowhere' });
  for (const list of LISTS) {
    await t.test(list.method, async () => {
      const calls = `**/bridge.admin.v1.${list.method}`;
      let goOn = () => undefined;
      const held = new Promise((resolve) => (goOn = resolve));
      await bed.page.route(calls, async (route) => {
        await held;
        await route.abort();
      });
      await open(bed, list);
      await bed.page.locator('main .skeleton').first().waitFor();
      goOn();
      const failure = bed.test('failure').first();
      await failure.filter({ hasText: 'cannot be reached' }).waitFor();
      await bed.page.unroute(calls);
      // What is told live comes back by itself.
      const retry = failure.getByRole('button');
      if ((await retry.count()) > 0) await retry.click();
      await bed.test('failure').first().waitFor({ state: 'detached' });
      await settled(bed);
      await holds(bed, `${list.hash}, loaded after a failure`);
    });
  }
  await bed.close();
});

test('each list when there is nothing', async (t) => {
  const plane = await startPlane({ ADMIN_EMAIL, ADMIN_PASSWORD: PASSWORD });
  t.after(() => plane.stop());
  const bed = await openPage({ url: plane.url, hash: '#/nowhere' });
  await signIn(bed, { password: PASSWORD });
  await bed.page.locator('main[data-location] h1').waitFor();
  for (const list of LISTS.filter(({ empty }) => empty !== undefined)) {
    await t.test(list.method, async () => {
      await open(bed, list);
      await settled(bed);
      await bed.page.locator('main').getByText(list.empty).first().waitFor();
      await holds(bed, `${list.hash} with nothing in it`);
    });
  }
  await bed.close();
});

test('a change shows when the server has accepted it, and its button waits', async () => {
  const bed = await openSignedIn({ hash: '#/keys' });
  await bed.test('create-key').click();
  await bed.test('name').fill(NAME);
  /** Answers what says that the call has come, and what lets it go on. */
  const hold = async (method) => {
    let goOn = () => undefined;
    let come = () => undefined;
    const held = new Promise((resolve) => (goOn = resolve));
    const hasCome = new Promise((resolve) => (come = resolve));
    await bed.page.route(`**/bridge.admin.v1.ApiKeyService/${method}`, async (route) => {
      come();
      await held;
      await route.continue();
    });
    return { hasCome, goOn };
  };
  const creation = await hold('CreateApiKey');
  await bed.test('submit').click();
  await bed.page.locator('[data-test="submit"][aria-busy="true"]:disabled').waitFor();
  assert.equal(await bed.page.locator('tbody tr', { hasText: NAME }).count(), 0);
  creation.goOn();
  const id = (await bed.test('secret').innerText()).split('-')[2];
  await bed.test('secret-done').click();

  const state = bed.page.locator(`[data-key="${id}"] [data-test="state"]`);
  const change = await hold('UpdateApiKey');
  await chooseFor(bed, id, 'toggle');
  await change.hasCome;
  assert.equal(await state.innerText(), 'Active');
  change.goOn();
  await toast(bed, 'disabled');
  await state.filter({ hasText: 'Disabled' }).waitFor();

  await bed.page.unrouteAll();
  await bed.page.route('**/bridge.admin.v1.ApiKeyService/UpdateApiKey', (route) => route.abort());
  await chooseFor(bed, id, 'toggle');
  await toast(bed, 'cannot be reached');
  assert.equal(await state.innerText(), 'Disabled', 'what was not accepted does not show');
  await bed.page.unrouteAll();
  await chooseFor(bed, id, 'delete');
  await bed.test('confirm').click();
  await toast(bed, 'deleted');
  await bed.close();
});

for (const look of [{ theme: 'light' }, { theme: 'dark', language: 'zh-CN', width: 360 }]) {
  test(`the focus is seen wherever it goes, ${look.theme}`, async () => {
    const bed = await openSignedIn({ ...look, hash: '#/keys' });
    await settled(bed);
    for (const hash of ['keys', 'providers/new', 'settings', 'playground']) {
      await go(bed, hash);
      await settled(bed);
      // From the top of the page.
      await bed.page.evaluate(() => document.querySelector('button').focus());
      const unseen = [];
      const seen = new Set();
      for (;;) {
        await bed.page.keyboard.press('Tab');
        const it = await bed.page.evaluate(focused);
        if (it === null || seen.has(it.place)) break;
        seen.add(it.place);
        if (!it.isSeen) unseen.push(it.html);
      }
      assert.ok(seen.size > 5, `${seen.size} places at #/${hash}`);
      assert.deepEqual(unseen, [], `at #/${hash}`);
    }
    await bed.close();
  });
}

/** In the page: what has the focus, and whether its outline, or that of what stands for it, can be seen. */
function focused() {
  const it = document.activeElement;
  if (it === null || it === document.body) return null;
  const isSeen = [it, it.nextElementSibling, it.parentElement].some((one) => {
    if (one === null) return false;
    const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(one);
    return (outlineStyle !== 'none' && parseFloat(outlineWidth) >= 1) || (one === it && boxShadow !== 'none');
  });
  const { x, y, width, height } = it.getBoundingClientRect();
  return { isSeen: isSeen && width > 0 && height > 0, place: `${it.tagName} ${it.id} ${x + scrollX} ${y + scrollY}`, html: it.outerHTML.slice(0, 160) };
}

test('the theme of the system is followed as it changes', async () => {
  const bed = await openPage({ theme: 'system' });
  await bed.test('email').waitFor();
  const ink = () => bed.page.evaluate(() => getComputedStyle(document.querySelector('h1')).color);
  await bed.page.emulateMedia({ colorScheme: 'light' });
  const light = await ink();
  await bed.page.emulateMedia({ colorScheme: 'dark' });
  assert.notEqual(await ink(), light);
  await bed.close();
});
