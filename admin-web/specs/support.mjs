// What the specs share: a browser, somebody who signs in, and what must hold on every page.
// The bed's variables say where everything is; see ../README.md.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export const { ADMIN_URL, ADMIN_EMAIL, ADMIN_PASSWORD, BRIDGE_URL, BRIDGE_KEY, UPSTREAM_URL } = process.env;
/** Shared machines are slow; a condition that holds ends the wait. */
const PATIENCE_MS = 30_000;
/** Longer than the window in which the server counts tries. */
const SIGN_IN_PATIENCE_MS = 100_000;
const LOGIN = '**/bridge.admin.v1.AuthService/Login';
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const QUIET = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'];

let browser;
export async function startBrowser() {
  browser = await chromium.launch({ executablePath: CHROMIUM, args: QUIET });
}
export async function stopBrowser() {
  await browser?.close();
}

/** A page of its own, with what it complained about. */
export async function openPage({ url = ADMIN_URL, hash = '', width = 1280, height = 860, theme = 'light', language = 'en' } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, permissions: ['clipboard-read', 'clipboard-write'] });
  context.setDefaultTimeout(PATIENCE_MS);
  await context.addInitScript(
    ([theme, language]) => {
      // Only the first time: what is chosen in a spec stays.
      if (localStorage.getItem('theme') !== null) return;
      localStorage.setItem('theme', theme);
      localStorage.setItem('language', language);
    },
    [theme, language],
  );
  const page = await context.newPage();
  const complaints = [];
  page.on('console', (message) => {
    if (message.type() === 'error' && !isRefusal(message.text())) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  await page.goto(`${url}/${hash}`);
  return { page, complaints, test: (name) => page.locator(`[data-test="${name}"]`), close: () => context.close() };
}

/** A refused call is an answer, and browsers report its status. */
function isRefusal(text) {
  return text.startsWith('Failed to load resource');
}

/** What a refusal says to whoever tries too often, in both languages. */
const WAIT = /try again in (\d+) s|(\d+) 秒后重试/;
function secondsToWait(text) {
  const [, english, chinese] = WAIT.exec(text) ?? [];
  return english ?? chinese;
}

/**
 * Until the server has said yes or no. All specs come from one address, which has so many tries a
 * minute: who is told to wait waits, as a person would.
 */
export async function signIn(bed, { email = ADMIN_EMAIL, password = ADMIN_PASSWORD } = {}) {
  const outcome = bed.page.locator('main[data-location], [data-test="set-password"], [data-test="refusal"]').first();
  const deadline = Date.now() + SIGN_IN_PATIENCE_MS;
  for (;;) {
    await bed.test('email').fill(email);
    await bed.test('password').fill(password);
    await bed.test('sign-in').click();
    await outcome.waitFor();
    const seconds = secondsToWait(await outcome.innerText());
    if (seconds === undefined || (await bed.test('refusal').count()) === 0) return;
    assert.ok(Date.now() < deadline, 'a try within the window of the sign-in limit');
    await bed.page.waitForTimeout(Number(seconds) * 1000);
  }
}

/** Presses a button that tries a password, until that is done; it may be told to wait, as a sign-in may. */
export async function patiently(bed, button, done) {
  const refusal = bed.page.getByText(WAIT).first();
  const outcome = refusal.or(done).first();
  const deadline = Date.now() + SIGN_IN_PATIENCE_MS;
  for (;;) {
    await bed.test(button).click();
    await outcome.waitFor();
    const seconds = secondsToWait(await outcome.innerText());
    if (seconds === undefined) return;
    assert.ok(Date.now() < deadline, 'a try within the window of the sign-in limit');
    await bed.page.waitForTimeout(Number(seconds) * 1000);
    await refusal.waitFor({ state: 'hidden' });
  }
}

/** What the server answered when this file signed in, by the address of the installation. */
const signedIn = new Map();

/**
 * At the page that was asked for. The page of the sign-in has a heading too.
 *
 * A file signs in once: what the server answered then is the answer that later pages get, since it takes
 * so many passwords a minute. Who signs out, or is about signing in, has `signIn`.
 */
export async function openSignedIn({ password = ADMIN_PASSWORD, ...options } = {}) {
  const bed = await openPage(options);
  const { url = ADMIN_URL } = options;
  const known = signedIn.get(url);
  await bed.page.route(LOGIN, async (route) => {
    if (known !== undefined) return route.fulfill(known);
    const response = await route.fetch();
    signedIn.set(url, { response, body: await response.body() });
    return route.fulfill({ response });
  });
  await signIn(bed, { password });
  await bed.page.locator('main[data-location] h1').waitFor();
  // Whoever's session ends later on signs in anew.
  await bed.page.unroute(LOGIN);
  return bed;
}

/** Settled: nothing is loading. */
export async function settled({ page }) {
  await page.waitForFunction(() => document.querySelector('.skeleton, [aria-busy=true]') === null && document.querySelector('main[data-location] h1') !== null);
}

/** 0 serious or critical violations, nothing wider than the window, nothing that the policy refused. */
export async function holds(bed, where) {
  // What is still fading in or out has the contrast of neither.
  await bed.page.locator('[data-sonner-toast][data-removed="true"]').first().waitFor({ state: 'detached' });
  await bed.page.evaluate(() => Promise.allSettled(document.getAnimations().filter((it) => Number.isFinite(it.effect?.getComputedTiming().endTime)).map((it) => it.finished)));
  // It stays until the page is loaded anew.
  if (!(await bed.page.evaluate(() => 'axe' in globalThis))) await bed.page.evaluate(axe);
  const { violations } = await bed.page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  const bad = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  assert.deepEqual(bad.map(({ id, nodes }) => `${id}: ${nodes.map((it) => it.html.slice(0, 160)).join(' | ')}`), [], `axe at ${where}`);
  const excess = await bed.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(excess <= 0, `${where} is ${excess} px too wide`);
  assert.deepEqual(bed.complaints, [], `complaints at ${where}`);
}

/** The menu of a row, and one of its items. */
export async function chooseFor(bed, key, item) {
  await bed.page.locator(`[data-key="${key}"] [data-test="actions"]`).click();
  await bed.test(item).click();
}

export async function toast({ page }, text) {
  await page.locator('[data-sonner-toast]', { hasText: text }).first().waitFor();
}

/** An option of one of our selects. */
export async function choose(bed, name, label) {
  await bed.test(name).click();
  await bed.page.getByRole('listbox').getByRole('option', { name: label }).first().click();
}

/** What nodes report comes every few seconds. */
export async function until(condition, patienceMs = 60_000) {
  const deadline = Date.now() + patienceMs;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, 'in time');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
