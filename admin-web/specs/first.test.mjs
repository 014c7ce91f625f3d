// A newcomer: nothing but the screen, on an installation of its own.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { choose, holds, openPage, settled, signIn, startBrowser, stopBrowser, toast } from './support.mjs';

const { CONTROL_PLANE } = process.env;
const PASSWORD = 'a newcomer chooses well';
const folder = mkdtempSync(join(tmpdir(), 'admin-web-'));
let plane;
let url;

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

before(async () => {
  const [admin, fleet, ops] = [await freePort(), await freePort(), await freePort()];
  url = `http://127.0.0.1:${admin}`;
  const env = {
    PATH: process.env.PATH,
    ADMIN_LISTEN: `127.0.0.1:${admin}`,
    FLEET_LISTEN: `127.0.0.1:${fleet}`,
    OPS_LISTEN: `127.0.0.1:${ops}`,
    DATABASE_PATH: join(folder, 'store'),
    NODE_TOKEN_FILE: join(folder, 'node-token'),
    PROVIDER_CONFIG_PATH: join(folder, 'none.json'),
  };
  plane = spawn(CONTROL_PLANE, [], { cwd: folder, env, stdio: 'ignore' });
  const deadline = Date.now() + 30_000;
  for (;;) {
    const isReady = await fetch(`http://127.0.0.1:${ops}/readyz`).then((it) => it.ok, () => false);
    if (isReady) break;
    assert.ok(Date.now() < deadline && plane.exitCode === null, 'the control plane starts');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await startBrowser();
});

after(async () => {
  await stopBrowser();
  if (plane?.exitCode === null) {
    plane.kill();
    await once(plane, 'exit');
  }
  rmSync(folder, { recursive: true, force: true });
});

test('from the documented password to the lines for Claude Code', async () => {
  const bed = await openPage({ url });
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
  await bed.test('add-big').fill('qwen3:0.6b');
  await bed.test('submit').click();
  await toast(bed, 'ollama is there');

  await bed.page.evaluate(() => (location.hash = '#/keys'));
  await bed.page.getByText('No API keys yet').waitFor();
  await bed.test('create-key').click();
  await bed.test('name').fill('mine');
  await bed.test('submit').click();
  await bed.test('secret').waitFor();
  await bed.test('secret-done').click();

  await bed.page.evaluate(() => (location.hash = '#/'));
  const lines = await bed.test('shell').innerText();
  for (const part of ['ANTHROPIC_BASE_URL=http://127.0.0.1:8000', 'ANTHROPIC_DEFAULT_OPUS_MODEL=', 'ANTHROPIC_DEFAULT_HAIKU_MODEL=', 'claude']) assert.ok(lines.includes(part), lines);
  await bed.close();

  const again = await openPage({ url });
  await again.test('email').waitFor();
  assert.equal(await again.test('default-hint').count(), 0, 'the hint is gone with the password');
  await again.close();
});
