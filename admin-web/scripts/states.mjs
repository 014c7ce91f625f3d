// What there is to see: each page, and what opens over it or goes wrong on it. `show` leads there from the page.
import { BRIDGE_KEY, chooseFor, until } from '../specs/support.mjs';

const PAGES = ['', 'health', 'fleet', 'stats', 'keys', 'providers', 'providers/new', 'providers/scripted', 'models', 'settings', 'users', 'tokens', 'history', 'audit', 'account', 'nowhere'];

/** So many lists are empty in an installation that nobody has touched. */
export const EMPTY_PAGES = ['', 'health', 'fleet', 'stats', 'keys', 'providers', 'models', 'playground', 'tokens', 'history'];

const first = (bed) => bed.page.locator('tbody tr').first();
const keyOf = (bed, text) => bed.page.locator('tbody tr', { hasText: text }).first().getAttribute('data-key');
const refused = (bed, method) => bed.page.route(`**/bridge.admin.v1.${method}`, (route) => route.fulfill({ status: 200, contentType: 'application/grpc-web+proto', headers: { 'grpc-status': '16', 'grpc-message': 'no' }, body: '' }));

async function openMenu(bed, text, item) {
  await chooseFor(bed, await keyOf(bed, text), item);
}

async function ask(bed, model, question) {
  await bed.test('key').fill(BRIDGE_KEY);
  await bed.test('model').fill(model);
  await bed.test('question').fill(question);
  await bed.test('send').click();
  await bed.test('send').waitFor();
}

