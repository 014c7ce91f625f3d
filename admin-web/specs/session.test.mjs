// Signing in, out, and what happens to a page whose session ends.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { chooseFor, holds, openPage, openSignedIn, patiently, signIn, startBrowser, stopBrowser, toast } from './support.mjs';

const PASSWORDS = ['the first long password', 'the second long password', 'the third long password'];

before(startBrowser);
after(stopBrowser);

test('who is not signed in signs in, and comes to the page that was asked for', async () => {
  const bed = await openPage({ hash: '#/models' });
  await signIn(bed, { password: 'wrong' });
  await bed.test('refusal').waitFor();
  await holds(bed, 'a refused sign-in');
  await signIn(bed);
  await bed.page.locator('main[data-location="/models"] h1', { hasText: 'Model rules' }).waitFor();
  await bed.test('sign-out').click();
  await bed.test('email').waitFor();
  await bed.close();
});

test('a person signs in for the first time, and a session that ends leaves the half-filled form as it is', async () => {
  const email = `person-${Date.now().toString(36)}@example.com`;
  const admin = await openSignedIn({ hash: '#/users' });
  await admin.test('create-user').click();
  await admin.test('user-email').fill(email);
  await admin.test('user-name').fill('A person');
  await admin.test('user-password').fill(PASSWORDS[0]);
  await admin.test('submit').click();
  await toast(admin, 'The user is there');

  const first = await openPage({ hash: '#/keys' });
  await signIn(first, { email, password: PASSWORDS[0] });
  await first.test('new-password').waitFor();
  await holds(first, 'the forced change of the password');
  await first.test('current-password').fill(PASSWORDS[0]);
  await first.test('new-password').fill(PASSWORDS[1]);
  await first.test('new-password-again').fill(PASSWORDS[1]);
  await patiently(first, 'set-password', first.page.getByText('Your password is changed'));
  await first.test('create-key').click();
  await first.test('name').fill('half-filled');

  // Their own change of the password elsewhere ends this session.
  const second = await openPage({ hash: '#/account' });
  await signIn(second, { email, password: PASSWORDS[1] });
  await second.test('current-password').fill(PASSWORDS[1]);
  await second.test('new-password').fill(PASSWORDS[2]);
  await second.test('new-password-again').fill(PASSWORDS[2]);
  await patiently(second, 'set-password', second.page.getByText('Your password is changed'));

  await first.test('submit').click();
  await first.page.getByText('Your session has ended').waitFor();
  await holds(first, 'the dialog of an ended session');
  assert.equal(await first.page.evaluate(() => document.activeElement?.dataset.test), 'password', 'the password is all that is asked for');
  await first.test('password').fill(PASSWORDS[2]);
  // The call that was refused goes on: the key is made without another click.
  await patiently(first, 'sign-in', first.test('secret'));
  await first.test('secret-done').click();
  await first.page.locator('tbody tr', { hasText: 'half-filled' }).waitFor();
  assert.equal(await first.page.locator('nav a[href="#/users"]').count(), 0, 'a user is offered what is theirs');

  await Promise.all([first.close(), second.close()]);
  // The person has changed since this list was made; a search asks again.
  await admin.test('search').fill(email);
  await admin.page.locator('tbody tr').nth(1).waitFor({ state: 'detached' });
  const row = await admin.page.locator('tbody tr', { hasText: email }).getAttribute('data-key');
  await chooseFor(admin, row, 'toggle');
  await toast(admin, 'disabled');
  await admin.close();
});

test('everything of a key can be done by keyboard', async () => {
  const bed = await openPage({ hash: '#/keys' });
  const { page } = bed;
  await bed.test('email').focus();
  await page.keyboard.type(process.env.ADMIN_EMAIL);
  await page.keyboard.press('Tab');
  await page.keyboard.type(process.env.ADMIN_PASSWORD);
  await page.keyboard.press('Enter');
  await bed.test('create-key').waitFor();
  await tabTo(page, 'create-key');
  await page.keyboard.press('Enter');
  await bed.test('name').waitFor();
  await tabTo(page, 'name');
  await page.keyboard.type('by keyboard');
  await page.keyboard.press('Enter');
  await bed.test('secret').waitFor();
  await tabTo(page, 'secret-done');
  await page.keyboard.press('Enter');
  const row = page.locator('tbody tr', { hasText: 'by keyboard' }).first();
  await row.waitFor();
  await row.locator('[data-test="actions"]').focus();
  await page.keyboard.press('Enter');
  await bed.test('delete').waitFor();
  await page.keyboard.press('End');
  await page.keyboard.press('Enter');
  await bed.test('confirm').waitFor();
  await page.keyboard.press('Escape');
  await bed.test('confirm').waitFor({ state: 'detached' });
  await bed.close();
});

async function tabTo(page, name) {
  for (let steps = 0; steps < 60; steps += 1) {
    if ((await page.evaluate(() => document.activeElement?.dataset.test)) === name) return;
    await page.keyboard.press('Tab');
  }
  assert.fail(`${name} cannot be reached by Tab`);
}
