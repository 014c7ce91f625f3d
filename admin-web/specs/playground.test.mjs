// The playground: a message through a data plane, and everything that comes of it.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { BRIDGE_KEY, holds, openSignedIn, settled, startBrowser, stopBrowser, until } from './support.mjs';

before(startBrowser);
after(stopBrowser);

async function opened(model, options = {}) {
  const bed = await openSignedIn({ hash: '#/playground', ...options });
  await settled(bed);
  await bed.test('key').fill(BRIDGE_KEY);
  await bed.test('model').fill(model);
  return bed;
}

async function ask(bed, question) {
  await bed.test('question').fill(question);
  await bed.test('question').press('Enter');
}

const last = (bed, name) => bed.test('turn').last().locator(`[data-test="${name}"]`);
const over = (bed) => bed.test('send').waitFor();

test('an answer streams in, with its tokens, its provider and the raw events', async () => {
  const bed = await opened('f-text');
  assert.ok(await bed.test('send').isDisabled(), 'there is nothing to send');
  await ask(bed, 'Hello');
  await over(bed);
  assert.ok((await last(bed, 'text-block').innerText()).length > 0);
  assert.match(await last(bed, 'tokens').innerText(), /tokens in[\s\S]*tokens out[\s\S]*scripted \/ f-text[\s\S]*end_turn/);
  await bed.test('turn').last().getByText('Raw').click();
  assert.match(await last(bed, 'events').innerText(), /event: message_start[\s\S]*event: message_stop/);
  await holds(bed, 'an answer in the playground');
  const kept = await bed.page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
  assert.ok(!kept.includes(BRIDGE_KEY), 'the key is kept nowhere');
  await bed.close();
});

test('thinking and calls of tools are shown, and the tool is answered by hand', async () => {
  const bed = await opened('f-think');
  await bed.test('thinking').click();
  await ask(bed, 'Think');
  await over(bed);
  await last(bed, 'thinking-block').waitFor();
  await bed.test('clear').click();
  await bed.test('model').fill('f-tools');
  await bed.test('tool').click();
  await ask(bed, 'The weather in Rome?');
  await over(bed);
  await last(bed, 'tool-block').first().waitFor();
  await holds(bed, 'a call of a tool');
  await bed.test('model').fill('f-text');
  await bed.page.getByPlaceholder('What the tool answers').fill('Sunny');
  await bed.test('send').click();
  await over(bed);
  assert.equal(await bed.test('turn').count(), 2, 'the conversation goes on');
  assert.equal(await last(bed, 'error').count(), 0);
  await bed.close();
});

test('a refusal is shown in the words of the data plane', async () => {
  const bed = await opened('f-text', { language: 'zh-CN', theme: 'dark', width: 360 });
  await bed.test('key').fill('sk-bridge-none');
  await ask(bed, 'Hello');
  await last(bed, 'error').waitFor();
  assert.match(await last(bed, 'error').innerText(), /401 authentication_error/);
  await holds(bed, 'a refused message');
  await bed.close();
});

test('an answer ends with the button and with the page, down to the provider', async () => {
  // This model is silent for minutes after its first words.
  const model = 'f-pause-330';
  const bed = await openSignedIn({ hash: '#/stats' });
  const rows = bed.page.locator('tbody tr', { hasText: model });
  await bed.test('tab-requests').click();
  await settled(bed);
  const before = await rows.count();
  await bed.page.evaluate(() => (location.hash = '#/playground'));
  await bed.test('key').fill(BRIDGE_KEY);
  await bed.test('model').fill(model);
  await bed.test('target').click();
  await bed.page.getByRole('listbox').getByRole('option').last().click();
  await ask(bed, 'Go on');
  await last(bed, 'text-block').waitFor();
  await bed.test('stop').click();
  await last(bed, 'stopped').waitFor();
  await ask(bed, 'And again');
  await last(bed, 'text-block').waitFor();
  await bed.page.evaluate(() => (location.hash = '#/stats'));
  // Only what has ended is in the request log.
  await until(async () => {
    await bed.test('tab-usage').click();
    await bed.test('tab-requests').click();
    await settled(bed);
    return (await rows.count()) >= before + 2;
  });
  await bed.close();
});
