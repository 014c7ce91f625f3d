// Pages of strangers that want something of the admin, and texts that want to be more than texts.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPlane } from './plane.mjs';
import { choose, openPage, settled, signIn, startBrowser, stopBrowser, toast, until } from './support.mjs';

const ADMIN_EMAIL = 'admin@example.com';
const PASSWORD = 'an admin with many visitors';
/** Whatever of it is run leaves its mark on the window. */
const TEXT = `"><img src=x onerror="window.ran=1"><svg onload=window.ran=1><script>window.ran=1</script>'\${window.ran=1}{{window.ran=1}}`;
/** The same where neither spaces nor quotes are allowed. */
const MODEL = '<img/src=x/onerror=window.ran=1><svg/onload=window.ran=1>';
const LINK = 'javascript:window.ran=1';
const PAGES = ['', 'health', 'fleet', 'stats', 'keys', 'providers', 'providers/hostile', 'models', 'explain', 'playground', 'settings', 'users', 'tokens', 'history', 'audit', 'account'];
let plane;
let folder;
let upstream;
let stranger;

/** An HTTP server that says the same to everybody. */
async function serve(status, type, body) {
  const server = createServer((_, response) => response.writeHead(status, { 'content-type': type }).end(body)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: server.address().port, close: () => server.close() };
}

before(async () => {
  upstream = await serve(400, 'application/json', JSON.stringify({ error: { message: TEXT, type: TEXT, code: TEXT } }));
  stranger = await serve(200, 'text/html', '<!doctype html><title>A stranger</title><body></body>');
  folder = mkdtempSync(join(tmpdir(), 'hostile-'));
  const file = join(folder, 'provider.json');
  const models = { big: [MODEL], middle: [LINK], small: ['plain'] };
  writeFileSync(file, JSON.stringify({ providers: [{ name: 'hostile', enabled: true, priority: 1, api_key: 'sk-hostile', base_url: `http://127.0.0.1:${upstream.port}/v1`, models }] }));
  plane = await startPlane({ ADMIN_EMAIL, ADMIN_PASSWORD: PASSWORD, PROVIDER_CONFIG_PATH: file });
  await plane.addDataPlane('n1');
  await startBrowser();
});

