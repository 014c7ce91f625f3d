/** Server-sent events, out of bytes that come in pieces. */

export interface ServerEvent {
  name: string;
  data: string;
}

export class EventReader {
  readonly #decoder = new TextDecoder();
  #rest = '';

  /** The events that a piece completes. */
  push(piece: Uint8Array): ServerEvent[] {
    this.#rest += this.#decoder.decode(piece, { stream: true });
    const blocks = this.#rest.split(/\r?\n\r?\n/);
    this.#rest = blocks.pop() ?? '';
    return blocks.flatMap((block) => eventOf(block) ?? []);
  }

  /** What has come and is no event. */
  get rest(): string {
    return this.#rest;
  }
}

function eventOf(block: string): ServerEvent | undefined {
  let name = 'message';
  const data: string[] = [];
  for (const line of block.split(/\r?\n/)) {
    const [, field, value = ''] = /^([^:]+):? ?(.*)$/.exec(line) ?? [];
    if (field === 'event') name = value;
    if (field === 'data') data.push(value);
  }
  return data.length === 0 ? undefined : { name, data: data.join('\n') };
}
