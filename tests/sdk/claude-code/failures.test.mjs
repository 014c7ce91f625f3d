// What Claude Code makes of failures: it recovers by itself where it can, and otherwise says once what is wrong.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { claude, questions } from './claude.mjs';

const SENTENCE = 'The quick brown fox jumps over the lazy dog.';
const CONCURRENCY = 3;
const CLEAR_WITHIN_MS = 20_000;
/** Three of them do not fit in 60,000 tokens, beside what Claude Code always sends. */
const LONG_PROMPT = 'word '.repeat(12_000);

function statuses(run) {
  return questions(run).map(({ status }) => status);
}

/** One request, one message that matches, no patience lost. */
function failedOnce(run, message) {
  assert.equal(run.result.is_error, true);
  assert.match(run.result.result, message);
  assert.notEqual(run.exitCode, 0);
  assert.equal(questions(run).length, 1);
  assert.ok(run.result.duration_ms < CLEAR_WITHIN_MS, `${run.result.duration_ms} ms`);
}

describe('failures', { concurrency: CONCURRENCY }, () => {
  for (const model of ['f-cut@700', 'f-reset@700', 'f-early@700']) {
    test(`KC08 ${model}: a stream that is lost in its text is asked for again, unseen`, async (t) => {
      const run = await claude(t, { model });
      assert.equal(run.result.result, SENTENCE);
      assert.equal(run.result.is_error, false);
      assert.deepEqual(questions(run).map(({ body }) => body.stream ?? false), [true, false]);
    });
  }

  for (const model of ['f-3-times-503', 'f-3-times-429']) {
    test(`KC10 ${model}: goes on when it is over`, async (t) => {
      const run = await claude(t, { model });
      assert.equal(run.result.result, SENTENCE);
      const [first, ...others] = statuses(run);
      assert.ok(first >= 429, `${first}`);
      assert.equal(others.at(-1), 200);
    });
  }

  test('KC11 a wrong key of the provider is one clear failure', async (t) => {
    failedOnce(await claude(t, { model: 'f-status-401' }), /502 scripted: scripted failure/);
  });

  test('KC12 so is an empty account', async (t) => {
    failedOnce(await claude(t, { model: 'f-quota' }), /scripted: You exceeded your current quota/);
  });

  test('a wrong key of the client too', async (t) => {
    const environment = { ANTHROPIC_API_KEY: 'sk-wrong' };
    const run = await claude(t, { model: 'f-text', environment });
    failedOnce(run, /API key/i);
    assert.deepEqual(statuses(run), [401]);
  });

  test('a model that nobody offers is named', async (t) => {
    const run = await claude(t, { model: 'gpt-unheard-of' });
    assert.equal(run.result.is_error, true);
    assert.match(run.result.result, /selected model \(gpt-unheard-of\)/);
  });

  for (const server of ['openai', 'openrouter', 'vllm', 'vllm-0.10']) {
    test(`KC13 an answer that does not fit beside its prompt is asked for shorter, ${server}`, async (t) => {
      const run = await claude(t, { model: `f-window-${server}@40001` });
      assert.equal(run.result.result, SENTENCE);
      assert.deepEqual(statuses(run), [400, 200]);
      const [first, second] = questions(run).map(({ body }) => body.max_tokens);
      assert.ok(second < first, `${first}, then ${second}`);
    });
  }

  test('KC13 by default the bridge does that itself', async (t) => {
    const run = await claude(t, { model: 'f-window-openai@40000' });
    assert.equal(run.result.result, SENTENCE);
    assert.deepEqual(statuses(run), [200]);
  });

  test('KC13 a conversation that does not fit is compacted', async (t) => {
    const prompts = [1, 2, 3, 4].map((nth) => `Part ${nth}: ${LONG_PROMPT}`);
    const run = await claude(t, { model: 'f-window-openai@60000', prompts });
    const results = run.events.filter(({ type }) => type === 'result');
    assert.deepEqual(results.map(({ result }) => result), prompts.map(() => SENTENCE));
    const boundary = run.events.find(({ subtype }) => subtype === 'compact_boundary');
    assert.equal(boundary?.compact_metadata.trigger, 'auto');
  });
});
