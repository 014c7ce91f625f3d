// The TypeScript SDK and answers that break off: wherever that happens, and however the answer is read, it throws and
// never ends well. With the newest SDK and with the last one of the old protocol.
import assert from 'node:assert/strict';
import net from 'node:net';
import { describe, test } from 'node:test';
import { Anthropic, ask, client, upstreamBodies } from './bed.mjs';

const { BRIDGE_URL, UPSTREAM_URL } = process.env;
const AT_ONCE = 8;
const RETRIES = 2;

const MIXED = {
  ...ask('f-mixed'),
  max_tokens: 2048,
  thinking: { type: 'enabled', budget_tokens: 1024 },
  tools: [{ name: 'get_weather', description: 'The weather', input_schema: { type: 'object' } }],
};
const sdk = client();

/** What a program makes of the raw events itself. */
async function eventsPutTogether(body) {
  let message = null;
  let stopped = false;
  for await (const event of await sdk.messages.create({ ...body, stream: true })) {
    if (event.type === 'message_start') {
      assert.equal(message, null, 'two beginnings');
      message = event.message;
    }
    stopped ||= event.type === 'message_stop';
  }
  assert.ok(stopped, 'an end without a word');
  return message;
}

async function helperIterated(body) {
  const stream = sdk.messages.stream(body);
  for await (const _ of stream);
  return stream.finalMessage();
}

const finalMessage = (body) => sdk.messages.stream(body).finalMessage();
const finalText = (body) => sdk.messages.stream(body).finalText();
const betaHelper = (body) => sdk.beta.messages.stream(body).finalMessage();
const WAYS = [finalMessage, helperIterated, finalText, betaHelper, eventsPutTogether];

/** The events that a model streams for this question, and where its finish reason comes. */
async function upstreamEvents(model) {
  const native = model.startsWith('n-');
  const url = native ? `${UPSTREAM_URL.replace(/\/v1$/, '')}/v1/messages` : `${UPSTREAM_URL}/chat/completions`;
  const question = { ...ask(model), stream: true, ...(native ? {} : { stream_options: { include_usage: true } }) };
  const response = await fetch(url, { method: 'POST', body: JSON.stringify(question) });
  const events = (await response.text()).split('\n\n').slice(0, -1);
  const end = events.findLastIndex((event) => event.includes('"finish_reason":"') || event.includes('message_stop'));
  return { events, end };
}

async function assertBroken(way, model) {
  let error = null;
  let message = null;
  try {
    message = await way({ ...MIXED, model });
  } catch (caught) {
    error = caught;
  }
  assert.ok(error, `${model}, ${way.name}: ended well with ${JSON.stringify(message)}`);
  assert.ok(error instanceof Anthropic.APIError, `${model}, ${way.name}: ${error}`);
  assert.equal(error.type, 'api_error', `${model}, ${way.name}`);
  return error;
}

