// What the control plane refuses, in the words of whoever reads it.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { ADMIN_EMAIL, chooseFor, holds, openPage, openSignedIn, signIn, startBrowser, stopBrowser, toast } from './support.mjs';

const CHINESE = { language: 'zh-CN' };

before(startBrowser);
after(stopBrowser);

/** What a field says of what is in it. */
function complaint(bed, name) {
  return bed.page.locator('.field', { has: bed.test(name) }).getByRole('alert');
}

async function says(bed, name, text) {
  await complaint(bed, name).filter({ hasText: text }).waitFor();
  assert.doesNotMatch(await complaint(bed, name).innerText(), /must|is not/);
}

for (const [language, words] of [['en', 'E-mail or password is wrong'], ['zh-CN', '邮箱或密码不正确']]) {
  test(`a refused sign-in, ${language}`, async () => {
    const bed = await openPage({ language });
    await signIn(bed, { password: 'not the password' });
    assert.equal(await bed.test('refusal').innerText(), words);
    await bed.close();
  });
}

test('fields of a key, a user, a provider, a rule, a data plane and the settings', async () => {
  const bed = await openSignedIn({ ...CHINESE, hash: '#/keys' });
  const go = (hash) => bed.page.evaluate((it) => (location.hash = it), hash);
  await bed.test('create-key').click();
  await bed.test('name').fill('x'.repeat(500));
  await bed.test('submit').click();
  await says(bed, 'name', /最多 \d+ 个字符/);
  await toast(bed, '名称：最多');
  await bed.page.keyboard.press('Escape');

  await go('#/users');
  await bed.test('create-user').click();
  await bed.test('user-email').fill('nobody@');
  await bed.test('user-name').fill('Nobody');
  await bed.test('user-password').fill('short');
  await bed.test('user-email').evaluate((it) => it.form?.setAttribute('novalidate', ''));
  await bed.test('submit').click();
  await says(bed, 'user-email', '必须是邮箱地址');
  await says(bed, 'user-password', /至少 \d+ 个字符/);
  await bed.page.keyboard.press('Escape');

  await go('#/providers/new');
  await bed.test('provider-name').fill('Not A Name');
  await bed.test('base-url').fill('ftp://elsewhere.example');
  await bed.test('submit').click();
  await says(bed, 'provider-name', '[a-z0-9._-]');
  await says(bed, 'base-url', '必须以 http:// 或 https:// 开头');
  await toast(bed, '基础地址：必须以 http:// 或 https:// 开头');
  await holds(bed, 'refused fields, in Chinese');

  await go('#/settings');
  await bed.test('attempts').fill('9999');
  await bed.test('submit').click();
  await says(bed, 'attempts', /必须是 1 到 \d+/);
  await toast(bed, '单个请求的最多调用次数：必须是 1 到');

  await go('#/fleet');
  await bed.test('join').click();
  await bed.test('join-name').fill('Zürich');
  await bed.test('make-join').click();
  await says(bed, 'join-name', 'ASCII 字符');
  await bed.close();
});

test('what is refused as a whole', async () => {
  const bed = await openSignedIn({ ...CHINESE, hash: '#/users' });
  const me = await bed.page.locator('tbody tr', { hasText: ADMIN_EMAIL }).getAttribute('data-key');
  await chooseFor(bed, me, 'toggle');
  await toast(bed, '必须保留最后一个启用的管理员');
  await bed.page.evaluate(() => (location.hash = '#/providers/new'));
  await bed.test('provider-name').fill('scripted');
  await bed.test('base-url').fill('https://elsewhere.example/v1');
  await bed.test('add-big').fill('f-text');
  await bed.test('submit').click();
  await toast(bed, '服务商 scripted 已存在');
  await bed.close();
});

test('a sentence that is not known is told as it is, beneath ours', async () => {
  const bed = await openSignedIn(CHINESE);
  await bed.page.route('**/bridge.admin.v1.UserService/ListUsers', (route) => route.fulfill({ status: 200, contentType: 'application/grpc-web+proto', headers: { 'grpc-status': '9', 'grpc-message': 'the moon is in the wrong house' }, body: '' }));
  await bed.page.evaluate(() => (location.hash = '#/users'));
  await bed.test('failure').filter({ hasText: '控制平面拒绝了此操作' }).filter({ hasText: 'the moon is in the wrong house' }).waitFor();
  await holds(bed, 'a sentence that is not known');
  await bed.close();
});

test('a control plane that cannot be reached is told apart from one that refuses', async () => {
  const bed = await openSignedIn(CHINESE);
  await bed.page.route('**/bridge.admin.v1.UserService/ListUsers', (route) => route.abort());
  await bed.page.evaluate(() => (location.hash = '#/users'));
  await bed.test('failure').filter({ hasText: '无法连接控制平面' }).waitFor();
  await bed.page.unroute('**/bridge.admin.v1.UserService/ListUsers');
  await bed.test('failure').getByRole('button').click();
  await bed.page.locator('tbody tr', { hasText: ADMIN_EMAIL }).waitFor();
  await bed.close();
});