export const STATES = [
  ...PAGES.map((hash) => ({ name: hash.replace('/', '-') || 'home', hash })),
  {
    name: 'explain',
    hash: 'explain',
    show: async (bed) => {
      await bed.test('explain').click();
      await bed.test('candidates').locator('li').first().waitFor();
    },
  },
  { name: 'playground-empty', hash: 'playground' },
  {
    name: 'playground',
    hash: 'playground',
    show: async (bed) => {
      await bed.test('tool').click();
      await ask(bed, 'f-mixed', 'What is the weather in Paris and in Oslo?');
    },
  },
  {
    name: 'playground-thinking',
    hash: 'playground',
    show: async (bed) => {
      await bed.test('thinking').click();
      await ask(bed, 'f-think', 'Think before you answer.');
      await bed.test('thinking-block').first().waitFor();
    },
  },
  { name: 'playground-refused', hash: 'playground', show: (bed) => ask(bed, 'f-status-401', 'Hello') },
  {
    name: 'stats-requests',
    hash: 'stats',
    show: async (bed) => {
      await bed.test('tab-requests').click();
      await first(bed).waitFor();
    },
  },
  {
    name: 'stats-request',
    hash: 'stats',
    show: async (bed) => {
      await bed.test('tab-requests').click();
      await bed.test('detail').first().click();
      await bed.page.getByRole('dialog').waitFor();
    },
  },
  { name: 'models-names', hash: 'models', show: (bed) => bed.test('tab-names').click() },
  { name: 'models-rule', hash: 'models', show: (bed) => bed.test('create-rule').click() },
  { name: 'keys-create', hash: 'keys', show: (bed) => bed.test('create-key').click() },
  {
    name: 'keys-refused',
    hash: 'keys',
    show: async (bed) => {
      await bed.test('create-key').click();
      await bed.test('name').fill('x'.repeat(300));
      await bed.test('submit').click();
      await bed.page.getByRole('alert').first().waitFor();
    },
  },
  {
    name: 'keys-once',
    hash: 'keys',
    show: async (bed) => {
      await bed.test('create-key').click();
      await bed.test('name').fill('shown once');
      await bed.test('submit').click();
      await bed.test('secret').waitFor();
    },
  },
  {
    name: 'keys-menu',
    hash: 'keys',
    show: async (bed) => {
      await first(bed).locator('[data-test="actions"]').click();
      await bed.test('delete').waitFor();
    },
  },
  { name: 'keys-delete', hash: 'keys', show: async (bed) => chooseFor(bed, await first(bed).getAttribute('data-key'), 'delete') },
  {
    name: 'keys-revoked',
    hash: 'keys',
    show: async (bed) => {
      await openMenu(bed, 'shown once', 'revoke');
      await bed.test('confirm').click();
      await bed.test('done').waitFor();
    },
  },
  {
    name: 'keys-none-found',
    hash: 'keys',
    show: async (bed) => {
      await bed.test('search').fill('there is none such');
      await first(bed).waitFor({ state: 'detached' });
    },
  },
  {
    name: 'providers-refused',
    hash: 'providers/new',
    show: async (bed) => {
      await bed.test('provider-name').fill('Not A Name');
      await bed.test('base-url').fill('ftp://elsewhere.example');
      await bed.test('submit').click();
      await bed.page.getByRole('alert').first().waitFor();
    },
  },
  {
    name: 'providers-test',
    hash: 'providers/scripted',
    show: async (bed) => {
      await bed.test('test').click();
      await bed.test('run-test').click();
      await bed.test('test-result').waitFor();
    },
  },
  {
    name: 'providers-test-failed',
    hash: 'providers/scripted',
    show: async (bed) => {
      await bed.test('test').click();
      await bed.test('test-model').click();
      await bed.page.getByRole('listbox').getByRole('option', { name: 'f-status-401' }).first().click();
      await bed.test('run-test').click();
      await bed.test('test-result').waitFor();
    },
  },
  { name: 'providers-delete', hash: 'providers', show: (bed) => openMenu(bed, 'scripted', 'delete') },
  { name: 'fleet-override', hash: 'fleet', show: (bed) => bed.test('add-override').click() },
  { name: 'fleet-join', hash: 'fleet', show: (bed) => bed.test('join').click() },
  {
    name: 'fleet-joined',
    hash: 'fleet',
    show: async (bed) => {
      await bed.test('join').click();
      await bed.test('make-join').click();
      await bed.test('join-done').waitFor();
    },
  },
  {
    name: 'fleet-revoke',
    hash: 'fleet',
    show: async (bed) => chooseFor(bed, await bed.test('node').first().getAttribute('data-key'), 'revoke'),
  },
  {
    name: 'settings-refused',
    hash: 'settings',
    show: async (bed) => {
      await bed.test('attempts').fill('9999');
      await bed.test('submit').click();
      await bed.page.getByRole('alert').first().waitFor();
    },
  },
  {
    name: 'users-create',
    hash: 'users',
    show: async (bed) => {
      await bed.test('create-user').click();
      await bed.test('user-email').fill('somebody@example.com');
      await bed.test('user-name').fill('Somebody');
      await bed.test('user-password').fill('short');
      await bed.test('submit').click();
      await bed.page.getByRole('alert').first().waitFor();
    },
  },
  { name: 'tokens-create', hash: 'tokens', show: (bed) => bed.test('create-token').click() },
  {
    name: 'history-compare',
    hash: 'history',
    show: async (bed) => {
      await bed.page.locator('tbody tr').nth(1).locator('[data-test="actions"]').click();
      await bed.test('compare').click();
      await bed.page.getByRole('dialog').waitFor();
    },
  },
  {
    name: 'audit-entry',
    hash: 'audit',
    show: async (bed) => {
      await bed.test('verify').click();
      await bed.test('verdict').waitFor();
      await bed.test('details').first().click();
      await bed.page.getByRole('dialog').waitFor();
    },
  },
  {
    name: 'toast',
    hash: 'keys',
    show: async (bed) => {
      await openMenu(bed, 'shown once', 'toggle');
      await bed.page.locator('[data-sonner-toast]').first().waitFor();
    },
  },
  {
    name: 'loading',
    hash: 'keys',
    before: (bed) => bed.page.route('**/bridge.admin.v1.ApiKeyService/ListApiKeys', () => undefined),
    isBusy: true,
  },
  {
    name: 'failed',
    hash: 'users',
    before: (bed) => bed.page.route('**/bridge.admin.v1.UserService/ListUsers', (route) => route.abort()),
    show: (bed) => bed.test('failure').waitFor(),
  },
  {
    name: 'expired',
    hash: 'users',
    before: async (bed) => {
      await refused(bed, 'UserService/ListUsers');
      await refused(bed, 'AuthService/Refresh');
    },
    show: (bed) => until(async () => (await bed.page.getByRole('dialog').count()) > 0),
    isBusy: true,
  },
  {
    name: 'navigation',
    hash: 'keys',
    isNarrow: true,
    show: async (bed) => {
      await bed.page.locator('header button').first().click();
    },
  },
];
