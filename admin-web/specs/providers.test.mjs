// Providers: presets, order, secrets that go in and never come out, tests in the provider's own words.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { choose, chooseFor, holds, openSignedIn, settled, startBrowser, stopBrowser, toast, UPSTREAM_URL } from './support.mjs';

/** The bed may be an old one. */
const RUN = Date.now().toString(36);
const SECRET = 'sk-canary-of-the-specs-4711';

before(startBrowser);
after(stopBrowser);

async function create(bed, name, models) {
  await bed.page.goto(`${bed.page.url().split('#')[0]}#/providers/new`);
  await bed.test('provider-name').fill(name);
  await bed.test('base-url').fill(UPSTREAM_URL);
  await bed.test('api-key').fill(SECRET);
  for (const model of models) {
    await bed.test('add-big').fill(model);
    await bed.test('add-big').press('Enter');
  }
  await bed.test('submit').click();
  await bed.page.locator(`main[data-location="/providers/${name}"] h1`, { hasText: name }).waitFor();
}

async function remove(bed, name) {
  await bed.page.goto(`${bed.page.url().split('#')[0]}#/providers`);
  await chooseFor(bed, name, 'delete');
  await bed.test('confirm').click();
  await toast(bed, 'is deleted');
}

test('a preset fills in address and dialect', async () => {
  const bed = await openSignedIn({ hash: '#/providers/new' });
  await choose(bed, 'preset', 'Qwen');
  assert.equal(await bed.test('base-url').inputValue(), 'https://dashscope.aliyuncs.com/compatible-mode/v1');
  assert.equal(await bed.test('provider-name').inputValue(), 'qwen');
  assert.match(await bed.test('dialect').innerText(), /qwen/);
  await bed.close();
});

test('made, its secret never shown, tested well and badly, reordered by keyboard, deleted', async () => {
  const bed = await openSignedIn();
  await create(bed, `by-spec-${RUN}`, ['f-text', 'f-status-401']);
  await settled(bed);
  assert.ok(!(await bed.page.content()).includes(SECRET));
  await bed.page.getByText('ends with 4711').waitFor();
  await holds(bed, 'a provider');

  await bed.test('test').click();
  await bed.test('run-test').click();
  await bed.test('test-result').waitFor();
  assert.match(await bed.test('test-result').innerText(), /It answers/);
  await choose(bed, 'test-model', 'f-status-401');
  await bed.test('run-test').click();
  await bed.page.locator('[data-test="test-result"]', { hasText: '401' }).waitFor();
  const words = await bed.test('test-result').innerText();
  assert.ok(words.split('\n').at(-1).length > 10, `the provider's own words: ${words}`);
  await holds(bed, 'a failed test');
  await bed.page.keyboard.press('Escape');

  const order = () => bed.test('tier-big').locator('li .mono').allInnerTexts();
  assert.deepEqual(await order(), ['f-text', 'f-status-401']);
  await bed.page.getByRole('button', { name: 'Move f-status-401 up' }).focus();
  await bed.page.keyboard.press('Enter');
  assert.deepEqual(await order(), ['f-status-401', 'f-text']);
  const focused = await bed.page.evaluate(() => document.activeElement?.closest('li')?.innerText);
  assert.match(focused ?? '', /f-status-401/, 'the focus moves with the model');
  await bed.test('submit').click();
  await toast(bed, 'is saved');
  await bed.page.reload();
  await bed.test('email').waitFor();
  await bed.close();

  const again = await openSignedIn({ hash: `#/providers/by-spec-${RUN}` });
  await again.test('tier-big').waitFor();
  assert.deepEqual(await again.test('tier-big').locator('li .mono').allInnerTexts(), ['f-status-401', 'f-text']);
  await remove(again, `by-spec-${RUN}`);
  await again.close();
});

test('tier lists are reordered by dragging', async () => {
  const bed = await openSignedIn({ hash: '#/providers/scripted' });
  const items = bed.test('tier-big').locator('li');
  await items.first().waitFor();
  const [first, second] = await bed.test('tier-big').locator('li .mono').allInnerTexts();
  await items.nth(0).dragTo(items.nth(1));
  const [now] = await bed.test('tier-big').locator('li .mono').allInnerTexts();
  assert.equal(now, second, `${first} was dragged below`);
  await bed.close();
});

test('another server needs the secrets again', async () => {
  const bed = await openSignedIn();
  await create(bed, `moved-${RUN}`, ['f-text']);
  await bed.test('base-url').fill('https://elsewhere.example/v1');
  await bed.page.getByText('the secrets must be entered again').waitFor();
  await bed.test('api-key').waitFor();
  await remove(bed, `moved-${RUN}`);
  await bed.close();
});

test('a change that somebody else has overtaken is refused and explained', async () => {
  const mine = await openSignedIn();
  await create(mine, `contested-${RUN}`, ['f-text']);
  const theirs = await openSignedIn({ hash: `#/providers/contested-${RUN}` });
  await theirs.test('add-big').waitFor();
  for (const bed of [theirs, mine]) {
    await bed.test('add-big').fill(bed === mine ? 'f-echo' : 'f-long');
    await bed.test('add-big').press('Enter');
    await bed.test('submit').click();
    await toast(bed, bed === mine ? 'Somebody else' : 'is saved');
  }
  assert.deepEqual(await mine.test('tier-big').locator('li .mono').allInnerTexts(), ['f-text', 'f-echo'], 'what was typed stays');
  await remove(theirs, `contested-${RUN}`);
  await Promise.all([mine.close(), theirs.close()]);
});
