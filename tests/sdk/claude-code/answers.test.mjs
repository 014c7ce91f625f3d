// What the user of Claude Code sees of an answer: its text, its usage, and whose it is.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BRIDGE_KEY, claude, claudeOnce, questions } from './claude.mjs';

const SENTENCE = 'The quick brown fox jumps over the lazy dog.';
const CONCURRENCY = 3;
const { SLOW } = process.env;

describe('answers', { concurrency: CONCURRENCY }, () => {
  test('KC01 hello: streamed, with usage and cost', async (t) => {
    const { result, exitCode, exchanges } = await claudeOnce(t, { model: 'f-echo', prompt: 'blue heron' });
    assert.match(result.result, /blue heron/);
    assert.equal(result.is_error, false);
    assert.equal(exitCode, 0);
    assert.equal(result.usage.input_tokens, 20);
    assert.equal(result.usage.output_tokens, 10);
    // Versions differ in the price that they assume for a model that they do not know.
    assert.ok(result.total_cost_usd > 0);
    assert.equal(result.modelUsage['f-echo'].costUSD, result.total_cost_usd);

    const [question, ...more] = questions({ exchanges });
    assert.deepEqual(more, []);
    assert.equal(question.body.stream, true);
    assert.match(question.answerHeaders['content-type'], /^text\/event-stream/);
    assert.equal(question.answerHeaders['x-bridge-model'], 'f-echo');
  });

  test('a long answer is whole, and nothing leaves for anywhere else', async (t) => {
    const { result, strangers } = await claude(t, { model: 'f-long' });
    assert.equal(result.result.trim(), 'word '.repeat(2000).trim());
    assert.deepEqual(strangers, []);
  });

  test('a conversation goes on', async (t) => {
    const { result, exchanges } = await claude(t, { model: 'f-echo', prompts: ['grey heron', 'white stork'] });
    assert.match(result.result, /white stork/);
    const texts = JSON.stringify(questions({ exchanges }).at(-1).body.messages);
    assert.match(texts, /grey heron.*white stork/);
  });

  test('KC14 cache reads are shown', async (t) => {
    const { result } = await claude(t, { model: 'f-cached' });
    const usage = result.modelUsage['f-cached'];
    assert.equal(usage.inputTokens, 36);
    assert.equal(usage.cacheReadInputTokens, 64);
    assert.equal(usage.outputTokens, 10);
  });

  const tiers = { haiku: 'f-small', sonnet: 'f-middle', opus: 'f-big', fable: 'f-big' };
  for (const [alias, upstreamModel] of Object.entries(tiers)) {
    test(`KC15 ${alias} is answered by the ${upstreamModel} model`, async (t) => {
      const { result, exchanges } = await claude(t, { model: alias });
      assert.equal(result.result, `This is ${upstreamModel}.`);
      assert.equal(questions({ exchanges })[0].answerHeaders['x-bridge-model'], upstreamModel);
      // It prices and labels by the name that it asked for.
      const [label] = Object.keys(result.modelUsage);
      assert.match(label, new RegExp(`^claude-${alias}`));
    });
  }

  test('KC17 an auth token does what an API key does', async (t) => {
    const environment = { ANTHROPIC_API_KEY: undefined, ANTHROPIC_AUTH_TOKEN: BRIDGE_KEY };
    const { result, exchanges } = await claude(t, { model: 'f-text', environment });
    assert.equal(result.result, SENTENCE);
    const [{ headers }] = questions({ exchanges });
    assert.equal(headers.authorization, `Bearer ${BRIDGE_KEY}`);
    assert.equal(headers['x-api-key'], undefined);
  });

  test('KC90 a silence of 330 s is survived', { skip: !SLOW && 'SLOW=1 tests/run' }, async (t) => {
    const { result, exchanges } = await claude(t, { model: 'f-pause-330', timeLimitMs: 400_000 });
    assert.equal(result.result, SENTENCE);
    assert.equal(questions({ exchanges }).length, 1);
  });

  test('/context counts without asking a model', async (t) => {
    const { exchanges, result } = await claude(t, { model: 'f-text', prompts: ['/context'] });
    assert.equal(result.is_error, false);
    const counts = exchanges.filter(({ path }) => path.startsWith('/v1/messages/count_tokens'));
    assert.ok(counts.length > 3, `${counts.length}`);
    assert.deepEqual(counts.map(({ status }) => status), counts.map(() => 200));
    assert.deepEqual(questions({ exchanges }).filter(({ path }) => !path.includes('count_tokens')), []);
  });

  for (const dialect of ['openai', 'qwen', 'vllm']) {
    test(`what a provider that speaks ${dialect} cannot be told is named`, async (t) => {
      const lostOf = async (environment) => {
        const { result, exchanges } = await claude(t, { model: `f-as-${dialect}`, environment });
        assert.equal(result.result, SENTENCE);
        return questions({ exchanges })[0].answerHeaders['x-bridge-loss'];
      };
      const lost = await lostOf({});
      console.log(`figure: lost of Claude Code's request towards ${dialect}: ${lost ?? 'nothing'}`);
      assert.equal(lost, undefined);
      assert.equal(await lostOf({ CLAUDE_CODE_EXTRA_BODY: '{"unheard_of":1}' }), 'unheard_of');
    });
  }

  test('models are discovered under names that Claude Code shows, and answer under them', async (t) => {
    const environment = {
      CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY: '1',
      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: undefined,
    };
    const found = await claude(t, { model: 'f-text', environment });
    const asked = found.exchanges.find(({ path }) => path.startsWith('/v1/models'));
    assert.equal(asked?.status, 200);
    const { models } = JSON.parse(await found.read('../.claude/cache/gateway-models.json'));
    assert.ok(models.some(({ id }) => id === 'anthropic-f-text'));
    assert.ok(models.every(({ id }) => /^(claude|anthropic)/.test(id)));

    const { result } = await claude(t, { model: 'anthropic-f-text' });
    assert.equal(result.result, SENTENCE);
  });
});
