// A data plane of another machine: from the join token on the screen to the end that an admin makes.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { startPlane } from './plane.mjs';
import { ADMIN_EMAIL, chooseFor, holds, openSignedIn, startBrowser, stopBrowser, toast } from './support.mjs';

const PASSWORD = 'an admin who adds data planes';
/** Short, so that it is renewed while the spec looks. */
const CERTIFICATE_LIFETIME_S = '18';
let plane;

before(async () => {
  plane = await startPlane({ ADMIN_EMAIL, ADMIN_PASSWORD: PASSWORD, FLEET_TLS_ISSUED: 'true', NODE_CERTIFICATE_LIFETIME_S: CERTIFICATE_LIFETIME_S });
  await startBrowser();
});

after(async () => {
  await stopBrowser();
  await plane?.stop();
});

function opened(options = {}) {
  return openSignedIn({ url: plane.url, password: PASSWORD, hash: '#/fleet', ...options });
}

const node = (bed, name) => bed.page.locator(`[data-test="node"][data-key="${name}"]`);
const inNode = (bed, name, part) => node(bed, name).locator(`[data-test="${part}"]`);

test('a name that no data plane can have is refused at its field', async () => {
  const bed = await opened();
  await bed.test('join').click();
  await bed.test('join-name').fill('Zürich');
  await bed.test('make-join').click();
  await bed.page.locator('.field', { has: bed.test('join-name') }).getByRole('alert').waitFor();
  await bed.close();
});

test('the lines on the screen are pasted, its certificate is shown and renewed, and it is revoked until it is gone', async () => {
  const bed = await opened();
  await bed.page.getByText('No data plane').first().waitFor();
  await bed.test('join').click();
  await bed.test('join-name').fill('eu-1');
  await bed.test('make-join').click();
  await bed.test('join-lines').waitFor();
  await bed.test('join-loopback').waitFor();
  await holds(bed, 'a join token');
  await bed.test('join-lines').locator('xpath=..').getByRole('button').click();
  const lines = await bed.page.evaluate(() => navigator.clipboard.readText());
  const token = await bed.test('secret').innerText();
  assert.match(lines, /^export CONTROL_PLANE_URL=https:/);
  assert.ok(lines.includes(`JOIN_TOKEN=${token}`), lines);
  assert.match(await bed.test('join-state').innerText(), /Waiting/);

  await plane.paste(lines);
  await bed.test('join-state').filter({ hasText: 'eu-1 has its certificate' }).waitFor();
  await bed.test('join-done').click();
  assert.ok(!(await bed.page.content()).includes(token), 'gone with its dialog');

  await inNode(bed, 'eu-1', 'node-state').filter({ hasText: 'Up to date' }).waitFor();
  const until = await inNode(bed, 'eu-1', 'certificate-until').innerText();
  const fingerprint = await inNode(bed, 'eu-1', 'fingerprint').innerText();
  assert.match(until, /^until .+/);
  await holds(bed, 'a data plane with a certificate');
  await inNode(bed, 'eu-1', 'fingerprint').filter({ hasNotText: fingerprint }).waitFor();
  assert.notEqual(await inNode(bed, 'eu-1', 'certificate-until').innerText(), until, 'the new certificate lasts longer');

  // Somebody else looks on.
  const other = await opened({ width: 360, theme: 'dark', language: 'zh-CN' });
  await inNode(other, 'eu-1', 'node-state').filter({ hasText: '最新' }).waitFor();
  await chooseFor(bed, 'eu-1', 'revoke');
  await bed.test('confirm').click();
  await toast(bed, 'is revoked');
  await inNode(bed, 'eu-1', 'node-state').filter({ hasText: 'Revoked' }).waitFor();
  await inNode(other, 'eu-1', 'node-state').filter({ hasText: '已吊销' }).waitFor();
  await holds(other, 'a revoked data plane, narrow');
  assert.equal(await bed.test('left-to-do').count(), 0, 'it used no token that others share');

  await chooseFor(bed, 'eu-1', 'forget');
  await bed.test('confirm').click();
  await node(bed, 'eu-1').waitFor({ state: 'detached' });
  await node(other, 'eu-1').waitFor({ state: 'detached' });
  await Promise.all([bed.close(), other.close()]);
});
