// What can be done on the pages, one after the other on one installation, each by the name of its call.
// `open` leads there from the page; `press` does it, and can be done again after a refusal.
import { choose, chooseFor, openPage, signIn, toast, UPSTREAM_URL } from './support.mjs';

export const PASSWORDS = ['an admin of every action', 'the same admin later on', 'a user of every action', 'the same user later on'];
const PROVIDER = 'acting';

/** Presses what has this name, in the dialog that is open if there is one. */
const click = (name) => (bed) => bed.test(name).last().click();
/** Fills in what a form has, by the names of its fields. */
const fill = (fields) => async (bed) => {
  for (const [name, value] of Object.entries(fields)) await bed.test(name).fill(value);
};
/** Opens a form by its button and fills it in. */
const form = (button, fields) => async (bed) => {
  await click(button)(bed);
  await fill(fields)(bed);
};
const row = (bed, text) => bed.page.locator('main tbody tr', { hasText: text }).first();
const keyOf = (bed, text) => row(bed, text).getAttribute('data-key');
/** An item of the menu of the row with this text. */
const choice = (text, item) => async (bed) => chooseFor(bed, await keyOf(bed, text), item);
const ofNode = (name, item) => (bed) => chooseFor(bed, name, item);

async function addModel(bed) {
  await bed.test('add-big').fill('f-text');
  await bed.test('add-big').press('Enter');
}

async function addRule(bed, match) {
  await form('create-rule', { match })(bed);
}

/** The state of a node is all of the fleet that an action can change; the rest is told live. */
const nodes = async (bed) => (await bed.test('node-state').allInnerTexts()).join();
const overrides = async (bed) => (await bed.test('row').allInnerTexts()).join();

