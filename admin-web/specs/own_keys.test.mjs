// What people may do with keys of their own, set by an admin and met by a user, on an installation of its own.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { ownPlane } from './plane.mjs';
import { choose, chooseFor, holds, openPage, settled, signIn, toast } from './support.mjs';

const PASSWORD = 'an admin who sets limits';
const USER = { email: 'person@example.com', initial: 'a password from the admin', own: 'a password of their own' };
const plane = ownPlane(PASSWORD);

async function opened(who, options) {
  const bed = await openPage({ url: plane.url, ...options });
  await signIn(bed, who);
  return bed;
}

test('an admin says how many keys users may own, and with what limits', async () => {
  const bed = await opened({ password: PASSWORD }, { hash: '#/settings' });
  await bed.test('max-keys').fill('999999');
  await bed.test('submit').click();
  await bed.page.locator('.field', { has: bed.test('max-keys') }).getByRole('alert').waitFor();
  await bed.test('max-keys').fill('1');
  await bed.test('requests-per-minute').fill('60');
  await bed.test('budget-add').click();
  await bed.test('budget-amount').fill('5000');
  await bed.test('submit').click();
  await toast(bed, 'saved');
  await settled(bed);
  assert.equal(await bed.test('max-keys').inputValue(), '1');
  assert.equal(await bed.test('requests-per-minute').inputValue(), '60');
  await holds(bed, 'what users may do');

  await bed.page.evaluate(() => (location.hash = '#/users'));
  await bed.test('create-user').click();
  await bed.test('user-email').fill(USER.email);
  await bed.test('user-name').fill('A person');
  await choose(bed, 'role', 'User');
  await bed.test('user-password').fill(USER.initial);
  await bed.test('submit').click();
  await toast(bed, 'The user is there');
  await bed.close();
});

test('a user is told what is too much, gets what the admin has set, and no second key', async () => {
  const bed = await opened({ email: USER.email, password: USER.initial }, { hash: '#/keys', language: 'zh-CN' });
  await bed.test('current-password').fill(USER.initial);
  await bed.test('new-password').fill(USER.own);
  await bed.test('new-password-again').fill(USER.own);
  await bed.test('set-password').click();
  await bed.test('create-key').click();
  await bed.test('name').fill('mine');
  await bed.test('requests-per-minute').fill('61');
  await bed.test('submit').click();
  await bed.page.locator('.field', { has: bed.test('requests-per-minute') }).getByRole('alert').filter({ hasText: '最大为 60' }).waitFor();
  await holds(bed, 'more than a user may have');
  await bed.test('requests-per-minute').fill('');
  await bed.test('submit').click();
  const id = (await bed.test('secret').innerText()).split('-')[2];
  await bed.test('secret-done').click();
  await chooseFor(bed, id, 'edit');
  assert.equal(await bed.test('requests-per-minute').inputValue(), '60');
  assert.equal(await bed.test('budget-amount').inputValue(), '5000');
  await bed.page.keyboard.press('Escape');
  await bed.test('create-key').click();
  await bed.test('name').fill('one too many');
  await bed.test('submit').click();
  await toast(bed, '最多 1 个每位用户的 API 密钥');
  await bed.close();
});
