import { api } from '$lib/api';
import { EMPTY, after, refused, type Message } from './message';
import { bodyOf, type Draft } from './request';
import { EventReader, type ServerEvent } from './sse';

/** Raw events that are kept of one answer. */
const EVENTS_MAX = 5000;

export interface Head {
  status: number;
  headers: readonly { name: string; value: string }[];
}

/** One message on its way, and what has come of it so far. */
export class Turn {
  readonly question: string;
  readonly body: string;
  /** Shown when the answer is over: with each piece it would be drawn anew. */
  readonly events: ServerEvent[] = [];
  answer = $state.raw<Message>(EMPTY);
  head = $state.raw<Head>();
  isRunning = $state(true);
  /** Why there is no whole answer, in our words. */
  /** Why no answer came, if somebody said so. */
  refusal = $state.raw<unknown>();
  firstMs = $state<number>();
  totalMs = $state<number>();

  constructor(question: string, body: string) {
    this.question = question;
    this.body = body;
  }

  /** An answer that the conversation can go on from. */
  get isWhole(): boolean {
    return this.answer.isEnded && this.answer.error === undefined;
  }
}

/**
 * A conversation with a data plane. It is in memory, with the key that was typed in, and gone with
 * the page.
 */
export class Talk {
  turns = $state.raw<readonly Turn[]>([]);
  #ending = new AbortController();

  get running(): Turn | undefined {
    return this.turns.find((it) => it.isRunning);
  }

  stop(): void {
    this.#ending.abort();
  }

  clear(): void {
    this.stop();
    this.turns = [];
  }

  async send(to: { targetId: string; key: string }, draft: Draft, question: string): Promise<void> {
    if (this.running !== undefined) return;
    // What came to no end is no part of what the model is told.
    const past = this.turns.filter((it) => it.isWhole);
    const turn = new Turn(question, bodyOf(draft, past, question));
    this.turns = [...past, turn];
    this.#ending = new AbortController();
    const since = performance.now();
    try {
      await follow(turn, api.playground.sendMessage({ ...to, body: turn.body }, { signal: this.#ending.signal }), since);
    } catch (error) {
      turn.refusal = this.#ending.signal.aborted ? undefined : error;
    } finally {
      turn.totalMs = performance.now() - since;
      turn.isRunning = false;
    }
  }
}

async function follow(turn: Turn, parts: ReturnType<typeof api.playground.sendMessage>, since: number): Promise<void> {
  const reader = new EventReader();
  for await (const { part } of parts) {
    if (part.case === 'head') turn.head = { status: part.value.status, headers: part.value.headers };
    if (part.case !== 'piece') continue;
    const events = reader.push(part.value);
    turn.events.push(...events.slice(0, EVENTS_MAX - turn.events.length));
    turn.answer = events.reduce((answer, { data }) => after(answer, data), turn.answer);
    if (turn.answer.pieces > 0) turn.firstMs ??= performance.now() - since;
  }
  if (turn.head !== undefined && turn.head.status >= 400) turn.answer = refused(reader.rest);
}
