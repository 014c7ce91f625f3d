// The TypeScript SDK against the scripted upstream: what its users can rely on. It runs with the newest SDK and with
// the last one of the old protocol (another version header, another header for the key); both are held to the same.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { Anthropic, ask, BRIDGE_KEY, client, upstreamBodies, upstreamFates, waysToAsk } from './bed.mjs';

const SENTENCE = 'The quick brown fox jumps over the lazy dog.';
const STREAMS = 30;
const PROTOCOL_VERSIONS = { new: '2026-10-21', old: '2023-06-01' };
const POLL_MS = 20;
const DEADLINE_MS = 10_000;

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
  test(`KT01 ${way}: text`, async () => {
    const message = await answer(ask('f-text'));
    assert.deepEqual(message.content.map((block) => block.text), [SENTENCE]);
    assert.equal(message.model, 'f-text');
    assert.equal(message.stop_reason, 'end_turn');
    assert.equal(message.usage.input_tokens, 20);
    assert.equal(message.usage.output_tokens, 10);
  });

  test(`KT03 ${way}: parallel tools round trip`, async () => {
    const body = { ...ask('f-tools', 'Weather in Paris and Oslo?'), tools: [WEATHER] };
    const calls = await answer(body);
    assert.equal(calls.stop_reason, 'tool_use');
    assert.deepEqual(calls.content.map((block) => block.input.city), ['Paris', 'Oslo']);

    const results = calls.content.map(({ id }) => ({ type: 'tool_result', tool_use_id: id, content: '12 degrees' }));
    body.messages.push({ role: 'assistant', content: calls.content }, { role: 'user', content: results });
    const final = await answer(body);
    assert.equal(final.content[0].text, SENTENCE);
  });

  test(`KT04 ${way}: thinking only where it was asked for`, async () => {
    const asked = { ...ask('f-think'), max_tokens: 2048, thinking: { type: 'enabled', budget_tokens: 1024 } };
    const { content } = await answer(asked);
    assert.deepEqual(content.map((block) => block.type), ['thinking', 'text']);
    assert.equal(content[0].thinking, 'A pangram is wanted.');
    assert.ok(content[0].signature);
    const again = { ...asked, messages: [...asked.messages, { role: 'assistant', content }, ...asked.messages] };
    assert.equal((await answer(again)).content.at(-1).text, SENTENCE);
    const unasked = await answer(ask('f-think'));
    assert.deepEqual(unasked.content.map((block) => block.type), ['text']);
  });

  test(`a native provider, ${way}: text, thinking and tools`, async () => {
    const text = await answer(ask('n-text'));
    assert.deepEqual([text.content[0].text, text.model, text.usage.output_tokens], [SENTENCE, 'n-text', 10]);
    const { content } = await answer(ask('n-think'));
    assert.deepEqual(content.map((block) => block.type), ['thinking', 'text']);
    assert.ok(content[0].signature);
    const calls = await answer({ ...ask('n-tools'), tools: [WEATHER] });
    assert.deepEqual(calls.content.map((block) => block.input.city), ['Paris', 'Oslo']);
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
    test(`KT05 ${way}: ${model} is a ${type} with status ${status}`, async () => {
      await assert.rejects(answer(ask(model)), (error) => {
        assert.ok(error instanceof errorClass, error.constructor.name);
        assert.equal(error.status, status);
        assert.equal(error.type, type);
        assert.ok(error.requestID);
        return true;
      });
    });
  }

  test(`KT09 ${way}: cached tokens are told apart`, async () => {
    const { usage } = await answer(ask('f-cached'));
    assert.equal(usage.input_tokens, 36);
    assert.equal(usage.cache_read_input_tokens, 64);
    assert.equal(usage.cache_creation_input_tokens, 0);
  });

  test(`KT09 ${way}: stop reasons`, async () => {
    for (const [model, reason] of [['f-text', 'end_turn'], ['f-length', 'max_tokens'], ['f-tools', 'tool_use']]) {
      assert.equal((await answer({ ...ask(model), tools: [WEATHER] })).stop_reason, reason);
    }
  });

  test(`KT10 ${way}: an answer by a schema`, async () => {
    const schema = { type: 'object', properties: { title: { type: 'string' } }, required: ['title'], additionalProperties: false };
    const said = JSON.stringify({ title: `Structured, ${way}` });
    const message = await answer({ ...ask('f-echo', said), output_config: { format: { type: 'json_schema', schema } } });
    assert.equal(message.content[0].text, said);
    const sent = (await upstreamBodies('f-echo')).findLast(({ messages }) => messages.at(-1).content === said);
    assert.deepEqual(sent.response_format.json_schema.schema, schema);
  });
}

