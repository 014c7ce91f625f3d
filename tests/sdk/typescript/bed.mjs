// Where the bridge under test is: `tests/run` starts it and says so in the environment.
const { ANTHROPIC_SDK = '@anthropic-ai/sdk', BRIDGE_URL, BRIDGE_KEY, UPSTREAM_URL, MODEL_URL, MODEL_NAME } = process.env;
export { BRIDGE_KEY, MODEL_NAME, MODEL_URL };

/** The SDK that this run is for: its package, or the folder of one. */
export const { default: Anthropic } = await import(ANTHROPIC_SDK);

export function client(options = {}) {
  return new Anthropic({ baseURL: BRIDGE_URL, apiKey: BRIDGE_KEY, maxRetries: 0, ...options });
}

export function ask(model, prompt = 'Hello, you.') {
  return { model, max_tokens: 200, messages: [{ role: 'user', content: prompt }] };
}

/** Both ways to ask, with the same result: one JSON document, and a stream put together. */
export const waysToAsk = {
  create: (body) => client().messages.create(body),
  stream: (body) => client().messages.stream(body).finalMessage(),
};

/** The bodies of all requests for a model that came through to the upstream. */
export async function upstreamBodies(model) {
  return (await fetch(`${UPSTREAM_URL}/requests/${model}`)).json();
}

/** What became of them, in the same order. */
export async function upstreamFates(model) {
  return (await fetch(`${UPSTREAM_URL}/fates/${model}`)).json();
}

/** The OpenAI-compatible server itself, without a bridge and without an SDK. */
export async function askModelDirectly(body) {
  const response = await fetch(`${MODEL_URL}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: MODEL_NAME, ...body }),
  });
  return response.json();
}
