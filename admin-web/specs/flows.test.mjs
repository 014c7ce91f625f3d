// What else is done here: rules, settings, health, explain, statistics, tokens, the fleet.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { ADMIN_EMAIL, BRIDGE_KEY, BRIDGE_URL, choose, chooseFor, holds, openSignedIn, settled, startBrowser, stopBrowser, toast } from './support.mjs';

before(startBrowser);
after(stopBrowser);

test('a model rule is made, comes first, and is deleted', async () => {
  const bed = await openSignedIn({ hash: '#/models' });
  await bed.test('create-rule').click();
  await bed.test('match').fill('made-by-a-spec');
  await choose(bed, 'kind', 'One model');
  await choose(bed, 'rule-provider', 'scripted');
  await bed.test('rule-model').fill('f-text');
  await holds(bed, 'a new rule');
  await bed.test('submit').click();
  await toast(bed, 'The rule is there');
  await bed.test('tab-names').click();
  await bed.test('search').fill('made-by-a-spec');
  await bed.page.locator('tbody tr', { hasText: 'scripted / f-text' }).waitFor();
  await bed.test('tab-rules').click();
  const row = await bed.page.locator('tbody tr', { hasText: 'made-by-a-spec' }).getAttribute('data-key');
  await chooseFor(bed, row, 'delete');
  await bed.test('confirm').click();
  await toast(bed, 'The rule is deleted');
  await bed.close();
});

test('settings are changed, refused with their field, and put back', async () => {
  const bed = await openSignedIn({ hash: '#/settings' });
  await bed.test('attempts').waitFor();
  const before = await bed.test('attempts').inputValue();
  assert.ok(await bed.test('submit').isDisabled(), 'nothing is changed yet');
  await bed.test('attempts').fill('9999');
  await bed.test('submit').click();
  await bed.page.locator('.field', { has: bed.test('attempts') }).getByRole('alert').waitFor();
  for (const value of [before === '5' ? '6' : '5', before]) {
    await bed.test('attempts').fill(value);
    await bed.test('submit').click();
    await bed.page.waitForFunction(() => document.querySelector('[data-test="submit"]')?.disabled && !document.querySelector('[aria-busy=true]'));
    assert.equal(await bed.test('attempts').inputValue(), value);
  }
  await bed.close();
});

test('health is asked for, and the results arrive', async () => {
  const bed = await openSignedIn({ hash: '#/health' });
  const card = bed.test('health-openai');
  await card.locator('[data-test="check"]').click();
  await toast(bed, 'The check is done');
  await card.locator('[data-test="health"][data-state="1"]').first().waitFor();
  await holds(bed, 'health after a check');
  await bed.close();
});

test('a request is explained without a call', async () => {
  const bed = await openSignedIn({ hash: '#/explain' });
  await bed.test('explain').click();
  await bed.test('candidates').locator('li').first().waitFor();
  await holds(bed, 'an explanation');
  await bed.test('body').fill('{');
  await bed.page.getByText('This is not JSON').waitFor();
  assert.ok(await bed.test('explain').isDisabled());
  await bed.close();
});

test('traffic shows in the statistics and in the request log', async () => {
  const asked = await fetch(`${BRIDGE_URL}/v1/messages`, {
    method: 'POST',
    headers: { 'x-api-key': BRIDGE_KEY, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'f-echo', max_tokens: 20, messages: [{ role: 'user', content: 'Hi' }] }),
  });
  assert.equal(asked.status, 200);
  await asked.arrayBuffer();
  const bed = await openSignedIn({ hash: '#/stats' });
  // Nodes report every few seconds.
  const deadline = Date.now() + 60_000;
  for (;;) {
    await bed.test('tab-requests').click();
    await settled(bed);
    if ((await bed.page.locator('tbody tr', { hasText: 'f-echo' }).count()) > 0) break;
    assert.ok(Date.now() < deadline, 'the request is reported');
    await bed.test('tab-usage').click();
    await settled(bed);
  }
  await bed.page.locator('tbody tr', { hasText: 'f-echo' }).first().locator('[data-test="detail"]').click();
  await bed.page.getByRole('dialog').getByText('scripted / f-echo').waitFor();
  await holds(bed, 'the detail of a request');
  await bed.page.keyboard.press('Escape');
  await bed.test('tab-usage').click();
  await bed.test('chart').locator('canvas').waitFor();
  const [file] = await Promise.all([bed.page.waitForEvent('download'), bed.test('csv').click()]);
  assert.equal(file.suggestedFilename(), 'usage.csv');
  await toast(bed, 'usage.csv is made');
  await bed.close();
});

test('a service token is shown once, and deleted', async () => {
  const bed = await openSignedIn({ hash: '#/tokens' });
  const name = `spec-${Date.now().toString(36)}`;
  await bed.test('create-token').click();
  await bed.test('name').fill(name);
  await bed.test('providers:read').check();
  await bed.test('submit').click();
  assert.match(await bed.test('secret').innerText(), /^bst-/);
  await holds(bed, 'the token that is shown once');
  await bed.test('secret-done').click();
  await bed.page.locator('tbody tr', { hasText: name }).locator('[data-test="delete"]').click();
  await bed.test('confirm').click();
  await toast(bed, 'The token is deleted');
  await bed.close();
});

test('where somebody is signed in is listed, and can be ended', async () => {
  const bed = await openSignedIn({ hash: '#/account' });
  await bed.page.getByText(ADMIN_EMAIL).first().waitFor();
  await bed.page.getByText('this one').waitFor();
  await bed.close();
});
