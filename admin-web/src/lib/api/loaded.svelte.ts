import { untrack } from 'svelte';

/**
 * Something that a page shows and has to ask for: loading, there, or failed.
 *
 * What is shown stays while it is asked for again. An answer that a newer question has overtaken
 * is dropped.
 */
export class Loaded<T> {
  value = $state.raw<T>();
  error = $state.raw<unknown>();
  isLoading = $state(true);
  #asked = 0;
  readonly #ask: () => Promise<T>;

  /** Must be made while a component is set up; asks again whenever what `ask` reads changes. */
  constructor(ask: () => Promise<T>) {
    this.#ask = ask;
    $effect(() => {
      const answer = this.#ask();
      untrack(() => void this.#take(answer));
    });
  }

  async reload(): Promise<void> {
    await this.#take(this.#ask());
  }

  async #take(answer: Promise<T>): Promise<void> {
    const asked = ++this.#asked;
    this.isLoading = true;
    try {
      const value = await answer;
      if (asked !== this.#asked) return;
      this.value = value;
      this.error = undefined;
    } catch (error) {
      if (asked === this.#asked) this.error = error;
    } finally {
      if (asked === this.#asked) this.isLoading = false;
    }
  }
}
