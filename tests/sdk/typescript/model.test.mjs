// The same questions to a real model, through the bridge and straight at it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Anthropic, askModelDirectly, MODEL_NAME, MODEL_URL, waysToAsk } from './bed.mjs';

const PROMPTS = ['Say hello.', 'Name three colours.', 'Écris une phrase sur la mer — en français 🌊.'];
const LIMITS = { max_tokens: 120, temperature: 0 };
const STOP_REASONS = { stop: 'end_turn', length: 'max_tokens' };
const skip = MODEL_URL ? false : 'needs the real model';

for (const [way, answer] of Object.entries(waysToAsk)) {
  for (const prompt of PROMPTS) {
    test(`${way}: ${prompt}`, { skip }, async () => {
      const messages = [{ role: 'user', content: prompt }];
      const direct = await askModelDirectly({ ...LIMITS, messages });
      const message = await answer({ ...LIMITS, model: MODEL_NAME, messages });

      const [choice] = direct.choices;
      assert.equal(message.content.map((block) => block.text).join(''), choice.message.content);
      assert.equal(message.stop_reason, STOP_REASONS[choice.finish_reason]);
      const { input_tokens, cache_read_input_tokens, output_tokens } = message.usage;
      assert.equal(input_tokens + cache_read_input_tokens, direct.usage.prompt_tokens);
      assert.equal(output_tokens, direct.usage.completion_tokens);
    });
  }

  test(`${way}: a prompt that is too long says so in the words that clients know`, { skip }, async () => {
    const messages = [{ role: 'user', content: 'word '.repeat(9000) }];
    await assert.rejects(answer({ ...LIMITS, model: MODEL_NAME, messages }), (error) => {
      assert.ok(error instanceof Anthropic.BadRequestError, error.constructor.name);
      assert.match(error.message, /prompt is too long: \d+ tokens > \d+ maximum/);
      return true;
    });
  });
}
