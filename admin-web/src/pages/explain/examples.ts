/** Requests to start from: each asks something else of an upstream. */
export const EXAMPLES = {
  text: { model: 'claude-sonnet-4-5', max_tokens: 1024, messages: [{ role: 'user', content: 'Tell me a story about a bridge.' }] },
  tools: {
    model: 'claude-opus-4-1',
    max_tokens: 1024,
    stream: true,
    tools: [{ name: 'get_weather', description: 'The weather of a place', input_schema: { type: 'object', properties: { place: { type: 'string' } }, required: ['place'] } }],
    messages: [{ role: 'user', content: 'Do I need an umbrella in Hangzhou?' }],
  },
  image: {
    model: 'claude-haiku-4-5',
    max_tokens: 1024,
    thinking: { type: 'enabled', budget_tokens: 2048 },
    messages: [{ role: 'user', content: [{ type: 'image', source: { type: 'url', url: 'https://example.com/bridge.jpg' } }, { type: 'text', text: 'Which bridge is this?' }] }],
  },
};

export type Example = keyof typeof EXAMPLES;

export function textOf(example: Example): string {
  return JSON.stringify(EXAMPLES[example], null, 2);
}
