// The TypeScript SDK against the scripted upstream: what its users can rely on.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { ask, client, waysToAsk } from './bed.mjs';

const SENTENCE = 'The quick brown fox jumps over the lazy dog.';

const WEATHER = {
  name: 'get_weather',
  description: 'The weather of a city',
  input_schema: {
    type: 'object',
    properties: { city: { type: 'string' }, unit: { type: 'string' } },
    required: ['city'],
  },
};

for (const [way, answer] of Object.entries(waysToAsk)) {
  test(`${way}: text`, async () => {
    const message = await answer(ask('f-text'));
    assert.deepEqual(message.content.map((block) => block.text), [SENTENCE]);
    assert.equal(message.model, 'f-text');
    assert.equal(message.stop_reason, 'end_turn');
    assert.equal(message.usage.input_tokens, 20);
    assert.equal(message.usage.output_tokens, 10);
  });

  test(`${way}: cached tokens are told apart`, async () => {
    const { usage } = await answer(ask('f-cached'));
    assert.equal(usage.input_tokens, 36);
    assert.equal(usage.cache_read_input_tokens, 64);
  });

  test(`${way}: thinking only where it was asked for`, async () => {
    const asked = { ...ask('f-think'), max_tokens: 2048, thinking: { type: 'enabled', budget_tokens: 1024 } };
    const { content } = await answer(asked);
    assert.deepEqual(content.map((block) => block.type), ['thinking', 'text']);
    assert.equal(content[0].thinking, 'A pangram is wanted.');
    const unasked = await answer(ask('f-think'));
    assert.deepEqual(unasked.content.map((block) => block.type), ['text']);
  });

  test(`${way}: parallel tools round trip`, async () => {
    const body = { ...ask('f-tools', 'Weather in Paris and Oslo?'), tools: [WEATHER] };
    const calls = await answer(body);
    assert.equal(calls.stop_reason, 'tool_use');
    assert.deepEqual(calls.content.map((block) => block.input.city), ['Paris', 'Oslo']);

    const results = calls.content.map(({ id }) => ({ type: 'tool_result', tool_use_id: id, content: '12 degrees' }));
    body.messages.push({ role: 'assistant', content: calls.content }, { role: 'user', content: results });
    const final = await answer(body);
    assert.equal(final.content[0].text, SENTENCE);
  });

  const failures = [
    ['gpt-unheard-of', Anthropic.NotFoundError, 404, 'not_found_error'],
    ['f-status-429', Anthropic.RateLimitError, 429, 'rate_limit_error'],
    ['f-status-500', Anthropic.InternalServerError, 502, 'api_error'],
    ['f-status-401', Anthropic.InternalServerError, 502, 'api_error'],
    ['f-status-400', Anthropic.BadRequestError, 400, 'invalid_request_error'],
    ['f-html', Anthropic.InternalServerError, 502, 'api_error'],
  ];
  for (const [model, errorClass, status, type] of failures) {
    test(`${way}: ${model} is a ${type} with status ${status}`, async () => {
      await assert.rejects(answer(ask(model)), (error) => {
        assert.ok(error instanceof errorClass, error.constructor.name);
        assert.equal(error.status, status);
        assert.equal(error.type, type);
        assert.ok(error.requestID);
        return true;
      });
    });
  }
}

test('a wrong key', async () => {
  await assert.rejects(client('sk-wrong').messages.create(ask('f-text')), Anthropic.AuthenticationError);
});

test('count_tokens', async () => {
  const { max_tokens: _, ...body } = ask('f-text', 'How many tokens are these?');
  const { input_tokens: count } = await client().messages.countTokens(body);
  assert.ok(count > 5 && count < 40, `${count}`);
});

for (const model of ['f-cut@700', 'f-reset@700', 'f-early@700']) {
  test(`${model}: a broken stream throws and never ends well`, async () => {
    await assert.rejects(waysToAsk.stream(ask(model)), (error) => {
      assert.ok(error instanceof Anthropic.APIError, error.constructor.name);
      assert.equal(error.type, 'api_error');
      return true;
    });
  });
}
