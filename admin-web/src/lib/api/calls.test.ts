// Each action of the pages says how it ended, and has its spec: nothing shows before the server has accepted it.
import { describe, expect, it } from 'vitest';
import { callsIn, type Call } from './calls';

const SOURCES = import.meta.glob<string>(['/src/**/*.svelte', '/src/**/*.ts', '!/src/gen/**', '!**/*.test.ts', '!/src/lib/api/calls.ts'], { query: '?raw', import: 'default', eager: true });
const SPECS = Object.values(import.meta.glob<string>('/specs/actions.mjs', { query: '?raw', import: 'default', eager: true })).join();
/** These change nothing and spend nothing. */
const READS = /\.(list|get|watch|diff)[A-Z]?\w*$/;
/** Whose answer is all that they are for, shown where it was asked for; a refusal stands in its place. */
const SHOWN_IN_PLACE = new Set(['routing.explain', 'playground.sendMessage', 'auth.login', 'auth.refresh']);
/** Texts of a dictionary. */
const SAID = /^(?:texts|t\(\))\.|\?texts\./;
/** A sentence that depends on the answer. */
const SAID_OF_ANSWER = /^\(.*\)=>/;

function actions(): (Call & { file: string })[] {
  return Object.entries(SOURCES)
    .flatMap(([file, source]) => callsIn(source, file.endsWith('.svelte')).map((call) => ({ ...call, file })))
    .filter(({ name, isDry }) => !READS.test(name) && !SHOWN_IN_PLACE.has(name) && !isDry);
}

describe('the reader', () => {
  const component = (body: string) => `<script lang="ts">const action = new Action();\nasync function go() { ${body} }</script>\n<button onclick={() => api.users.deleteUser({ id })}>x</button>`;

  it.each([
    ['await action.run(() => api.users.createUser({ name }), texts.created);', [{ name: 'users.createUser', isDry: false, done: 'texts.created' }]],
    ['const work = () => api.users.createUser({}); await action.run(work, texts.created);', [{ name: 'users.createUser', isDry: false, done: 'texts.created' }]],
    ['await api.users.createUser({});', [{ name: 'users.createUser', isDry: false, done: undefined }]],
    ['await other.run(() => api.users.createUser({}), texts.created);', [{ name: 'users.createUser', isDry: false, done: undefined }]],
    ['await api.config.rollback({ dryRun: true });', [{ name: 'config.rollback', isDry: true, done: undefined }]],
  ])('%s', (body, calls) => {
    expect(callsIn(component(body), true)).toEqual([...calls, { name: 'users.deleteUser', isDry: false, done: undefined }]);
  });
});

describe('each action', () => {
  const found = actions();

  it('is found', () => {
    const names = new Set(found.map(({ name }) => name));
    expect(names.size).toBeGreaterThan(25);
    for (const known of ['users.createUser', 'auth.logout', 'config.rollback', 'apiKeys.rotateApiKey', 'health.checkHealth']) expect([...names]).toContain(known);
  });

  it.each(found)('$file: $name says what was done', ({ done }) => {
    expect(done).toSatisfy((it: string | undefined) => it !== undefined && (SAID.test(it) || SAID_OF_ANSWER.test(it)));
  });

  it.each([...new Set(found.map(({ name }) => name))])('%s has its spec', (name) => {
    expect(SPECS).toContain(`'${name}'`);
  });
});