/** Each cut is read in one way, and each way meets cuts of every kind. */
async function everywhere(model, places) {
  const cuts = places.flatMap((place) => ['cut', 'reset', 'early'].map((end) => `${model}~${end}@${place}`));
  const left = cuts.map((name, nth) => [WAYS[nth % WAYS.length], name]);
  const errors = [];
  const worker = async () => {
    for (let cut = left.shift(); cut; cut = left.shift()) errors.push(await assertBroken(...cut));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  assert.equal(errors.length, cuts.length);
  return errors;
}

for (const model of ['f-mixed', 'n-mixed']) {
  test(`KT12 ${model}: a cut after any event throws`, async () => {
    const { events, end } = await upstreamEvents(model);
    assert.ok(end > 10, `${events}`);
    const errors = await everywhere(model, Array.from({ length: end + 1 }, (_, nth) => `${nth}ev`));
    // Before the first content with a status, later inside a 200.
    assert.ok(errors.some(({ status }) => status === 502) && errors.some(({ status }) => status !== 502));
  });

  test(`KT12 ${model}: a cut inside an event throws`, async () => {
    const { events, end } = await upstreamEvents(model);
    const bytes = events.slice(0, end).join('\n\n').length;
    await everywhere(model, Array.from({ length: Math.ceil(bytes / 311) }, (_, nth) => nth * 311 + 1));
  });

  test(`KT12 ${model}: an answer that is whole ends well`, async () => {
    const whole = await sdk.messages.create({ ...MIXED, model });
    const kinds = whole.content.map(({ type }) => type);
    assert.deepEqual(kinds, ['thinking', 'text', 'tool_use', 'tool_use']);
    for (const way of [finalMessage, helperIterated, betaHelper]) {
      const streamed = await way({ ...MIXED, model });
      assert.deepEqual(streamed.content.map(({ type }) => type), kinds);
      assert.deepEqual(streamed.content.map(({ input }) => input), whole.content.map(({ input }) => input));
      assert.equal(streamed.stop_reason, whole.stop_reason);
    }
  });
}

test('KT12 an error or nonsense in the stream throws', async () => {
  const faults = ['error@3ev', 'bad-line@4ev', 'error@12ev', 'bad-line@11ev', 'error@7ev'];
  for (const [nth, fault] of faults.entries()) await assertBroken(WAYS[nth], `f-mixed~${fault}`);
});

test('KT12 a cut document throws', async () => {
  for (const place of [0, 150, 300, 450]) {
    await assert.rejects(sdk.messages.create({ ...MIXED, model: `f-mixed~cut@${place}` }), { status: 502 });
  }
});

test('KT13 an error in the first event has a status', async () => {
  const faults = [
    ['first-overloaded', 529, 'overloaded_error'],
    ['first-quota', 502, 'api_error'],
    ['first-fire', 502, 'api_error'],
  ];
  for (const [fault, status, type] of faults) {
    for (const way of [finalMessage, eventsPutTogether, (body) => sdk.messages.create(body)]) {
      await assert.rejects(way(ask(`f-text~${fault}`)), { status, type });
    }
  }
});

/** How often the upstream was asked, and for how long that took. */
async function tries(model, maxRetries, status) {
  const before = (await upstreamBodies(model)).length;
  const started = Date.now();
  await assert.rejects(client({ maxRetries }).messages.create(ask(model)), { status });
  return { calls: (await upstreamBodies(model)).length - before, tookMs: Date.now() - started };
}

test('KT14 a rate limit is waited for', async () => {
  const { calls, tookMs } = await tries('f-text~status-429-after-1', RETRIES, 429);
  assert.equal(calls, 1 + RETRIES);
  assert.ok(tookMs >= 2000, `${tookMs} ms`);
});

test('KT14 a limit of hours is told at once', async () => {
  const { calls, tookMs } = await tries('f-text~status-429-after-3600', RETRIES, 429);
  assert.equal(calls, 1);
  assert.ok(tookMs < 2000, `${tookMs} ms`);
});

// The bridge itself asks twice where that may help.
for (const status of [503, 529]) {
  test(`KT14 a provider that says ${status} is asked again`, async () => {
    const { calls } = await tries(`f-text~status-${status}-after-1`, 1, status);
    assert.equal(calls, 4);
  });
}

/** Stands for a balancer before two nodes. The first one dies after some bytes of its first answer. */
async function balancer(t, diesAfter) {
  const { hostname, port } = new URL(BRIDGE_URL);
  const seen = { connections: 0 };
  const server = net.createServer((incoming) => {
    seen.connections += 1;
    const isDoomed = seen.connections === 1;
    const node = net.connect(port, hostname);
    let passed = 0;
    node.on('data', (data) => {
      if (isDoomed && passed + data.length >= diesAfter) {
        incoming.write(data.subarray(0, diesAfter - passed), () => incoming.resetAndDestroy());
        node.destroy();
      } else {
        passed += data.length;
        incoming.write(data);
      }
    });
    incoming.on('data', (data) => node.write(data));
    for (const [one, other] of [[incoming, node], [node, incoming]]) {
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return { url: `http://127.0.0.1:${server.address().port}`, seen };
}

describe('KT15 a node that dies', () => {
  test('before its answer is made up for by another', async (t) => {
    const { url, seen } = await balancer(t, 0);
    const message = await client({ baseURL: url, maxRetries: RETRIES }).messages.create(ask('f-text'));
    assert.ok(message.content[0].text);
    assert.equal(seen.connections, 2);
  });

  test('in its answer never looks like success', async (t) => {
    const reads = [
      (stream) => stream.finalMessage(),
      (stream) => stream.finalText(),
      async (stream) => {
        for await (const _ of stream);
      },
    ];
    for (let diesAfter = 100; diesAfter < 3000; diesAfter += 290) {
      const { url } = await balancer(t, diesAfter);
      const read = reads[Math.round(diesAfter / 290) % reads.length];
      await assert.rejects(read(client({ baseURL: url }).messages.stream(MIXED)), `${diesAfter}`);
    }
  });
});
