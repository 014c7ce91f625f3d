// Pictures of everything in every look: node scripts/screenshots.mjs FOLDER [NAME…], with the bed's variables.
// LOOKS=light-en-1280,… takes some of them, WHOLE=no what fits the window. With CONTROL_PLANE there is an untouched installation too.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { startPlane } from '../specs/plane.mjs';
import { ADMIN_EMAIL, BRIDGE_KEY, BRIDGE_URL, openPage, openSignedIn, settled, signIn, startBrowser, stopBrowser, toast } from '../specs/support.mjs';
import { EMPTY_PAGES, STATES } from './states.mjs';

const HEIGHT = 860;
/** Some answers, and some that fail. */
const TRAFFIC = ['f-text', 'f-echo', 'f-tools', 'f-long', 'f-text', 'f-status-401', 'f-text'];
const INITIAL = 'the first password of somebody';
const UNTOUCHED = 'the password of an untouched one';

const [folder, ...chosen] = process.argv.slice(2);
const looks = process.env.LOOKS?.split(',') ?? ['light', 'dark'].flatMap((theme) => ['en', 'zh-CN'].flatMap((language) => [1280, 360].map((width) => `${theme}-${language}-${width}`)));
const isChosen = (name) => chosen.length === 0 || chosen.includes(name);
mkdirSync(folder, { recursive: true });

function lookOf(name) {
  const [theme, ...rest] = name.split('-');
  return { theme, language: rest.slice(0, -1).join('-'), width: Number(rest.at(-1)), height: HEIGHT };
}

async function take(bed, name, look) {
  await bed.page.mouse.move(0, 0);
  await bed.page.evaluate(() => scrollTo(0, 0));
  await bed.page.evaluate(() => Promise.allSettled(document.getAnimations().filter((it) => Number.isFinite(it.effect?.getComputedTiming().endTime)).map((it) => it.finished)));
  await bed.page.screenshot({ path: join(folder, `${name}-${look}.png`), fullPage: process.env.WHOLE !== 'no' });
}

async function goTo(bed, hash) {
  await bed.page.evaluate((hash) => (location.hash = `#/${hash}`), hash);
  await bed.page.locator(`main[data-location="/${hash}"] h1`).waitFor();
}

/** From anywhere else, so that nothing is left of what was shown before. */
async function showState(bed, { name, hash, before, show, isBusy }, look) {
  await bed.page.keyboard.press('Escape');
  await goTo(bed, hash === 'account' ? '' : 'account');
  await settled(bed);
  await before?.(bed);
  await goTo(bed, hash);
  if (!isBusy) await settled(bed);
  await show?.(bed);
  if (!isBusy) await settled(bed);
  await take(bed, name, look);
  await bed.page.unrouteAll({ behavior: 'ignoreErrors' });
}

async function outside(look) {
  const bed = await openPage(lookOf(look));
  if (isChosen('sign-in')) {
    await bed.test('email').waitFor();
    await take(bed, 'sign-in', look);
    await signIn(bed, { password: 'wrong' });
    await take(bed, 'sign-in-refused', look);
  }
  if (isChosen('first-password')) {
    await signIn(bed, { email: newcomer, password: INITIAL });
    await bed.test('current-password').waitFor();
    await take(bed, 'first-password', look);
  }
  await bed.close();
}

async function inside(look) {
  let bed = await openSignedIn({ ...lookOf(look), hash: '#/account' });
  for (const state of STATES.filter(({ name, isNarrow }) => isChosen(name) && (!isNarrow || lookOf(look).width < 1000))) {
    try {
      await showState(bed, state, look);
    } catch (error) {
      console.log(`${state.name}-${look}: ${String(error).split('\n')[0]}`);
    }
    if (state.isBusy) {
      // A session that ended there has no way on.
      await bed.close();
      bed = await openSignedIn({ ...lookOf(look), hash: '#/account' });
    }
  }
  await bed.close();
}

async function untouched(plane, look) {
  const bed = await openPage({ url: plane.url, ...lookOf(look) });
  await signIn(bed, { password: UNTOUCHED });
  await bed.page.locator('main[data-location] h1').waitFor();
  for (const hash of EMPTY_PAGES) {
    await goTo(bed, hash);
    await settled(bed);
    await take(bed, `untouched-${hash || 'home'}`, look);
  }
  await bed.close();
}

for (const model of TRAFFIC) {
  const body = JSON.stringify({ model, max_tokens: 50, messages: [{ role: 'user', content: 'Hi' }] });
  await (await fetch(`${BRIDGE_URL}/v1/messages`, { method: 'POST', headers: { 'x-api-key': BRIDGE_KEY, 'content-type': 'application/json' }, body })).arrayBuffer();
}
await startBrowser();
const newcomer = `newcomer-${Date.now().toString(36)}@example.com`;
const admin = await openSignedIn({ hash: '#/users' });
await admin.test('create-user').click();
await admin.test('user-email').fill(newcomer);
await admin.test('user-name').fill('A newcomer');
await admin.test('user-password').fill(INITIAL);
await admin.test('submit').click();
await toast(admin, 'The user is there');
await admin.close();
const plane = process.env.CONTROL_PLANE && isChosen('untouched') ? await startPlane({ ADMIN_EMAIL, ADMIN_PASSWORD: UNTOUCHED }) : undefined;
try {
  for (const look of looks) {
    await outside(look);
    await inside(look);
    if (plane !== undefined) await untouched(plane, look);
  }
} finally {
  await plane?.stop();
  await stopBrowser();
}
