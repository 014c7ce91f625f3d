// Pictures of every page in every look: node scripts/screenshots.mjs FOLDER [PAGE…], with the bed's variables.
import { join } from 'node:path';
import { BRIDGE_KEY, openSignedIn, settled, startBrowser, stopBrowser } from '../specs/support.mjs';

const [folder, ...chosen] = process.argv.slice(2);
const PAGES = chosen.length > 0 ? chosen : ['', 'health', 'fleet', 'stats', 'keys', 'providers', 'providers/new', 'models', 'explain', 'playground', 'settings', 'users', 'tokens', 'history', 'audit', 'account'];

await startBrowser();
for (const theme of ['light', 'dark']) {
  for (const language of ['en', 'zh-CN']) {
    const bed = await openSignedIn({ theme, language, hash: '#/account' });
    for (const hash of PAGES) {
      await bed.page.evaluate((hash) => (location.hash = `#/${hash}`), hash);
      await bed.page.locator(`main[data-location="/${hash}"] h1`).waitFor();
      await settled(bed);
      if (hash === 'explain') {
        await bed.test('explain').click();
        await bed.test('candidates').locator('li').first().waitFor();
      }
      if (hash === 'playground') {
        await bed.test('key').fill(BRIDGE_KEY);
        await bed.test('model').fill('f-mixed');
        await bed.test('tool').click();
        await bed.test('question').fill('What is the weather in Paris and in Oslo?');
        await bed.test('send').click();
        await bed.test('send').waitFor();
      }
      await bed.page.mouse.move(0, 0);
      await bed.page.screenshot({ path: join(folder, `${hash.replace('/', '-') || 'home'}-${theme}-${language}.png`) });
    }
    await bed.close();
  }
}
await stopBrowser();
