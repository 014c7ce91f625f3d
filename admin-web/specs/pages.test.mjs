// Every page, in both themes, both languages, wide and narrow.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { holds, openPage, openSignedIn, settled, startBrowser, stopBrowser } from './support.mjs';

const PAGES = ['', 'health', 'fleet', 'stats', 'keys', 'providers', 'providers/new', 'providers/scripted', 'models', 'explain', 'playground', 'settings', 'users', 'tokens', 'history', 'audit', 'account', 'nowhere'];
const LOOKS = [
  { theme: 'light', language: 'en', width: 1280 },
  { theme: 'dark', language: 'zh-CN', width: 360 },
  { theme: 'dark', language: 'en', width: 1280 },
];

before(startBrowser);
after(stopBrowser);

test('the page before anybody has signed in', async () => {
  for (const look of LOOKS) {
    const bed = await openPage(look);
    await bed.test('email').waitFor();
    await holds(bed, `sign in, ${look.theme} ${look.language} ${look.width}`);
    await bed.close();
  }
});

for (const look of LOOKS) {
  const name = `${look.theme} ${look.language} ${look.width}`;
  test(`every page, ${name}`, async (t) => {
    const bed = await openSignedIn(look);
    for (const hash of PAGES) {
      await t.test(`#/${hash}`, async () => {
        await bed.page.evaluate((hash) => (location.hash = `#/${hash}`), hash);
        await bed.page.locator(`main[data-location="/${hash}"] h1`).waitFor();
        await settled(bed);
        await holds(bed, `#/${hash}, ${name}`);
      });
    }
    await bed.close();
  });
}

test('Chinese is complete: no page says an English word of ours', async () => {
  const bed = await openSignedIn({ language: 'zh-CN' });
  const navigation = await bed.page.locator('nav[aria-label]').first().innerText();
  assert.doesNotMatch(navigation.replaceAll('API', ''), /[A-Za-z]{3}/);
  await bed.page.reload();
  await bed.test('email').waitFor();
  assert.equal(await bed.page.evaluate(() => document.documentElement.lang), 'zh-CN', 'the choice is remembered');
  await bed.close();
});

test('theme and language are chosen and remembered, and nothing else is kept', async () => {
  const bed = await openSignedIn({});
  await settled(bed);
  await bed.test('theme').selectOption('Dark');
  assert.equal(await bed.page.evaluate(() => document.documentElement.dataset.theme), 'dark');
  const kept = await bed.page.evaluate(() => ({ local: Object.keys(localStorage).sort(), session: sessionStorage.length, cookies: document.cookie }));
  assert.deepEqual(kept, { local: ['language', 'theme'], session: 0, cookies: '' });
  await bed.close();
});
