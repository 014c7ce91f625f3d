// API keys: made, shown once, limited, revoked with the fleet's word.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { BRIDGE_URL, chooseFor, holds, openSignedIn, settled, startBrowser, stopBrowser, toast, until } from './support.mjs';

const body = JSON.stringify({ model: 'f-text', max_tokens: 20, messages: [{ role: 'user', content: 'Hi' }] });

before(startBrowser);
after(stopBrowser);

async function ask(key) {
  const answer = await fetch(`${BRIDGE_URL}/v1/messages`, { method: 'POST', headers: { 'x-api-key': key, 'content-type': 'application/json' }, body });
  await answer.arrayBuffer();
  return answer.status;
}

/** Makes a key by the page; answers it and its id. */
async function make(bed, name, fillIn = async () => undefined) {
  await bed.test('create-key').click();
  await bed.test('name').fill(name);
  await fillIn();
  await bed.test('submit').click();
  const secret = await bed.test('secret').innerText();
  await holds(bed, 'the key that is shown once');
  await bed.test('secret-done').click();
  return { secret, id: secret.split('-')[2] };
}

test('a key is shown once, copied, works, and ends everywhere when it is revoked', async () => {
  const bed = await openSignedIn({ hash: '#/keys' });
  const { secret, id } = await make(bed, 'revoked');
  assert.match(secret, /^sk-bridge-/);
  assert.ok(!(await bed.page.content()).includes(secret), 'gone with its dialog');
  await until(async () => (await ask(secret)) === 200);

  await chooseFor(bed, id, 'revoke');
  await bed.test('confirm').click();
  await bed.test('done').waitFor();
  const acknowledged = await bed.test('acknowledgements').locator('li').count();
  assert.ok(acknowledged >= 1, 'each data plane is named');
  assert.equal(await ask(secret), 401);
  await bed.test('done').click();
  await bed.page.locator(`[data-key="${id}"] [data-test="state"]`, { hasText: 'Disabled' }).waitFor();
  await bed.close();
});

test('a revocation that is asked to ends what still runs, and names each data plane that knows', async () => {
  const bed = await openSignedIn({ hash: '#/keys' });
  const { secret, id } = await make(bed, 'running');
  await until(async () => (await ask(secret)) === 200);
  // This model is silent for minutes after its first words.
  const request = { model: 'f-pause-330', max_tokens: 20, stream: true, messages: [{ role: 'user', content: 'Hi' }] };
  const running = await fetch(`${BRIDGE_URL}/v1/messages`, { method: 'POST', headers: { 'x-api-key': secret, 'content-type': 'application/json' }, body: JSON.stringify(request) });
  assert.equal(running.status, 200);
  const ended = running.text();
  await chooseFor(bed, id, 'revoke');
  await bed.test('terminate').click();
  await bed.test('confirm').click();
  await bed.test('done').waitFor();
  assert.match(await ended, /permission_error/);
  const nodes = await bed.test('acknowledgements').locator('li').allInnerTexts();
  assert.ok(nodes.length >= 1 && nodes.every((it) => /confirmed/.test(it)), nodes.join('; '));
  await holds(bed, 'a revocation that is over');
  await bed.close();
});

test('limits are set by the form, held by the fleet, and what is spent is shown', async () => {
  const bed = await openSignedIn({ hash: '#/keys' });
  const { secret, id } = await make(bed, 'limited', async () => {
    await bed.test('requests-per-minute').fill('1');
    await bed.test('budget-add').click();
    await bed.test('budget-amount').fill('5000');
    await holds(bed, 'limits of a key');
  });
  await until(async () => (await ask(secret)) === 200);
  await until(async () => (await ask(secret)) === 429);
  const spent = bed.page.locator(`[data-key="${id}"] [data-test="budget-use"]`);
  await until(async () => {
    await bed.page.evaluate(() => (location.hash = '#/'));
    await bed.page.evaluate(() => (location.hash = '#/keys'));
    await settled(bed);
    return /Day: [1-9]\d* of 5K used/.test(await spent.innerText());
  });
  await chooseFor(bed, id, 'edit');
  assert.equal(await bed.test('requests-per-minute').inputValue(), '1');
  assert.equal(await bed.test('budget-amount').inputValue(), '5000');
  await holds(bed, 'what a key has spent');
  await bed.close();
});

test('disabled, enabled, rotated, deleted', async () => {
  const bed = await openSignedIn({ hash: '#/keys' });
  const { secret, id } = await make(bed, 'rotated');
  await chooseFor(bed, id, 'toggle');
  await toast(bed, 'disabled');
  await until(async () => (await ask(secret)) === 401);
  await bed.page.locator(`[data-key="${id}"] [data-test="actions"]`).click();
  await bed.page.locator('[data-test="rotate"][aria-disabled="true"]', { hasText: 'Enable it first' }).waitFor();
  await holds(bed, 'what cannot be done with a disabled key');
  await bed.page.keyboard.press('Escape');
  await chooseFor(bed, id, 'toggle');
  await toast(bed, 'enabled');
  await until(async () => (await ask(secret)) === 200);

  await chooseFor(bed, id, 'rotate');
  await bed.test('confirm').click();
  const next = await bed.test('secret').innerText();
  assert.notEqual(next, secret);
  await bed.test('secret-done').click();
  await until(async () => (await ask(next)) === 200);

  const nextId = next.split('-')[2];
  await chooseFor(bed, nextId, 'delete');
  await bed.test('confirm').click();
  await toast(bed, 'deleted');
  await bed.page.locator(`[data-key="${nextId}"]`).waitFor({ state: 'detached' });
  await bed.close();
});

test('what the server refuses is said at the field, and the form stays', async () => {
  const bed = await openSignedIn({ hash: '#/keys' });
  await bed.test('create-key').click();
  await bed.test('name').fill('x'.repeat(500));
  await bed.test('submit').click();
  const field = bed.page.locator('.field', { has: bed.test('name') });
  await field.getByRole('alert').waitFor();
  assert.equal((await bed.test('name').inputValue()).length, 500);
  assert.equal(await bed.test('name').getAttribute('aria-invalid'), 'true');
  assert.equal(await bed.page.evaluate(() => document.activeElement?.dataset.test), 'name', 'the field is brought into view');
  await bed.close();
});

test('search finds, and says when nothing is found', async () => {
  const bed = await openSignedIn({ hash: '#/keys' });
  const { id } = await make(bed, 'needle');
  await bed.test('search').fill(id);
  await bed.page.locator('tbody tr').nth(1).waitFor({ state: 'detached' });
  await bed.page.locator(`[data-key="${id}"]`).waitFor();
  await bed.test('search').fill('there is none such');
  await bed.page.getByText('No key matches').waitFor();
  await settled(bed);
  await holds(bed, 'an empty list');
  await bed.close();
});
