/** From what is chosen on the page to the body of a request. */
import { contentOf, type Message } from './message';

export interface Draft {
  model: string;
  system: string;
  maxTokens: number;
  hasThinking: boolean;
  hasTool: boolean;
}

/** A question and what came of it. */
export interface Exchange {
  question: string;
  answer: Message;
}

/** Least budget for thinking that the API knows. */
const THINKING_TOKENS_MIN = 1024;

/** For those who want to see a model call a tool. */
const TOOL = {
  name: 'get_weather',
  description: 'Answers the weather of a place at this moment.',
  input_schema: { type: 'object', properties: { place: { type: 'string', description: 'Name of a town' } }, required: ['place'] },
};

export function bodyOf(draft: Draft, past: readonly Exchange[], question: string): string {
  const messages = [...past.flatMap(({ question, answer }, index) => [said(past[index - 1], question), { role: 'assistant', content: contentOf(answer) }]), said(past.at(-1), question)];
  const thinking = { type: 'enabled', budget_tokens: Math.max(THINKING_TOKENS_MIN, Math.floor(draft.maxTokens / 2)) };
  return JSON.stringify({
    model: draft.model,
    max_tokens: draft.maxTokens,
    stream: true,
    ...(draft.system.trim() ? { system: draft.system } : {}),
    ...(draft.hasThinking ? { thinking } : {}),
    ...(draft.hasTool ? { tools: [TOOL] } : {}),
    messages,
  });
}

/** Whether an answer waits for what its tools say. */
export function asksTools(answer: Message | undefined): boolean {
  return answer?.blocks.some((it) => it.kind === 'tool') ?? false;
}

/** After calls of tools the API wants to hear what they said, and takes nothing else. */
function said(before: Exchange | undefined, question: string): unknown {
  const calls = before?.answer.blocks.filter((it) => it.kind === 'tool') ?? [];
  if (calls.length === 0) return { role: 'user', content: question };
  return { role: 'user', content: calls.map(({ id }) => ({ type: 'tool_result', tool_use_id: id, content: question })) };
}