after(async () => {
  await stopBrowser();
  await plane?.stop();
  upstream?.close();
  stranger?.close();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

/** Signed in, with an eye on everything that runs or is refused by the policy. */
async function opened(hash = '#/users') {
  const bed = await openPage({ url: plane.url, hash });
  const refused = [];
  await bed.page.exposeFunction('refusedByPolicy', (what) => refused.push(what));
  await bed.page.addInitScript(() => addEventListener('securitypolicyviolation', (it) => window.refusedByPolicy(`${it.violatedDirective} ${it.blockedURI}`)));
  const dialogs = [];
  bed.page.on('dialog', (dialog) => {
    dialogs.push(dialog.message());
    dialog.dismiss();
  });
  await bed.page.reload();
  await signIn(bed, { email: ADMIN_EMAIL, password: PASSWORD });
  await bed.page.locator('main[data-location] h1').waitFor();
  return { ...bed, refused, dialogs };
}

async function nothingRan(bed, where) {
  const ran = await bed.page.evaluate(() => ({ ran: window.ran, scripts: document.querySelectorAll('script:not([src])').length, links: document.querySelectorAll('a[href^="javascript:" i]').length }));
  assert.deepEqual(ran, { ran: undefined, scripts: 0, links: 0 }, `at ${where}`);
  assert.deepEqual(bed.refused, [], `refused by the policy at ${where}`);
  assert.deepEqual(bed.dialogs, [], `dialogs at ${where}`);
  assert.deepEqual(bed.complaints, [], `complaints at ${where}`);
}

async function go(bed, hash) {
  await bed.page.evaluate((hash) => (location.hash = `#/${hash}`), hash);
  await bed.page.locator(`main[data-location="/${hash}"] h1`).waitFor();
  await settled(bed);
}

test('a text in a name, a pattern, a model, an address or a refusal is shown as text', async () => {
  const bed = await opened();
  await bed.test('create-user').click();
  await bed.test('user-email').fill('<img/src=x/onerror=window.ran=1>@example.com');
  await bed.test('user-name').fill(TEXT.slice(0, 60));
  await bed.test('user-password').fill('a user with a strange name');
  await bed.test('submit').click();
  // Such an address is refused at its field, or it is shown as it is.
  await bed.page.locator('.field [role=alert], input:invalid, tbody tr:has-text("<img/src=x")').first().waitFor();
  await nothingRan(bed, 'a new user');
  if (await bed.test('submit').isVisible()) {
    await bed.test('user-email').fill('strange@example.com');
    await bed.test('submit').click();
  }
  await toast(bed, 'The user is there');
  await bed.page.locator('tbody', { hasText: TEXT.slice(0, 40) }).waitFor();

  await go(bed, 'keys');
  await bed.test('create-key').click();
  await bed.test('name').fill(TEXT.slice(0, 60));
  await bed.test('submit').click();
  await bed.test('secret').waitFor();
  const key = await bed.test('secret').innerText();
  await bed.test('secret-done').click();
  await bed.page.locator('tbody', { hasText: TEXT.slice(0, 40) }).waitFor();

  await go(bed, 'tokens');
  await bed.test('create-token').click();
  await bed.test('name').fill(TEXT.slice(0, 60));
  await bed.test('providers:read').check();
  await bed.test('submit').click();
  await bed.test('secret-done').click();
  await bed.page.locator('tbody', { hasText: TEXT.slice(0, 40) }).waitFor();

  await go(bed, 'models');
  await bed.test('create-rule').click();
  await bed.test('match').fill('strange-*');
  await choose(bed, 'kind', 'One model');
  await choose(bed, 'rule-provider', 'hostile');
  await bed.test('rule-model').fill(MODEL);
  await bed.test('submit').click();
  await toast(bed, 'The rule is there');
  await bed.page.locator('tbody', { hasText: MODEL }).first().waitFor();

  // What a provider says when it is tested, and what a data plane says of it to whoever asks.
  await go(bed, 'playground');
  await bed.test('key').fill(key);
  await bed.test('model').fill('strange-1');
  await bed.test('question').fill(TEXT);
  await bed.test('question').press('Enter');
  await bed.test('turn').last().locator('[data-test="error"]').waitFor();
  await bed.page.getByText('onerror="window.ran=1"').first().waitFor();
  await nothingRan(bed, 'a refused message');

  await go(bed, 'providers/hostile');
  await bed.test('test').click();
  await bed.test('run-test').click();
  await bed.test('test-result').waitFor();
  await nothingRan(bed, 'the test of a provider');
  await bed.page.keyboard.press('Escape');

  for (const hash of PAGES) {
    await go(bed, hash);
    await nothingRan(bed, `#/${hash}`);
  }
  await bed.close();
});

test('in the browser of somebody who has signed in, a page of a stranger reads nothing and changes nothing', async () => {
  const bed = await opened('#/users');
  const users = async () => {
    await bed.page.reload();
    await signIn(bed, { email: ADMIN_EMAIL, password: PASSWORD });
    await bed.page.locator('tbody tr').first().waitFor();
    return bed.page.locator('tbody tr').count();
  };
  const before = await users();
  const context = bed.page.context();
  assert.deepEqual(await context.cookies(), [], 'there is nothing that a browser would send by itself');

  // Another origin, and another site.
  const page = await context.newPage();
  await page.goto(`http://localhost:${stranger.port}/`);
  const got = await page.evaluate(async (target) => {
    const paths = ['/', '/bridge.admin.v1.UserService/ListUsers', '/bridge.admin.v1.UserService/CreateUser', '/bridge.admin.v1.AuthService/GetSignInInfo'];
    const types = ['text/plain', 'application/x-www-form-urlencoded', 'application/grpc-web+proto', 'application/grpc-web-text', 'application/json'];
    // CreateUser{email: "a@b.example"}, as grpc-web frames it.
    const body = Uint8Array.from([0, 0, 0, 0, 13, 10, 11, ...new TextEncoder().encode('a@b.example')]);
    const readable = [];
    const asked = async (path, options) => {
      try {
        const response = await fetch(target + path, options);
        if (response.type !== 'opaque') readable.push(`${path} ${JSON.stringify(options)} ${response.status}`);
      } catch {
        // As it should be.
      }
    };
    for (const path of paths) {
      for (const mode of ['cors', 'no-cors']) {
        await asked(path, { mode, credentials: 'include' });
        for (const type of types) await asked(path, { method: 'POST', mode, credentials: 'include', headers: { 'content-type': type }, body });
      }
    }
    const frame = document.createElement('iframe');
    frame.src = target;
    const loaded = new Promise((resolve) => (frame.onload = resolve));
    document.body.append(frame);
    await loaded;
    let script = 'refused';
    await new Promise((resolve) => {
      const element = document.createElement('script');
      element.src = `${target}/bridge.admin.v1.AuthService/GetSignInInfo`;
      element.onload = () => resolve((script = 'run'));
      element.onerror = resolve;
      document.body.append(element);
    });
    return { readable, script };
  }, plane.url);
  assert.deepEqual(got, { readable: [], script: 'refused' });
  const framed = page.frames().filter((frame) => frame !== page.mainFrame());
  await until(() => framed.every((frame) => frame.url() !== ''));
  assert.deepEqual(framed.map((frame) => frame.url()), ['chrome-error://chromewebdata/'], 'it is in no frame');

  // A form goes anywhere, and takes the whole page with it.
  const answered = page.waitForResponse((response) => response.url().endsWith('/CreateUser'));
  await page.evaluate((target) => {
    const form = document.createElement('form');
    Object.assign(form, { method: 'post', enctype: 'text/plain', action: `${target}/bridge.admin.v1.UserService/CreateUser` });
    form.append(Object.assign(document.createElement('input'), { name: '\n\u000ba@b.example', value: '' }));
    document.body.append(form);
    form.submit();
  }, plane.url);
  const answer = await answered;
  assert.ok(answer.status() >= 400, `a form is no call: ${answer.status()}`);
  assert.equal(await users(), before, 'nobody was made');
  await bed.close();
});

test('without a browser in between: no answer allows another origin, no simple request is a call, no foreign name is answered', async () => {
  const { port } = new URL(plane.url);
  const ask = (method, path, headers, body) =>
    new Promise((resolve, reject) => {
      const call = request({ host: '127.0.0.1', port, method, path, headers }, (response) => {
        const parts = [];
        response.on('data', (part) => parts.push(part));
        response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, text: Buffer.concat(parts).toString('latin1') }));
      });
      call.on('error', reject);
      call.end(body);
    });
  const field = (number, text) => Buffer.concat([Buffer.from([(number << 3) | 2, text.length]), Buffer.from(text)]);
  const message = Buffer.concat([field(1, ADMIN_EMAIL), field(2, PASSWORD)]);
  const frame = Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]);
  const login = '/bridge.admin.v1.AuthService/Login';
  const origin = 'https://stranger.example';

  const good = await ask('POST', login, { 'content-type': 'application/grpc-web+proto' }, frame);
  assert.ok(good.text.includes('grpc-status:0') && good.text.includes('eyJ'), 'the same bytes are a call, said as one');
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', undefined]) {
    const headers = type === undefined ? { origin } : { origin, 'content-type': type };
    const answer = await ask('POST', login, headers, frame);
    assert.ok(answer.status >= 400 && !answer.text.includes('grpc-status:0'), `${type}: ${answer.status} ${answer.text}`);
  }
  for (const [method, path] of [['OPTIONS', login], ['POST', login], ['GET', '/'], ['HEAD', '/'], ['OPTIONS', '/']]) {
    const wants = { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type,authorization' };
    const answer = await ask(method, path, { ...wants, 'content-type': 'application/grpc-web+proto' }, method === 'POST' ? frame : undefined);
    const allowed = Object.keys(answer.headers).filter((name) => name.startsWith('access-control-') || name === 'set-cookie');
    assert.deepEqual(allowed, [], `${method} ${path}`);
  }
  for (const host of ['stranger.example', `stranger.example:${port}`, 'localhost.stranger.example', '127.0.0.1.stranger.example']) {
    const page = await ask('GET', '/', { host });
    assert.ok(page.status >= 400, `${host}: ${page.status}`);
    const call = await ask('POST', login, { host, 'content-type': 'application/grpc-web+proto' }, frame);
    assert.ok(call.headers['grpc-status'] !== '0' && !call.text.includes('grpc-status:0') && !call.text.includes('eyJ'), `${host} signs in: ${call.text}`);
  }
});
