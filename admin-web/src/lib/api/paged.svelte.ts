import { Loaded } from './loaded.svelte';

export interface Page<T> {
  items: T[];
  nextPageToken: string;
  totalSize?: number;
}

/** A list that comes in pages; knows the way back, which the server's tokens do not. */
export class Paged<T> {
  readonly page: Loaded<Page<T>>;
  #tokens = $state<string[]>(['']);

  constructor(ask: (pageToken: string) => Promise<Page<T>>) {
    this.page = new Loaded(() => ask(this.#tokens.at(-1) ?? ''));
  }

  get items(): T[] | undefined {
    return this.page.value?.items;
  }

  get number(): number {
    return this.#tokens.length;
  }

  get hasNext(): boolean {
    return (this.page.value?.nextPageToken ?? '') !== '';
  }

  next(): void {
    const token = this.page.value?.nextPageToken;
    if (token) this.#tokens = [...this.#tokens, token];
  }

  previous(): void {
    if (this.#tokens.length > 1) this.#tokens = this.#tokens.slice(0, -1);
  }

  /** After a filter has changed. */
  first(): void {
    if (this.#tokens.length > 1) this.#tokens = [''];
  }

  reload(): Promise<void> {
    return this.page.reload();
  }
}
