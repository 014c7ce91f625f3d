// Claude Code's own tools, called by scripted models: the calls really run, once, with the arguments that were meant.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { blocks, claude, questions, upstreamBodies } from './claude.mjs';

const CONCURRENCY = 3;
const DOT_PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==';

function succeeded({ result, exitCode }) {
  assert.equal(result.subtype, 'success', JSON.stringify(result));
  assert.equal(result.is_error, false, result.result);
  assert.equal(exitCode, 0);
}

function namesOfCalls(run) {
  return blocks(run, 'assistant', 'tool_use').map(({ name }) => name);
}

describe('tools', { concurrency: CONCURRENCY }, () => {
  test('KC02 Bash round trip', async (t) => {
    const run = await claude(t, { model: 'f-cc-bash' });
    succeeded(run);
    assert.equal(await run.read('bash.txt'), 'ran\n');
    assert.equal(run.result.result, 'The tools said: ran');
  });

  test('KC04 a task of three tools: Write, Read of a text, Bash', async (t) => {
    const run = await claude(t, { model: 'f-cc-task' });
    succeeded(run);
    assert.deepEqual(namesOfCalls(run), ['Write', 'Read', 'Bash']);
    assert.equal(await run.read('notes.txt'), 'quiet notes\n');
    assert.equal(await run.read('loud.txt'), 'QUIET NOTES\n');
    assert.match(run.result.result, /notes\.txt.*quiet notes.*QUIET NOTES/s);
  });

  for (const [model, title] of [
    ['f-cc-two', 'KC03 two calls in one turn'],
    ['f-cc-interleaved', 'KC05 two calls with interleaved arguments'],
  ]) {
    test(title, async (t) => {
      const run = await claude(t, { model });
      succeeded(run);
      assert.equal(await run.read('left.txt'), 'left\n');
      assert.equal(await run.read('right.txt'), 'right\n');
      assert.equal(questions(run).length, 2);
    });
  }

  test('KC04 Read of an image', async (t) => {
    const files = { 'dot.png': Buffer.from(DOT_PNG, 'base64') };
    const run = await claude(t, { model: 'f-cc-image', files });
    succeeded(run);
    const { messages } = (await upstreamBodies('f-cc-image')).at(-1);
    const images = messages.flatMap(({ content }) => content).filter((part) => part?.type === 'image_url');
    assert.equal(images.length, 1);
    assert.match(images[0].image_url.url, /^data:image\/png;base64,/);
  });

  test('KC06 thinking and tools: turns stay apart', async (t) => {
    const run = await claude(t, { model: 'f-cc-think' });
    succeeded(run);
    assert.equal(await run.read('steps.txt'), 'first\nsecond\n');
    assert.equal(blocks(run, 'assistant', 'thinking').length, 2);

    const turns = questions(run).at(-1).body.messages.filter(({ role }) => role === 'assistant');
    const types = turns.map(({ content }) => content.map(({ type }) => type));
    assert.deepEqual(types, [['thinking', 'tool_use'], ['thinking', 'tool_use']]);

    const body = (await upstreamBodies('f-cc-think')).at(-1);
    const roles = body.messages.map(({ role }) => role).filter((role) => role !== 'system');
    assert.deepEqual(roles, ['user', 'assistant', 'tool', 'assistant', 'tool']);
    const contents = body.messages.map(({ content }) => content);
    assert.doesNotMatch(JSON.stringify(contents), /One step after the other/);
  });

  test('KC07 an upstream that gives every call the same id', async (t) => {
    const run = await claude(t, { model: 'f-cc-same-id' });
    succeeded(run);
    assert.equal(await run.read('steps.txt'), 'first\nsecond\n');
    const ids = blocks(run, 'assistant', 'tool_use').map(({ id }) => id);
    assert.equal(new Set(ids).size, 2, `${ids}`);
    // Nothing of the history was taken for a repetition.
    const { messages } = questions(run).at(-1).body;
    const results = messages.flatMap(({ content }) => content).filter(({ type }) => type === 'tool_result');
    assert.deepEqual(results.map(({ tool_use_id: id }) => id), ids);
  });

  test('KC09 a call that is lost on the way is not run', async (t) => {
    const run = await claude(t, { model: 'f-cc-lost@700' });
    succeeded(run);
    assert.deepEqual(namesOfCalls(run), []);
    assert.equal(await run.read('bash.txt'), null);
    assert.equal(run.result.result, 'I lost the thread.');
  });

  test('KC09 a call that comes whole at the second try is run once', async (t) => {
    const run = await claude(t, { model: 'f-cc-bash@700' });
    succeeded(run);
    assert.equal(await run.read('bash.txt'), 'ran\n');
    assert.deepEqual(questions(run).map(({ body }) => body.stream ?? false), [true, false, true]);
  });

  test('KC09 a whole call before a lost one is run once, the lost one never', async (t) => {
    const run = await claude(t, { model: 'f-cc-two@4000' });
    assert.equal(await run.read('left.txt'), 'left\n');
    assert.equal(await run.read('right.txt'), null);
  });

  test('KC16 a sub-agent, with a model of another tier', async (t) => {
    const run = await claude(t, { model: 'f-cc-agent' });
    succeeded(run);
    // Some versions say more around what the sub-agent said.
    assert.match(run.result.result, /^The tools said: .*This is f-small\./s);
    const models = questions(run).map(({ answerHeaders }) => answerHeaders['x-bridge-model']);
    assert.deepEqual(models, ['f-cc-agent', 'f-small', 'f-cc-agent']);
  });

  test('KC18 WebSearch tells the model that there is none', async (t) => {
    const run = await claude(t, { model: 'f-cc-search' });
    succeeded(run);
    assert.match(run.result.result, /web_search is not available/);
  });
});