test('the SDK speaks the protocol that this run is for', async () => {
  const { req } = await client().buildRequest({ method: 'get', path: '/v1/models' });
  assert.equal(req.headers.get('anthropic-version'), PROTOCOL_VERSIONS[process.env.SDK_PROTOCOL ?? 'new']);
});

test('KT01 the beta resource, with a beta that nobody knows', async () => {
  const body = { ...ask('f-text'), betas: ['unheard-of-2031-01-01'] };
  assert.equal((await client().beta.messages.create(body)).content[0].text, SENTENCE);
  assert.equal((await client().beta.messages.stream(body).finalMessage()).content[0].text, SENTENCE);
});

test('KT02 a token does what a key does, and a wrong key nothing', async () => {
  const withToken = client({ apiKey: null, authToken: BRIDGE_KEY });
  assert.equal((await withToken.messages.create(ask('f-text'))).content[0].text, SENTENCE);
  await assert.rejects(client({ apiKey: 'sk-wrong' }).messages.create(ask('f-text')), Anthropic.AuthenticationError);
});

for (const stream of [false, true]) {
  test(`KT03 the loop over tools, ${stream ? 'streamed' : 'whole'}`, async () => {
    const asked = [];
    const run = ({ city, unit }) => {
      asked.push([city, unit]);
      return `12 ${unit}`;
    };
    const tool = { ...WEATHER, type: 'custom', run, parse: (input) => input };
    const body = { ...ask('f-tools', 'Weather in Paris and Oslo?'), tools: [tool], stream };
    const message = await client().beta.messages.toolRunner(body).runUntilDone();
    assert.deepEqual(asked.sort(), [['Oslo', 'C'], ['Paris', 'C']]);
    assert.equal(message.content[0].text, SENTENCE);
  });
}

test('KT06 it is tried again until the provider is back', async () => {
  const patient = client({ maxRetries: 3 });
  assert.equal((await patient.messages.create(ask('f-3-times-503'))).content[0].text, SENTENCE);
  assert.equal((await patient.messages.stream(ask('f-3-times-503')).finalMessage()).content[0].text, SENTENCE);
});

test('KT06 it is not tried again where that cannot help', async () => {
  const before = (await upstreamBodies('f-status-403')).length;
  await assert.rejects(client({ maxRetries: 3 }).messages.create(ask('f-status-403')));
  assert.equal((await upstreamBodies('f-status-403')).length, before + 1);
});

for (const model of ['f-cut@700', 'f-reset@700', 'f-early@700']) {
  test(`KT07 ${model}: a broken stream throws and never ends well`, async () => {
    await assert.rejects(waysToAsk.stream(ask(model)), (error) => {
      assert.ok(error instanceof Anthropic.APIError, error.constructor.name);
      assert.equal(error.type, 'api_error');
      return true;
    });
  });
}

test('KT08 count_tokens', async () => {
  const { max_tokens: _, ...body } = ask('f-text', 'How many tokens are these?');
  for (const { messages } of [client(), client().beta]) {
    const { input_tokens: count } = await messages.countTokens(body);
    assert.ok(count > 5 && count < 40, `${count}`);
  }
});

test('KT08 models', async () => {
  const ids = [];
  for await (const { id } of client().models.list({ limit: 5 })) ids.push(id);
  assert.ok(ids.includes('f-text') && ids.length > 5, `${ids}`);
  assert.equal(new Set(ids).size, ids.length);
  assert.equal((await client().models.retrieve('f-text')).id, 'f-text');
  await assert.rejects(client().models.retrieve('gpt/unheard:of'), Anthropic.NotFoundError);
});

test('KT10 many streams at once', async () => {
  const prompts = Array.from({ length: STREAMS }, (_, nth) => `number ${nth}`);
  const messages = await Promise.all(prompts.map((prompt) => waysToAsk.stream(ask('f-echo', prompt))));
  assert.deepEqual(messages.map(({ content }) => content[0].text), prompts);
});

test('KT11 a stream that is aborted takes the upstream along', async () => {
  const before = (await upstreamFates('f-stall@700')).length;
  const stream = client().messages.stream(ask('f-stall@700'));
  const ended = assert.rejects(stream.finalMessage(), Anthropic.APIUserAbortError);
  await new Promise((resolve) => stream.once('text', resolve));
  stream.abort();
  await ended;
  const started = Date.now();
  while ((await upstreamFates('f-stall@700'))[before] !== 'client gone') {
    assert.ok(Date.now() - started < DEADLINE_MS, 'the upstream was never let go');
    await pause(POLL_MS);
  }
});
