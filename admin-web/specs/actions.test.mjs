// Each action, held back, refused and done: nothing shows before the server has accepted it, and both ends are said.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { ACTIONS, PASSWORDS } from './actions.mjs';
import { startPlane } from './plane.mjs';
import { ADMIN_EMAIL, openPage, settled, signIn, startBrowser, stopBrowser, toast } from './support.mjs';

const SERVICES = { apiKeys: 'ApiKey', audit: 'Audit', auth: 'Auth', config: 'Config', fleet: 'Fleet', health: 'Health', models: 'Model', providers: 'Provider', serviceTokens: 'ServiceToken', settings: 'Settings', users: 'User' };
let plane;

before(async () => {
  plane = await startPlane({ ADMIN_EMAIL, ADMIN_PASSWORD: PASSWORDS[0] });
  await Promise.all([plane.addDataPlane('drained'), plane.addDataPlane('revoked'), startBrowser()]);
});

after(async () => {
  await stopBrowser();
  await plane?.stop();
});

function addressOf(call) {
  const [service, method] = call.split('.');
  return `**/bridge.admin.v1.${SERVICES[service]}Service/${method[0].toUpperCase()}${method.slice(1)}`;
}

async function go(bed, hash) {
  await bed.page.evaluate((hash) => (location.hash = `#/${hash}`), hash);
  await bed.page.locator(`main[data-location="/${hash}"] h1`).waitFor();
  await settled(bed);
}

/** Holds the calls to this address until `refuse`, which answers none of them. */
async function hold(bed, address) {
  const { promise: held, resolve: refuse } = defer();
  const { promise: come, resolve: hasCome } = defer();
  await bed.page.route(address, async (route) => {
    // A rehearsal is a question.
    if (isRehearsal(route.request())) return route.continue();
    hasCome();
    await held;
    await route.abort();
  });
  return { come, refuse };
}

/** A rollback that only says what it would do: as its third field says. */
function isRehearsal(request) {
  return request.url().endsWith('/Rollback') && request.postDataBuffer()?.includes(Buffer.from([0x18, 0x01]));
}

function defer() {
  let resolve;
  const promise = new Promise((done) => (resolve = done));
  return { promise, resolve };
}

/** What was said before is nobody's answer. */
async function closeToasts({ page }) {
  const toasts = page.locator('[data-sonner-toast]');
  await toasts.locator('[data-close-button]').evaluateAll((buttons) => buttons.forEach((it) => it.click()));
  await toasts.first().waitFor({ state: 'detached' });
}

test('each action', async (t) => {
  const bed = await openPage({ url: plane.url, hash: '#/nowhere' });
  // "A minute ago" must not become two while an action is held back.
  await bed.page.clock.setFixedTime(new Date());
  await signIn(bed, { password: PASSWORDS[0] });
  await bed.page.locator('main[data-location] h1').waitFor();
  for (const action of ACTIONS) {
    await t.test(`${action.call}: ${action.said}`, () => refusedAndDone(bed, action));
  }
  await bed.close();
});

async function refusedAndDone(bed, { call, hash, before, open, press, said, shown = ({ page }) => page.locator('main').innerText(), isShown = true, isLeaving = false, done }) {
  await before?.(bed);
  await go(bed, 'nowhere');
  await go(bed, hash);
  await open?.(bed);
  await closeToasts(bed);
  const address = addressOf(call);
  const { come, refuse } = await hold(bed, address);
  const first = await shown(bed);
  await press(bed);
  await come;
  assert.equal(await shown(bed), first, 'nothing shows while it is under way');
  assert.equal(await bed.page.locator('[data-sonner-toast]').count(), 0, 'nothing is said while it is under way');
  refuse();
  await toast(bed, 'cannot be reached');
  if (!isLeaving) {
    await settled(bed);
    assert.equal(await shown(bed), first, 'nothing shows after a refusal');
  }
  await bed.page.unroute(address);
  await press(bed);
  await toast(bed, said);
  if (done !== undefined) await bed.test(done).click();
  if (isShown && !isLeaving) await changed(bed, shown, first);
  await bed.page.keyboard.press('Escape');
}

/** Until the page has asked for what it shows. */
async function changed(bed, shown, first) {
  const deadline = Date.now() + 30_000;
  while ((await shown(bed).catch(() => first)) === first) {
    assert.ok(Date.now() < deadline, 'what was done shows');
    await bed.page.waitForTimeout(50);
  }
}
