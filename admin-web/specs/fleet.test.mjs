// The fleet as it is told live, on an installation of its own.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { ownPlane } from './plane.mjs';
import { startRefuser } from './refuser.mjs';
import { choose, chooseFor, holds, openSignedIn, settled, toast, UPSTREAM_URL } from './support.mjs';

const PASSWORD = 'an admin of the fleet';
const PROVIDER_KIND = 1;
const REASON = 'the dialect is one that this build does not know';
const plane = ownPlane(PASSWORD);

function opened(hash, options = {}) {
  return openSignedIn({ url: plane.url, password: PASSWORD, hash, ...options });
}

const node = (bed, name) => bed.page.locator(`[data-test="node"][data-key="${name}"]`);
const state = (bed, name) => node(bed, name).locator('[data-test="node-state"]');

test('a data plane comes, is drained, is gone, and is forgotten', async () => {
  const bed = await opened('#/fleet');
  await bed.page.getByText('No data plane').first().waitFor();
  await plane.addDataPlane('edge-1');
  await state(bed, 'edge-1').filter({ hasText: 'Up to date' }).waitFor();
  await bed.test('convergence').filter({ hasText: '1 of 1' }).waitFor();
  await holds(bed, 'the fleet');
  await chooseFor(bed, 'edge-1', 'drain');
  await bed.test('confirm').click();
  await toast(bed, 'is draining');
  await state(bed, 'edge-1').filter({ hasText: 'Gone' }).waitFor();
  await chooseFor(bed, 'edge-1', 'forget');
  await bed.test('confirm').click();
  await node(bed, 'edge-1').waitFor({ state: 'detached' });
  await bed.close();
});

test('where no data plane can enrol, the page says what to do instead of lines that would fail', async () => {
  const bed = await opened('#/fleet');
  await bed.test('join').click();
  await bed.test('make-join').click();
  await bed.test('no-enrolment').waitFor();
  await bed.page.getByText('FLEET_TLS_ISSUED=true').waitFor();
  assert.equal(await bed.test('join-lines').count(), 0);
  await holds(bed, 'a join token that nobody can use');
  await bed.close();
});

test('a breaker is held open on every data plane, and let go', async () => {
  await plane.addDataPlane('edge-2');
  const other = await opened('#/fleet');
  await other.test('add-override').waitFor();
  const bed = await opened('#/providers/new');
  await bed.test('provider-name').fill('held');
  await bed.test('base-url').fill(UPSTREAM_URL);
  await bed.test('add-big').fill('f-text');
  await bed.test('add-big').press('Enter');
  await bed.test('submit').click();
  await toast(bed, 'held is there');
  await bed.page.evaluate(() => (location.hash = '#/fleet'));
  await bed.test('add-override').click();
  await choose(bed, 'override-provider', 'held');
  await bed.test('override-reason').fill('it is being repaired');
  await holds(bed, 'an override that is being made');
  await bed.test('submit').click();
  await toast(bed, 'The breaker is overridden');
  const row = bed.page.locator('tbody tr', { hasText: 'it is being repaired' });
  await row.waitFor();
  // Another admin who was there before sees it come and go without doing anything.
  const seen = other.page.locator('tbody tr', { hasText: 'it is being repaired' });
  await seen.waitFor();
  const badge = node(bed, 'edge-2').getByText('held: open');
  await badge.waitFor();
  await holds(bed, 'a breaker that is held');
  await row.getByRole('button').click();
  await toast(bed, 'The override is gone');
  await row.waitFor({ state: 'detached' });
  await badge.waitFor({ state: 'detached' });
  await seen.waitFor({ state: 'detached' });
  await Promise.all([bed.close(), other.close()]);
});

test('a data plane that may be in other hands is revoked, and what is left to do is said', async () => {
  const bed = await opened('#/fleet');
  await state(bed, 'edge-2').filter({ hasText: 'Up to date' }).waitFor();
  await chooseFor(bed, 'edge-2', 'revoke');
  await bed.test('confirm').click();
  await bed.test('left-to-do').waitFor();
  assert.match(await bed.test('left-to-do').innerText(), /change the node token/);
  await holds(bed, 'what is left to do after a revocation');
  await bed.test('done').click();
  await state(bed, 'edge-2').filter({ hasText: 'Revoked' }).waitFor();
  await bed.close();
});

test('a refused configuration is shown at its node, with what was refused and why', async () => {
  const refuser = await startRefuser(plane, { name: 'old-build', resource: { kind: PROVIDER_KIND, id: 'qwen' }, reason: REASON });
  const bed = await opened('#/fleet');
  await state(bed, 'old-build').filter({ hasText: 'Up to date' }).waitFor();
  const other = await opened('#/settings');
  await other.test('attempts').fill('7');
  await other.test('submit').click();
  await settled(other);
  // Nothing is asked for again here: the page hears it.
  const refusal = node(bed, 'old-build').locator('[data-test="refusal"]');
  await refusal.waitFor();
  const text = await refusal.innerText();
  assert.ok(text.includes('provider/qwen') && text.includes(REASON), text);
  await state(bed, 'old-build').filter({ hasText: 'Refus' }).waitFor();
  await holds(bed, 'a refused configuration');
  await Promise.all([bed.close(), other.close()]);
  const narrow = await opened('#/fleet', { width: 360, theme: 'dark', language: 'zh-CN' });
  await node(narrow, 'old-build').locator('[data-test="refusal"]').waitFor();
  await holds(narrow, 'a refused configuration, narrow');
  await narrow.close();
  await refuser.stop();
});
