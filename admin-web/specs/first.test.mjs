// A newcomer on an installation of its own: nothing but the screen, and nothing but clicks.
import { execFile } from 'node:child_process';
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { promisify } from 'node:util';
import { startPlane } from './plane.mjs';
import { choose, holds, openPage, settled, signIn, startBrowser, stopBrowser, toast, until, UPSTREAM_URL } from './support.mjs';

const PASSWORD = 'a newcomer chooses well';
let plane;

before(async () => {
  plane = await startPlane();
  await plane.addDataPlane('edge-1');
  await startBrowser();
});

after(async () => {
  await stopBrowser();
  await plane?.stop();
});

/** What the clipboard holds after a click on the button that copies this. */
async function copied(bed, name) {
  await bed.page.locator(`[data-test="${name}"]`).locator('xpath=..').getByRole('button').click();
  return bed.page.evaluate(() => navigator.clipboard.readText());
}

/** In a shell of somebody who has nothing else. */
async function inShell(lines) {
  const { stdout } = await promisify(execFile)('bash', ['-c', lines], { env: { PATH: process.env.PATH } });
  return stdout;
}

test('from the documented password to the first answer, reading only the screen', async () => {
  const bed = await openPage({ url: plane.url });
  const link = (name) => bed.page.getByRole('link', { name, exact: true }).first();
  const hint = await bed.test('default-hint').innerText();
  const [, email, password] = /(\S+@\S+) \/ (\S+)/.exec(hint) ?? [];
  await holds(bed, 'the first sign-in');
  await signIn(bed, { email, password });
  await bed.test('current-password').fill(password);
  await bed.test('new-password').fill('short');
  await bed.test('new-password-again').fill('short');
  await bed.test('set-password').click();
  await bed.page.getByRole('alert').first().waitFor();
  await bed.test('new-password').fill(PASSWORD);
  await bed.test('new-password-again').fill(PASSWORD);
  await bed.test('set-password').click();
  await bed.page.locator('main[data-location] h1').waitFor();
  await settled(bed);
  await holds(bed, 'the home page of a new installation');

  await bed.page.getByRole('link', { name: 'Add a provider' }).click();
  await choose(bed, 'preset', 'Ollama');
  await bed.test('base-url').fill(UPSTREAM_URL);
  for (const tier of ['big', 'middle', 'small']) {
    await bed.test(`add-${tier}`).fill('f-text');
    await bed.test(`add-${tier}`).press('Enter');
  }
  await bed.test('submit').click();
  await toast(bed, 'ollama is there');
  await bed.test('test').click();
  await bed.test('run-test').click();
  await bed.test('test-result').filter({ hasText: 'It answers' }).waitFor();
  await bed.page.keyboard.press('Escape');

  await link('API keys').click();
  await bed.page.getByText('No API keys yet').waitFor();
  await bed.test('create-key').click();
  await bed.test('name').fill('mine');
  await bed.test('submit').click();
  const key = await copied(bed, 'secret');
  const lines = await copied(bed, 'shell');
  await bed.test('secret-done').click();

  await link('Home').click();
  for (const part of ['ANTHROPIC_DEFAULT_OPUS_MODEL=', 'ANTHROPIC_DEFAULT_HAIKU_MODEL=', '\nclaude']) assert.ok(lines.includes(part), lines);
  assert.ok(lines.includes(`ANTHROPIC_API_KEY=${key}\n`), 'with the key that was made');
  const exports = lines.replace(/\nclaude$/, '');
  const check = await copied(bed, 'check');
  const answer = JSON.parse(await inShell(`${exports}\n${check} --silent`));
  assert.equal(answer.type, 'message', JSON.stringify(answer));

  await link('Playground').click();
  await bed.test('key').fill(key);
  await bed.test('question').fill('Hello');
  await bed.test('send').click();
  await bed.test('text-block').filter({ hasText: 'fox' }).waitFor();
  await link('Home').click();
  await until(async () => {
    await link('Statistics').click();
    await settled(bed);
    await link('Home').click();
    await settled(bed);
    return (await bed.test('number-requests').innerText()).includes('2');
  });
  await bed.close();

  const again = await openPage({ url: plane.url });
  await again.test('email').waitFor();
  assert.equal(await again.test('default-hint').count(), 0, 'the hint is gone with the password');
  await again.close();
});
