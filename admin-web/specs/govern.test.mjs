// Who changed what: the history and the way back, the audit log and its chain, on an installation where nobody else changes anything.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { ownPlane } from './plane.mjs';
import { holds, openSignedIn, settled, toast } from './support.mjs';

const PASSWORD = 'an admin who looks back';
const plane = ownPlane(PASSWORD);

const opened = (hash) => openSignedIn({ url: plane.url, password: PASSWORD, hash });

async function go(bed, hash) {
  await bed.page.evaluate((hash) => (location.hash = hash), hash);
  await bed.page.locator(`main[data-location="${hash.slice(1)}"] h1`).waitFor();
  await settled(bed);
}

async function setAttempts(bed, value) {
  await go(bed, '#/settings');
  await bed.test('attempts').fill(value);
  await bed.test('submit').click();
  await toast(bed, 'saved');
  // Nothing is left to save: the form is that of the new settings.
  await bed.page.waitForFunction(() => document.querySelector('[data-test="submit"]')?.disabled && !document.querySelector('[aria-busy=true]'));
}

test('what a change changed is compared, and taken back', async () => {
  const bed = await opened('#/settings');
  await bed.test('attempts').waitFor();
  const before = await bed.test('attempts').inputValue();
  // Two changes: between them lies what is compared.
  await setAttempts(bed, '8');
  await setAttempts(bed, '9');
  await go(bed, '#/history');
  const row = bed.page.locator('tbody tr').nth(1);
  await row.locator('[data-test="actions"]').click();
  await bed.test('compare').click();
  const change = bed.test('change').filter({ hasText: 'settings' });
  await change.waitFor();
  assert.match(await change.innerText(), /max_attempts[\s\S]*8[\s\S]*9/);
  await holds(bed, 'what lies between two revisions');
  await bed.page.keyboard.press('Escape');
  await row.locator('[data-test="actions"]').click();
  await bed.test('rollback').click();
  await bed.test('change').first().waitFor();
  await holds(bed, 'before a rollback');
  await bed.test('confirm').click();
  await bed.test('confirm').waitFor({ state: 'detached' });
  await go(bed, '#/settings');
  assert.equal(await bed.test('attempts').inputValue(), '8');
  await setAttempts(bed, before);
  await bed.close();
});

test('an entry of the audit log tells before and after, and the chain is whole', async () => {
  const bed = await opened('#/settings');
  await setAttempts(bed, '7');
  await setAttempts(bed, '4');
  await go(bed, '#/audit');
  await bed.test('search').fill('settings');
  const row = bed.page.locator('tbody tr', { hasText: 'SettingsService.UpdateSettings' }).first();
  await row.locator('[data-test="details"]').click();
  const dialog = bed.page.getByRole('dialog');
  assert.match(await dialog.innerText(), /max_attempts/);
  await holds(bed, 'an entry of the audit log');
  await bed.page.keyboard.press('Escape');
  await bed.test('verify').click();
  await bed.test('verdict').waitFor();
  assert.match(await bed.test('verdict').innerText(), /All [\d,]+ entries/);
  await holds(bed, 'a chain that is whole');
  await bed.close();
});
