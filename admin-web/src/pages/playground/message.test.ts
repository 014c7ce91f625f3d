import { describe, expect, test } from 'vitest';
import { EMPTY, after, contentOf, refused, type Message } from './message';
import { asksTools, bodyOf } from './request';
import { EventReader } from './sse';

const DRAFT = { model: 'm', system: ' ', maxTokens: 4000, hasThinking: true, hasTool: true };
const EVENTS = [
  { type: 'message_start', message: { model: 'm', usage: { input_tokens: 7, output_tokens: 1, cache_read_input_tokens: 3 } } },
  { type: 'content_block_start', index: 0, content_block: { type: 'thinking', thinking: '', signature: '' } },
  { type: 'content_block_delta', index: 0, delta: { type: 'thinking_delta', thinking: 'Hm' } },
  { type: 'content_block_delta', index: 0, delta: { type: 'signature_delta', signature: 'sig' } },
  { type: 'content_block_start', index: 1, content_block: { type: 'text', text: '' } },
  { type: 'content_block_delta', index: 1, delta: { type: 'text_delta', text: 'Let me ' } },
  { type: 'ping' },
  { type: 'content_block_delta', index: 1, delta: { type: 'text_delta', text: 'see.' } },
  { type: 'content_block_start', index: 2, content_block: { type: 'tool_use', id: 't1', name: 'get_weather', input: {} } },
  { type: 'content_block_delta', index: 2, delta: { type: 'input_json_delta', partial_json: '{"place":' } },
  { type: 'content_block_delta', index: 2, delta: { type: 'input_json_delta', partial_json: '"Rome"}' } },
  { type: 'message_delta', delta: { stop_reason: 'tool_use' }, usage: { output_tokens: 21 } },
  { type: 'message_stop' },
];

function told(events: readonly unknown[]): Message {
  return events.reduce<Message>((message, event) => after(message, JSON.stringify(event)), EMPTY);
}

describe('an answer', () => {
  test('is put together from its events', () => {
    const message = told(EVENTS);
    expect(message).toMatchObject({ model: 'm', inputTokens: 7, cachedTokens: 3, outputTokens: 21, pieces: 6, stopReason: 'tool_use', isEnded: true, error: undefined });
    expect(contentOf(message)).toEqual([
      { type: 'thinking', thinking: 'Hm', signature: 'sig' },
      { type: 'text', text: 'Let me see.' },
      { type: 'tool_use', id: 't1', name: 'get_weather', input: { place: 'Rome' } },
    ]);
  });

  test('counts pieces until it is told tokens', () => {
    expect(told(EVENTS.slice(0, 6))).toMatchObject({ pieces: 3, outputTokens: undefined, isEnded: false });
  });

  test('keeps what came before an error, and a refusal is one', () => {
    const message = told([...EVENTS.slice(0, 6), { type: 'error', error: { type: 'api_error', message: 'broke' } }]);
    expect(message.error).toEqual({ type: 'api_error', message: 'broke' });
    expect(message.blocks[1]).toEqual({ kind: 'text', text: 'Let me ' });
    expect(refused('{"error":{"type":"not_found_error","message":"no model"}}').error).toEqual({ type: 'not_found_error', message: 'no model' });
    expect(refused('<html>').error?.message).toBe('<html>');
  });

  test('is not disturbed by what is no event of ours', () => {
    expect(after(EMPTY, 'no JSON')).toBe(EMPTY);
    expect(after(EMPTY, '3')).toBe(EMPTY);
    expect(contentOf(told([{ type: 'content_block_start', index: 0, content_block: { type: 'new', a: 1 } }]))).toEqual([{ type: 'new', a: 1 }]);
  });
});

describe('the next request', () => {
  test('tells what was said, and answers tools with what is written', () => {
    const answer = told(EVENTS);
    expect(asksTools(answer)).toBe(true);
    const body = JSON.parse(bodyOf(DRAFT, [{ question: 'Weather?', answer }], 'Sunny'));
    expect(body.messages).toEqual([
      { role: 'user', content: 'Weather?' },
      { role: 'assistant', content: contentOf(answer) },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: 't1', content: 'Sunny' }] },
    ]);
    expect(body).toMatchObject({ model: 'm', max_tokens: 4000, stream: true, thinking: { type: 'enabled', budget_tokens: 2000 } });
    expect(body.tools).toHaveLength(1);
    expect(body).not.toHaveProperty('system');
  });
});

test('events are read however the bytes are cut', () => {
  const bytes = new TextEncoder().encode('event: a\r\ndata: {"x":"é"}\r\n\r\n: comment\n\ndata: 1\ndata: 2\n\nrest');
  for (let size = 1; size <= bytes.length; size += 1) {
    const reader = new EventReader();
    const events = [];
    for (let at = 0; at < bytes.length; at += size) events.push(...reader.push(bytes.slice(at, at + size)));
    expect(events).toEqual([{ name: 'a', data: '{"x":"é"}' }, { name: 'message', data: '1\n2' }]);
    expect(reader.rest).toBe('rest');
  }
});