export const ACTIONS = [
  {
    call: 'providers.createProvider',
    hash: 'providers/new',
    open: async (bed) => {
      await fill({ 'provider-name': PROVIDER, 'base-url': UPSTREAM_URL })(bed);
      await addModel(bed);
    },
    press: click('submit'),
    said: `${PROVIDER} is there`,
  },
  { call: 'providers.updateProvider', hash: `providers/${PROVIDER}`, open: addModel, press: click('submit'), said: `${PROVIDER} is saved`, isShown: false },
  { call: 'providers.testProvider', hash: `providers/${PROVIDER}`, open: click('test'), press: click('run-test'), said: 'It answers', isShown: false },
  { call: 'health.checkHealth', hash: 'health', press: click('check-all'), said: 'The check is done' },
  { call: 'providers.updateProvider', hash: 'providers', press: choice(PROVIDER, 'toggle'), said: `${PROVIDER} is disabled` },

  { call: 'models.createModelRule', hash: 'models', open: (bed) => addRule(bed, 'first-*'), press: click('submit'), said: 'The rule is there' },
  { call: 'models.updateModelRule', hash: 'models', open: async (bed) => {
    await choice('first-*', 'edit')(bed);
    await fill({ match: 'second-*' })(bed);
  }, press: click('submit'), said: 'The rule is saved' },
  {
    call: 'models.updateModelRule',
    hash: 'models',
    open: async (bed) => {
      await addRule(bed, 'third-*');
      await click('submit')(bed);
      await toast(bed, 'The rule is there');
      await row(bed, 'third-*').waitFor();
    },
    press: choice('third-*', 'up'),
    said: 'The rule is moved',
  },
  { call: 'models.deleteModelRule', hash: 'models', open: choice('third-*', 'delete'), press: click('confirm'), said: 'The rule is deleted' },

  { call: 'apiKeys.createApiKey', hash: 'keys', open: form('create-key', { name: 'acting' }), press: click('submit'), said: 'The key is made', done: 'secret-done' },
  { call: 'apiKeys.updateApiKey', hash: 'keys', open: async (bed) => {
    await choice('acting', 'edit')(bed);
    await fill({ 'key-email': 'acting@example.com' })(bed);
  }, press: click('submit'), said: 'The key is saved' },
  { call: 'apiKeys.updateApiKey', hash: 'keys', press: choice('acting', 'toggle'), said: 'The key is disabled' },
  { call: 'apiKeys.updateApiKey', hash: 'keys', press: choice('acting', 'toggle'), said: 'The key is enabled' },
  { call: 'apiKeys.rotateApiKey', hash: 'keys', open: choice('acting', 'rotate'), press: click('confirm'), said: 'The key is rotated', done: 'secret-done' },
  { call: 'apiKeys.revokeApiKey', hash: 'keys', open: choice('Active', 'revoke'), press: click('confirm'), said: 'The key is revoked', done: 'done' },
  { call: 'apiKeys.deleteApiKey', hash: 'keys', open: choice('Disabled', 'delete'), press: click('confirm'), said: 'The key is deleted' },

  {
    call: 'users.createUser',
    hash: 'users',
    open: form('create-user', { 'user-email': 'acting@example.com', 'user-name': 'A person', 'user-password': PASSWORDS[2] }),
    press: click('submit'),
    said: 'The user is there',
  },
  { call: 'users.updateUser', hash: 'users', open: async (bed) => {
    await choice('acting@', 'edit')(bed);
    await fill({ 'user-name': 'Another name' })(bed);
  }, press: click('submit'), said: 'The user is saved' },
  { call: 'users.updateUser', hash: 'users', press: choice('acting@', 'toggle'), said: 'The user is disabled' },
  { call: 'users.resetPassword', hash: 'users', open: async (bed) => {
    await choice('acting@', 'reset')(bed);
    await fill({ 'user-password': PASSWORDS[3] })(bed);
  }, press: click('submit'), said: 'The password is reset', isShown: false },
  { call: 'users.deleteUser', hash: 'users', open: choice('acting@', 'delete'), press: click('confirm'), said: 'The user is deleted' },

  {
    call: 'serviceTokens.createServiceToken',
    hash: 'tokens',
    open: async (bed) => {
      await form('create-token', { name: 'acting' })(bed);
      await bed.test('providers:read').check();
    },
    press: click('submit'),
    said: 'The token is made',
    done: 'secret-done',
  },
  { call: 'serviceTokens.deleteServiceToken', hash: 'tokens', open: (bed) => row(bed, 'acting').locator('[data-test="delete"]').click(), press: click('confirm'), said: 'The token is deleted' },

  { call: 'settings.updateSettings', hash: 'settings', open: fill({ attempts: '7' }), press: click('submit'), said: 'The settings are saved', isShown: false },
  {
    call: 'config.rollback',
    hash: 'history',
    open: async (bed) => {
      await bed.page.locator('main tbody tr').nth(1).locator('[data-test="actions"]').click();
      await bed.test('rollback').click();
      await bed.test('change').first().waitFor();
    },
    press: click('confirm'),
    said: 'The configuration is what it was',
  },
  { call: 'audit.verifyEntries', hash: 'audit', press: click('verify'), said: 'entries are as they were written' },

  {
    call: 'fleet.setBreakerOverride',
    hash: 'fleet',
    open: async (bed) => {
      await bed.test('add-override').click();
      await choose(bed, 'override-provider', PROVIDER);
      await fill({ 'override-reason': 'acting' })(bed);
    },
    press: click('submit'),
    said: 'The breaker is overridden',
    shown: overrides,
  },
  { call: 'fleet.deleteBreakerOverride', hash: 'fleet', press: (bed) => row(bed, 'acting').getByRole('button').click(), said: 'The override is gone', shown: overrides },
  { call: 'fleet.createJoinToken', hash: 'fleet', open: click('join'), press: click('make-join'), said: 'The join token is there', shown: nodes, isShown: false, done: 'join-done' },
  { call: 'fleet.drainNode', hash: 'fleet', open: ofNode('drained', 'drain'), press: click('confirm'), said: 'is draining', shown: nodes },
  {
    call: 'fleet.forgetNode',
    hash: 'fleet',
    open: async (bed) => {
      await bed.page.locator('[data-test="node"][data-key="drained"] [data-test="node-state"]', { hasText: 'Gone' }).waitFor();
      await ofNode('drained', 'forget')(bed);
    },
    press: click('confirm'),
    said: 'is off the list',
    shown: nodes,
  },
  { call: 'fleet.revokeNode', hash: 'fleet', open: ofNode('revoked', 'revoke'), press: click('confirm'), said: 'is revoked', shown: nodes, done: 'done' },
  { call: 'providers.deleteProvider', hash: 'providers', open: choice(PROVIDER, 'delete'), press: click('confirm'), said: `${PROVIDER} is deleted` },

  {
    call: 'auth.endSession',
    hash: 'account',
    before: async (bed) => {
      const other = await openPage({ url: bed.page.url().split('/#')[0] });
      await signIn(other, { password: PASSWORDS[0] });
      await other.page.locator('main[data-location] h1').waitFor();
      await other.close();
    },
    press: (bed) => bed.page.locator('main tbody').getByRole('button').first().click(),
    said: 'The session has ended',
  },
  {
    call: 'auth.changePassword',
    hash: 'account',
    open: fill({ 'current-password': PASSWORDS[0], 'new-password': PASSWORDS[1], 'new-password-again': PASSWORDS[1] }),
    press: click('set-password'),
    said: 'Your password is changed',
    isShown: false,
  },
  {
    call: 'auth.logout',
    hash: 'account',
    press: async (bed) => {
      // A refusal changes nothing about leaving the page.
      if ((await bed.test('sign-out').count()) === 0) {
        await signIn(bed, { password: PASSWORDS[1] });
        await bed.page.locator('main[data-location] h1').waitFor();
      }
      await bed.test('sign-out').click();
    },
    said: 'You are signed out',
    isLeaving: true,
  },
];
