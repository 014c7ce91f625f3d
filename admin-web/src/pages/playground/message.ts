/** An answer of the Messages API, put together from its events. Pure, so that any stream can be replayed. */

export interface TextBlock {
  kind: 'text';
  text: string;
}
export interface ThinkingBlock {
  kind: 'thinking';
  text: string;
  signature: string;
}
export interface ToolBlock {
  kind: 'tool';
  id: string;
  name: string;
  /** JSON, as far as it has come. */
  input: string;
}
/** Something that is kept as it came: we have no picture of it. */
export interface OtherBlock {
  kind: 'other';
  type: string;
  whole: unknown;
}
export type Block = TextBlock | ThinkingBlock | ToolBlock | OtherBlock;

export interface Message {
  model: string;
  blocks: readonly Block[];
  stopReason: string;
  inputTokens: number | undefined;
  cachedTokens: number;
  /** What the data plane says; until then there are only `pieces`. */
  outputTokens: number | undefined;
  /** Pieces of content so far. */
  pieces: number;
  isEnded: boolean;
  error: { type: string; message: string } | undefined;
}

export const EMPTY: Message = { model: '', blocks: [], stopReason: '', inputTokens: undefined, cachedTokens: 0, outputTokens: undefined, pieces: 0, isEnded: false, error: undefined };

/** The fields of events that are read; whatever else there is stays unread. */
interface Wire {
  type?: string;
  index?: number;
  message?: { model?: string; usage?: WireUsage };
  content_block?: WireBlock;
  delta?: { type?: string; text?: string; thinking?: string; signature?: string; partial_json?: string; stop_reason?: string | null };
  usage?: WireUsage;
  error?: { type?: string; message?: string };
}
interface WireUsage {
  input_tokens?: number | null;
  output_tokens?: number | null;
  cache_read_input_tokens?: number | null;
}
interface WireBlock {
  type?: string;
  text?: string;
  thinking?: string;
  signature?: string;
  id?: string;
  name?: string;
  input?: unknown;
}

/** The answer after one more event. What is no JSON changes nothing. */
export function after(message: Message, data: string): Message {
  const event = parsed(data);
  switch (event?.type) {
    case 'message_start':
      return { ...withUsage(message, event.message?.usage), outputTokens: undefined, model: event.message?.model ?? '' };
    case 'content_block_start':
      return { ...message, blocks: [...message.blocks, blockOf(event.content_block ?? {})] };
    case 'content_block_delta':
      return { ...message, pieces: message.pieces + 1, blocks: message.blocks.map((block, index) => (index === event.index ? grown(block, event.delta ?? {}) : block)) };
    case 'message_delta':
      return { ...withUsage(message, event.usage), stopReason: event.delta?.stop_reason ?? message.stopReason };
    case 'message_stop':
      return { ...message, isEnded: true };
    case 'error':
      return { ...message, error: { type: event.error?.type ?? 'error', message: event.error?.message ?? data } };
    default:
      return message;
  }
}

/** The answer of a data plane that refuses: one document, no events. */
export function refused(body: string): Message {
  const error = parsed(body)?.error;
  return { ...EMPTY, error: { type: error?.type ?? 'error', message: error?.message ?? body } };
}

/** The content as it goes back with the next message. */
export function contentOf({ blocks }: Message): unknown[] {
  return blocks.map((block) => {
    switch (block.kind) {
      case 'text':
        return { type: 'text', text: block.text };
      case 'thinking':
        return { type: 'thinking', thinking: block.text, signature: block.signature };
      case 'tool':
        return { type: 'tool_use', id: block.id, name: block.name, input: inputOf(block) };
      case 'other':
        return block.whole;
    }
  });
}

export function inputOf({ input }: ToolBlock): unknown {
  return parsed(input) ?? {};
}

function parsed(json: string): Wire | undefined {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

function withUsage(message: Message, usage: WireUsage = {}): Message {
  return {
    ...message,
    inputTokens: usage.input_tokens ?? message.inputTokens,
    cachedTokens: usage.cache_read_input_tokens ?? message.cachedTokens,
    outputTokens: usage.output_tokens ?? message.outputTokens,
  };
}

function blockOf(block: WireBlock): Block {
  switch (block.type) {
    case 'text':
      return { kind: 'text', text: block.text ?? '' };
    case 'thinking':
      return { kind: 'thinking', text: block.thinking ?? '', signature: block.signature ?? '' };
    case 'tool_use':
      return { kind: 'tool', id: block.id ?? '', name: block.name ?? '', input: isFilled(block.input) ? JSON.stringify(block.input) : '' };
    default:
      return { kind: 'other', type: block.type ?? '', whole: block };
  }
}

/** An empty object at the start of a stream stands for what is still to come. */
function isFilled(input: unknown): boolean {
  return typeof input === 'object' && input !== null && Object.keys(input).length > 0;
}

function grown(block: Block, delta: NonNullable<Wire['delta']>): Block {
  switch (block.kind) {
    case 'text':
      return { ...block, text: block.text + (delta.text ?? '') };
    case 'thinking':
      return { ...block, text: block.text + (delta.thinking ?? ''), signature: block.signature + (delta.signature ?? '') };
    case 'tool':
      return { ...block, input: block.input + (delta.partial_json ?? '') };
    case 'other':
      return block;
  }
}
