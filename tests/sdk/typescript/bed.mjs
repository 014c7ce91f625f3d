// Where the bridge under test is: `tests/run` starts it and says so in the environment.
import Anthropic from '@anthropic-ai/sdk';

const { BRIDGE_URL, BRIDGE_KEY, MODEL_URL, MODEL_NAME } = process.env;
export { MODEL_NAME, MODEL_URL };

export function client(apiKey = BRIDGE_KEY) {
  return new Anthropic({ baseURL: BRIDGE_URL, apiKey, maxRetries: 0 });
}

export function ask(model, prompt = 'Hello, you.') {
  return { model, max_tokens: 200, messages: [{ role: 'user', content: prompt }] };
}

/** Both ways to ask, with the same result: one JSON document, and a stream put together. */
export const waysToAsk = {
  create: (body) => client().messages.create(body),
  stream: (body) => client().messages.stream(body).finalMessage(),
};

/** The OpenAI-compatible server itself, without a bridge and without an SDK. */
export async function askModelDirectly(body) {
  const response = await fetch(`${MODEL_URL}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: MODEL_NAME, ...body }),
  });
  return response.json();
}
